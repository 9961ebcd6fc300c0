"""Plausibility of a hand: its length, the joint orders that fit the distances between its joints, and its side.

Lengths are medians over frames of distances between joints, so neither the pose nor a symmetry changes the result. All recordings of nine
public sources are within the limits, with a margin: their hands are 12.9 to 21.3 cm long.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from models.skeletons.hand import FINGERS, HANDS
from models.skeletons.skeleton import Hand, Skeleton
from models.skeletons.units import Implausible, check_size, describe_size

LENGTH_M = (0.08, 0.32)  # from the wrist along the middle finger to its tip
OWN_M = (0.001, 100.0)  # between the joints of a body in a skeleton of one's own, which may be an insect's or a crane's
PART_M = (0.01, 0.45)  # between the joints of a part of a hand that are farthest from each other
MIN_KNUCKLE = 0.28  # least share of the hand's length from the wrist to the middle knuckle; 0.41 on recordings
MAX_PHALANX = 0.42  # largest share of the hand's length that a phalanx may have; 0.29 on recordings
ROW_SLACK = 1.15  # largest ratio of the distances to the nearer and to the farther of two knuckles; 0.73 on recordings
USUAL_M = (0.1, 0.25)  # a warning beyond, as beyond the next three; 14.8 to 21.3 cm on recordings
DOUBTFUL_KNUCKLE, DOUBTFUL_PHALANX, DOUBTFUL_ROW = 0.36, 0.34, 0.95
# Distance of the fingertips behind the palm, as a share of its length; beyond -0.25 in a hundredth of the clips of one source of nine.
BACKWARDS = -0.3
MOST_FRAMES = 16  # number of checked frames, spread over the clip
SIGNS = {"right": 1.0, "left": -1.0}
ROUND = [0, 1, 2, 0, 1]

_PARTS = ("mcp", "pip", "dip", "tip")
MIDDLE = (("wrist", "middle_mcp"), *pairwise(f"middle_{part}" for part in _PARTS))
PHALANGES = (
    ("thumb_mcp", "thumb_ip"),
    ("thumb_ip", "thumb_tip"),
    *(pair for finger in FINGERS[1:] for pair in pairwise(f"{finger}_{part}" for part in _PARTS)),
)
ROW = (  # knuckle, one that is nearer to it, and one that is farther
    ("index", "middle", "ring"),
    ("index", "ring", "pinky"),
    ("pinky", "ring", "middle"),
    ("pinky", "middle", "index"),
)
_KNUCKLES = tuple((f"{a}_mcp", f"{other}_mcp") for a, *others in ROW for other in others)
PAIRS = tuple(dict.fromkeys((*MIDDLE, *PHALANGES, *_KNUCKLES)))

Hands = Float[np.ndarray, "frames joints 3"]
Distances = dict[tuple[str, str], float]


def check_hand(points: Hands, order: Skeleton, unit: str) -> list[str]:
    """Check the size and the joint order of a hand in metres, one frame or more, that was given in `unit`.

    Returns warnings about doubtful points. Raises Implausible.
    """
    if not len(points):
        return []
    distances = _distances(points, order)
    if max(distances.values()) == 0:
        raise Implausible(
            "expected the joints of a hand, got all joints at one point; send null for a hand that was not seen"
        )
    check_size("a hand", _length(distances), unit, *LENGTH_M)
    if fault := _order_fault(distances):
        others = [name for name in orders_that_fit(points) if name != order.name]
        advice = f"the points fit {' or '.join(others)}" if others else "check the joint order"
        raise Implausible(f"expected a hand in {order.name} order, got {fault}; {advice}")
    return _doubts(distances, order, unit)


def check_part(points: Hands, unit: str) -> None:
    """Check the size of a hand in metres, one frame or more, in which some joints are NaN. Raises Implausible.

    The size is the largest distance between two seen joints, the median over frames. Frames with fewer than two joints are not checked.
    """
    if (extent := _extent(points)) is not None:
        check_size("a part of a hand", extent, unit, *PART_M)


def check_own(points: Hands, order: Skeleton, unit: str) -> None:
    """Check the size of a body in a skeleton of one's own, in metres, in which joints may be NaN. Raises Implausible."""
    if (extent := _extent(points)) is not None:
        check_size(f"a body in {order.name} order", extent, unit, *OWN_M)


def _extent(points: Hands) -> float | None:
    """Return the largest distance between two joints, the median over frames; None if no frame has two."""
    frames = points[:: -(-len(points) // MOST_FRAMES)] if len(points) else points
    frames = frames[np.isfinite(frames).all(axis=-1).sum(axis=1) >= 2]
    if not len(frames):
        return None
    apart = np.linalg.norm(frames[:, :, None] - frames[:, None], axis=-1)
    return float(np.median(np.nanmax(apart, axis=(1, 2))))


def check_side(points: Hands, order: Skeleton, hand: Hand) -> list[str]:
    """Return a warning if the fingers of a left or right hand, in right-handed axes, bend backwards.

    Such a hand may be a mirror image of the other one. The check recognises half of all mirrored clips; open hands show no side.
    """
    if not len(points):
        return []
    frames = points[:: -(-len(points) // MOST_FRAMES), _side_indices(order.name)]
    bases, tips = frames[:, 1:5], frames[:, 5:]
    index, pinky = bases[:, 0] - frames[:, 0], bases[:, 3] - frames[:, 0]
    out = _cross(index, pinky) if hand == "right" else _cross(pinky, index)  # of the palm
    scale = _norm(out) * _norm(index)
    if not (scale > 0).all():
        return []
    bend = float(_median(((tips - bases) * out[:, None]).sum(axis=-1).mean(axis=1) / scale))
    if bend > BACKWARDS:
        return []
    return [
        f"the fingers of the {hand} hand bend backwards: left and right may be exchanged, or the axes be left-handed "
        "(axes=left-handed)"
    ]


def are_usual(points: Float[np.ndarray, "frames hands joints 3"], order: Skeleton, sides: Sequence[str]) -> bool:
    """Return whether `check_hand` and `check_side` have nothing to say about hands in metres, of which every joint was seen.

    It looks at all hands in one pass, and may return False for hands that both checks accept. `sides` has left or right for each hand;
    another name is an unknown side.
    """
    usual = _usual(order.name)
    frames = points[:: -(-len(points) // MOST_FRAMES)].transpose(2, 3, 1, 0)  # joints, axes, hands, frames
    apart = (usual.differences @ frames.reshape(len(frames), -1)).reshape(-1, *frames.shape[1:])
    squares = apart * apart
    lengths = np.sqrt(squares[:, 0] + squares[:, 1] + squares[:, 2])
    distances = _last_median(lengths[: len(PAIRS)])
    if not (usual.margins @ distances + usual.offsets).min() >= 0:  # also false for NaN
        return False
    signs = np.array([SIGNS.get(side, 0.0) for side in sides])
    if not signs.any():
        return bool((lengths[len(PAIRS) :].min(axis=-1) > 0).all())
    # From the wrist to two knuckles, and from the knuckles to the tips on average. Axes go round: each is followed by the other two.
    index, pinky, reach = apart[len(PAIRS) :, ROUND]
    out = index[1:4] * pinky[2:] - index[2:] * pinky[1:4]
    scale = np.sqrt((out * out).sum(axis=0)) * lengths[len(PAIRS)]
    if not scale.min() > 0:
        return False
    bends = (reach[:3] * out).sum(axis=0) / scale * signs[:, None]
    return bool(bends.min() > BACKWARDS or (_last_median(bends) > BACKWARDS).all())


def hand_length(points: Hands, order: Skeleton) -> float:
    """Return the hand's length in the unit of `points`: the median over frames, along the bones of the middle finger."""
    return _length(_distances(points, order))


def orders_that_fit(points: Hands) -> tuple[str, ...]:
    """Return the names of the joint orders of this many joints that the distances between the points allow."""
    candidates = [order for order in HANDS.values() if len(order.joints) == points.shape[1]]
    return tuple(order.name for order in candidates if _order_fault(_distances(points, order)) is None)


def _doubts(distances: Distances, order: Skeleton, unit: str) -> list[str]:
    """Return warnings about a possible hand that is unlike those of all recordings."""
    length, warnings = _length(distances), []
    if not USUAL_M[0] <= length <= USUAL_M[1]:
        warnings.append(f"the hand is {describe_size(length)} long, read in {unit}; check `units`")
    if fault := _order_fault(distances, DOUBTFUL_KNUCKLE, DOUBTFUL_PHALANX, DOUBTFUL_ROW):
        warnings.append(f"the joints hardly fit {order.name} order: {fault}; check `joints`")
    return warnings


def _order_fault(
    distances: Distances, knuckle_at: float = MIN_KNUCKLE, phalanx_at: float = MAX_PHALANX, row_at: float = ROW_SLACK
) -> str | None:
    """Return a description of distances that contradict the joints' names at these limits; None if no distance does.

    A hand has long palm bones and short phalanges, and its knuckles lie in a row. Exchanged fingers, an exchanged palm and wrist, and
    a wrong joint order each violate one of these rules.
    """
    length = _length(distances)
    if length <= 0:
        return "bones without length"
    if (knuckle := distances["wrist", "middle_mcp"]) < knuckle_at * length:
        return f"a wrist {knuckle / length:.0%} of the hand's length from the middle knuckle, where hands have 41 % or more"
    for a, b in PHALANGES:
        if (phalanx := distances[a, b]) > phalanx_at * length:
            return f"{phalanx / length:.0%} of the hand's length between {a} and {b}, where hands have 29 % or less"
    for a, near, far in ROW:
        if distances[f"{a}_mcp", f"{near}_mcp"] > row_at * distances[f"{a}_mcp", f"{far}_mcp"]:
            return f"a {far} knuckle nearer to the {a} one than the {near} one is"
    return None


def _length(distances: Distances) -> float:
    return sum(distances[pair] for pair in MIDDLE)


def _distances(points: Hands, order: Skeleton) -> Distances:
    """Return the median distances of the joints in PAIRS over at most MOST_FRAMES frames."""
    frames = points[:: -(-len(points) // MOST_FRAMES)]
    first, second = _indices(order.name)
    lengths = _median(_norm(frames[:, first] - frames[:, second]))
    return dict(zip(PAIRS, lengths.tolist(), strict=True))


# NumPy's own functions take ten times as long as these on arrays of so few frames, and every request is checked.
def _norm(x: Float[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any"]:
    return np.sqrt((x * x).sum(axis=-1))


def _cross(a: Float[np.ndarray, "frames 3"], b: Float[np.ndarray, "frames 3"]) -> Float[np.ndarray, "frames 3"]:
    return a[:, [1, 2, 0]] * b[:, [2, 0, 1]] - a[:, [2, 0, 1]] * b[:, [1, 2, 0]]


def _median(x: Float[np.ndarray, " frames *any"]) -> Float[np.ndarray, "*any"]:
    middle, ordered = (len(x) - 1) // 2, np.sort(x, axis=0)
    return np.asarray((ordered[middle] + ordered[len(x) // 2]) / 2)


def _last_median(x: Float[np.ndarray, "*any frames"]) -> Float[np.ndarray, "*any"]:
    middle, ordered = (x.shape[-1] - 1) // 2, np.sort(x, axis=-1)
    return (ordered[..., middle] + ordered[..., x.shape[-1] // 2]) / 2


class _Usual(NamedTuple):
    """Matrices with which `are_usual` computes distances and margins of a hand in an order.

    `differences` are of joints, for the distances of PAIRS and three vectors. A hand is usual if no margin is negative: each is a sum of
    distances and an offset in metres.
    """

    differences: Float[np.ndarray, "pairs_and_vectors joints"]
    margins: Float[np.ndarray, "margins pairs"]
    offsets: Float[np.ndarray, "margins 1"]


@cache
def _usual(order: str) -> _Usual:
    joints, pairs = HANDS[order].joints, list(PAIRS)
    differences = np.zeros((len(pairs) + 3, len(joints)))
    for row, (a, b) in enumerate((*pairs, ("index_mcp", "wrist"), ("pinky_mcp", "wrist"))):
        differences[row, joints.index(a)], differences[row, joints.index(b)] = 1, -1
    for part, share in (("tip", 0.25), ("mcp", -0.25)):
        differences[-1, [joints.index(f"{finger}_{part}") for finger in FINGERS[1:]]] = share
    distance = dict(zip(pairs, np.eye(len(pairs)), strict=True))
    length = sum(distance[pair] for pair in MIDDLE)
    shortest, longest = USUAL_M
    rows = [(length, -shortest), (-length, longest), (distance["wrist", "middle_mcp"] - DOUBTFUL_KNUCKLE * length, 0.0)]
    rows += [(DOUBTFUL_PHALANX * length - distance[pair], 0.0) for pair in PHALANGES]
    rows += [
        (DOUBTFUL_ROW * distance[f"{a}_mcp", f"{c}_mcp"] - distance[f"{a}_mcp", f"{b}_mcp"], 0.0) for a, b, c in ROW
    ]
    margins, offsets = zip(*rows, strict=True)
    return _Usual(differences, np.array(margins), np.array(offsets)[:, None])


@cache
def _side_indices(order: str) -> list[int]:
    """Return the wrist, the knuckles of four fingers and their tips in an order."""
    names = (f"{finger}_{part}" for part in ("mcp", "tip") for finger in FINGERS[1:])
    return [HANDS[order].joints.index(name) for name in ("wrist", *names)]


@cache
def _indices(order: str) -> tuple[list[int], list[int]]:
    """Return the joints of PAIRS in an order."""
    joints = HANDS[order].joints
    return [joints.index(a) for a, _ in PAIRS], [joints.index(b) for _, b in PAIRS]
