"""Reader of BVH, the text format of skeletal motion by Biovision, and its forward kinematics.

The kept readers on PyPI do not fit: bvhtools ignores the positions of joints other than the root, and bvhio is bound to one version of a
compiled library.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from training.tasks.bodies.own.recorded import MAX_FRAMES, MAX_POINTS, MalformedMotion, Recorded

END = "_end"  # of the name of a joint, for the end of its bone
_MOTION = re.compile(r"\s*Frames:\s*(\d{1,9})\s+Frame\s+Time:\s*([-+.\deE]{1,30})(?:\s|$)", re.IGNORECASE)
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


@dataclass
class _Node:
    """A joint or the end of a bone: channels are axes, 0 to 2, and whether they turn."""

    name: str
    parent: int | None
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    channels: tuple[tuple[int, bool], ...] = ()


def read_bvh(content: bytes) -> Recorded:
    """Return the places of a BVH's joints and of the ends of its bones, in the file's own unit. Raises MalformedMotion.

    A position of a channel stands in the place of the joint's offset. A bone's end that is where its joint is, is left out.
    """
    hierarchy, motion, rest = _parted(content.decode(errors="replace"))
    nodes = _hierarchy(hierarchy)
    frames, step = int(motion[1]), _number(motion[2])
    width = sum(len(node.channels) for node in nodes)
    if not 0 < step < 10:
        raise MalformedMotion(f"expected a frame time in seconds, got {motion[2][:30]}")
    if frames > MAX_FRAMES:
        raise MalformedMotion(f"expected at most {MAX_FRAMES:,} frames, got {frames:,}")
    try:
        values = np.fromstring(rest, sep=" ")
    except ValueError:
        raise MalformedMotion("expected numbers in every frame, got other text") from None
    if len(values) != frames * width:
        raise MalformedMotion(f"expected {frames} frames of {width} numbers, got {len(values):,} numbers")
    points = _places(nodes, values.reshape(frames, width))
    kept = [i for i, node in enumerate(nodes) if node.channels or any(node.offset)]
    return Recorded(
        points[:, kept], tuple(nodes[i].name for i in kept), fps=round(1 / step, 2)
    )  # 30, which a file writes as 0.033333


def _parted(text: str) -> tuple[str, re.Match[str], str]:
    """Return the hierarchy, the head of the motion, and its numbers."""
    parts = re.split(r"^\s*MOTION\s*$", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    if len(parts) < 2 or not parts[0].lstrip().upper().startswith("HIERARCHY"):
        raise MalformedMotion("expected HIERARCHY and MOTION, the parts of a BVH, got other text")
    if not (motion := _MOTION.match(parts[1])):
        raise MalformedMotion(f"expected Frames and Frame Time after MOTION, got {parts[1].strip()[:60]!r}")
    return parts[0], motion, parts[1][motion.end() :]


def _hierarchy(text: str) -> list[_Node]:
    """Return the nodes, parents before children."""
    words, nodes, open_nodes = iter(text.split()[1:]), list[_Node](), list[int]()
    try:
        for word in words:
            match word.upper():
                case "ROOT" | "JOINT" | "END":
                    parent = open_nodes[-1] if open_nodes else None
                    name = " ".join(iter(lambda: next(words), "{"))
                    if word.upper() == "END":
                        name = nodes[open_nodes[-1]].name + END
                    open_nodes.append(len(nodes))
                    nodes.append(_Node(name, parent))
                case "OFFSET":
                    nodes[open_nodes[-1]].offset = tuple(_number(next(words, "")) for _ in range(3))
                case "CHANNELS":
                    nodes[open_nodes[-1]].channels = tuple(_channels(words))
                case "}":
                    open_nodes.pop()
                case _:
                    raise MalformedMotion(f"expected a joint, OFFSET, CHANNELS or a brace, got {word[:40]!r}")
            if len(nodes) > MAX_POINTS:
                raise MalformedMotion(f"expected at most {MAX_POINTS} joints, got more")
    except (StopIteration, IndexError):
        raise MalformedMotion("expected a hierarchy with a brace for each brace, got one that ends early") from None
    if open_nodes or not any(node.channels for node in nodes):
        raise MalformedMotion("expected closed braces around joints with channels, got a hierarchy without")
    return nodes


def _channels(words: Iterator[str]) -> Iterator[tuple[int, bool]]:
    count = next(words, "")
    if count not in tuple("0123456"):
        raise MalformedMotion(f"expected 0 to 6 channels, got {count[:40]!r}")
    for _ in range(int(count)):
        word = next(words, "")
        if not (found := _CHANNEL.fullmatch(word)):
            raise MalformedMotion(f"expected a channel such as Zrotation, got {word[:40]!r}")
        yield "XYZ".index(found[1].upper()), found[2].lower() == "rotation"


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise MalformedMotion(f"expected a number, got {word[:40]!r}") from None


def _places(nodes: list[_Node], values: Float[np.ndarray, "frames width"]) -> Float[np.ndarray, "frames nodes 3"]:
    """Return where the nodes are: rotations are about the turned axes, in the order of the channels."""
    places, turns, column = np.zeros((len(values), len(nodes), 3)), list[np.ndarray](), 0
    for i, node in enumerate(nodes):
        turn = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        local = np.tile(np.array(node.offset), (len(values), 1))
        for axis, turns_about in node.channels:
            if turns_about:
                turn = turn @ _about(axis, np.deg2rad(values[:, column]))
            else:
                local[:, axis] = values[:, column]
            column += 1
        if node.parent is None:
            places[:, i] = local
        else:
            places[:, i] = places[:, node.parent] + np.einsum("tij,tj->ti", turns[node.parent], local)
            turn = turns[node.parent] @ turn
        turns.append(turn)
    return places


def _about(axis: int, angle: Float[np.ndarray, " frames"]) -> Float[np.ndarray, "frames 3 3"]:
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angle), 3, 3))
    turn[:, axis, axis] = 1
    turn[:, i, i] = turn[:, j, j] = np.cos(angle)
    turn[:, j, i], turn[:, i, j] = np.sin(angle), -np.sin(angle)
    return turn
