"""Proportions of a person's limbs, which reveal a wrong joint order.

Every person's limbs are nearly the same shares of the stature (Drillis and Contini 1966). Joints in another order give other ratios,
whatever the unit. Exchanged left and right joints make no difference.

The misfit is the root mean square of the logarithms of the ratios. It is at most 0.14 in motion capture in three dimensions, and beyond
0.37 in one of a thousand clips of a depth camera; in two dimensions, where limbs are foreshortened, it is beyond 0.5 in one clip of a
hundred. Clips in another order of as many joints have 0.3 to 1.3.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import Skeleton
from models.skeletons.units import Implausible

SHARES = {  # length of a limb between joint centres, as a share of the stature (Drillis and Contini 1966)
    ("hip", "knee"): 0.245,
    ("knee", "ankle"): 0.246,
    ("shoulder", "elbow"): 0.186,
    ("elbow", "wrist"): 0.146,
}
DOUBTFUL = {2: 0.5, 3: 0.3}  # misfit by the number of dimensions
FITS = 0.25  # largest misfit of another order that is named as the right one
WRONG = {2: 0.4, 3: 0.3}  # misfit by the number of dimensions, beyond which a request is refused if another order fits
IMPOSSIBLE = 1.5  # misfit beyond which it is refused if no order fits: limbs differ from a person's by a factor of four
LIMBS = 6  # number of limbs, of eight, that must be seen for a verdict
MOST_FRAMES = 16  # number of checked frames, spread over the clip

Points = Float[np.ndarray, "frames joints dims"]


def check_order(points: Points, order: Skeleton) -> str | None:
    """Return a warning if the limbs have doubtful proportions in a joint order; None if they fit, or too few are seen.

    `points` are NaN where missing, in any unit. Raises Implausible if they fit another order and not this one.
    """
    own = misfit(points, order)
    if own is None or own <= min(DOUBTFUL.values()):
        return None
    others = {
        name: other for name, body in BODIES.items()
        if name != order.name and len(body.joints) == len(order.joints) and (other := misfit(points, body)) is not None
    }  # fmt: skip
    fitting = [name for name, other in others.items() if other <= min(FITS, own / 2)]
    doubt = f"the limbs have no person's proportions in {order.name} order"
    if fitting and own > WRONG[points.shape[-1]]:
        raise Implausible(
            f"expected a person in {order.name} order, got one whose joints fit {' or '.join(fitting)}; check `joints`"
        )
    if own > IMPOSSIBLE:
        raise Implausible(
            f"expected a person in {order.name} order, got limbs that nobody has; check the order of the joints"
        )
    if fitting:
        return f"{doubt}, and they would in {' or '.join(fitting)}; check `joints`"
    return f"{doubt}; check `joints` and the order of the keypoints" if own > DOUBTFUL[points.shape[-1]] else None


def misfit(points: Points, order: Skeleton) -> float | None:
    """Return how far the limbs are from a person's proportions: 0 is exact, 0.7 a factor of two; None if fewer than LIMBS are seen.

    Limbs whose ends are at exactly one point are not seen.
    """
    first, second, shares = _limbs(order)
    frames = points[:: -(-len(points) // MOST_FRAMES)]
    lengths = np.linalg.norm(frames[:, first] - frames[:, second], axis=-1)
    lengths = np.where(lengths > 0, lengths, np.nan)
    seen = np.isfinite(lengths).any(axis=0)
    if seen.sum() < LIMBS:
        return None
    share = 0.5 if points.shape[-1] == 3 else 0.75  # foreshortened limbs are longest where they lie across the view
    whole = np.isfinite(lengths).all()
    typical = np.quantile(lengths, share, axis=0) if whole else np.nanquantile(lengths[:, seen], share, axis=0)
    logs = np.log(typical / shares[seen])
    return float(np.sqrt(np.mean((logs - np.median(logs)) ** 2)))


@cache
def _limbs(order: Skeleton) -> tuple[list[int], list[int], Float[np.ndarray, " limbs"]]:
    """Return the ends of the limbs that an order has, and their shares of the stature."""
    pairs = [(f"{side}_{a}", f"{side}_{b}", share) for (a, b), share in SHARES.items() for side in ("left", "right")]
    known = [(a, b, share) for a, b, share in pairs if a in order.joints and b in order.joints]
    first, second = ([order.joints.index(pair[end]) for pair in known] for end in (0, 1))
    return first, second, np.array([share for _, _, share in known])
