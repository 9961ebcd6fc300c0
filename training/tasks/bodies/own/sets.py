"""Sets of body recordings of one's own: folders with a dataset.json, whose recordings are as a capture system or a program wrote them.

A set is the data folder itself, or a folder of body/ in one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.motion.bodies import AXES, at_places
from models.skeletons.body import convert_body, undefined_joints
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton, UnknownOrder, WrongJoints
from models.skeletons.units import UnknownUnit, to_metres
from training.data.declaration import BODIES, FILE, kind_of
from training.data.licences import Source
from training.data.own_files import digest_of, name_in, recording_files
from training.data.reading import READING, MalformedData
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, confidence_of
from training.tasks.bodies.credits import credit
from training.tasks.bodies.own.arrays import read_array, read_json
from training.tasks.bodies.own.bvh import read_bvh
from training.tasks.bodies.own.c3d_files import read_c3d
from training.tasks.bodies.own.declaration import Declaration, read_declaration
from training.tasks.bodies.own.recorded import MalformedMotion, Recorded, in_order
from training.tasks.bodies.readers.npz import SOURCES

READERS: dict[str, Callable[[Path], Recorded]] = {
    ".bvh": lambda path: read_bvh(path.read_bytes()),
    ".c3d": read_c3d,
    ".json": lambda path: read_json(path.read_bytes()),
    ".npy": read_array,
    ".npz": read_array,
}
MAX_BYTES = {".bvh": 64 << 20, ".json": 64 << 20, ".c3d": 256 << 20}  # of a file; arrays have a limit of their own
BRIDGED_S = 0.1  # the longest gap of a joint that is interpolated
WITH_PELVIS = get_body_order("h36m-17")  # the order of clips whose own has no pelvis


@dataclass(frozen=True)
class OwnBodies(Source):
    """A set of body recordings of one's own: what dataset.json declares of it, and the digest of its recordings.

    `part` is the folder of the data folder that holds it: "." for the data folder itself.
    """

    sha256: str
    part: Literal[".", "body"]

    def folder(self, body: Path) -> Path:
        """Return the folder of the set; `body` is the subfolder `body` of the data folder."""
        return body.parent if self.part == "." else body / self.name

    def read(self, body: Path) -> list[BodyClip]:
        """Return the clips of a set, each in an order with a pelvis. Raises MalformedData."""
        return _read(self.folder(body), self.sha256)

    def trained_on(self, recordings: int) -> TrainingSource:
        """Return the entry for a bundle, with the digest of the recordings."""
        return super().trained_on(recordings).model_copy(update={"sha256": self.sha256})


@dataclass(frozen=True)
class Motion:
    """A recording in metres with y up, in its joint order: its longest run of frames in which every joint is known.

    `frames` is the number of all its frames. The lowest point is the floor, of height 0.
    """

    name: str
    label: str
    order: Skeleton
    unit: str
    fps: float
    frames: int
    points: Float[np.ndarray, "known joints 3"]

    def clip(self, source: str, split: Split) -> BodyClip:
        """Return the clip to train on, float32."""
        points, order = self.points, self.order
        if "pelvis" not in order.joints:
            points, order = convert_body(points, order, WITH_PELVIS, partial=True), WITH_PELVIS
        points = points.astype(np.float32)
        return BodyClip(source, self.name, split, "", self.label, order, self.fps, points, confidence_of(points))


def own_bodies(body: Path) -> dict[str, OwnBodies]:
    """Return the sets in a data folder by name; `body` is its subfolder of that name. Raises MalformedData."""
    places: list[tuple[Path, Literal[".", "body"]]] = [(body.parent, ".")]
    for path in sorted(body.glob(f"*/{FILE}")):
        places.append((path.parent, "body"))  # noqa: PERF401 - a list of literals has another type
    found: dict[str, OwnBodies] = {}
    for folder, part in places:
        if kind_of(folder) != BODIES:
            if part == "body":
                raise MalformedData(
                    f'{folder / FILE}: expected "kind": "bodies" in {body.name}/, got {kind_of(folder)}'
                )
            continue
        declared = read_declaration(folder)
        if part == "body" and declared.name != folder.name:
            raise MalformedData(
                f"{folder / FILE}: expected the name {folder.name!r}, its folder's, got {declared.name!r}"
            )
        if credit(declared.name).attribution or declared.name in SOURCES:
            raise MalformedData(
                f"{folder / FILE}: {declared.name!r} is a source that Chiron knows; choose another name"
            )
        if declared.name in found:
            raise MalformedData(f"{folder / FILE}: two sets have the name {declared.name!r}; rename one of them")
        sha256 = digest_of(folder, declared.deciding, files(folder))
        found[declared.name] = OwnBodies(declared.name, declared.licence, declared.attribution, sha256, part)
    return found


def source_of(name: str, own: tuple[OwnBodies, ...]) -> str | OwnBodies:
    """Return the set of one's own of a name, or the name of a source that comes with readers."""
    return next((one for one in own if one.name == name), name)


def parts_of(sources: tuple[str, ...], own: tuple[OwnBodies, ...]) -> tuple[str, ...]:
    """Return the subfolders of the data folder that sources are read from; "." is the folder itself."""
    places = {one.name: one.part for one in own}
    return tuple(sorted({places.get(source, "body") for source in sources})) or ("body",)


def files(folder: Path) -> list[Path]:
    """Return the recordings' files in a set, sorted. Raises MalformedData for none, and for too many."""
    return recording_files(folder, tuple(READERS))


@lru_cache(maxsize=2)  # floors, trainings and measurements read it again
def _read(folder: Path, _sha256: str) -> list[BodyClip]:
    declared, motions = read_declaration(folder), list[Motion]()
    for path in files(folder):
        try:
            motions.append(motion(path, folder, declared))
        except READING as error:
            raise MalformedData(f"{path}: {error}") from error
    try:
        splits = declared.splits.splits([one.name for one in motions])
    except ValueError as error:
        raise MalformedData(f"{folder / FILE}: {error}") from None
    return [one.clip(declared.name, splits[one.name]) for one in motions]


def motion(path: Path, folder: Path, declared: Declaration) -> Motion:
    """Return the recording of a file. Raises MalformedMotion, UntrustedFile and other errors of READING."""
    name, suffix = name_in(folder, path), path.suffix.lower()
    if (size := path.stat().st_size) > (limit := MAX_BYTES.get(suffix, size)):
        raise MalformedMotion(f"expected at most {limit:,} bytes, got {size:,}; write shorter recordings")
    try:
        return _motion(name, path, READERS[suffix](path), declared)
    except (UnknownOrder, UnknownUnit, WrongJoints) as error:
        raise MalformedMotion(str(error)) from error


def _motion(name: str, path: Path, recorded: Recorded, declared: Declaration) -> Motion:
    points, order, unit = recorded.points, declared.order, recorded.units or declared.units
    fps, axes = recorded.fps or declared.fps, recorded.axes or declared.axes
    if fps is None or not 5 <= fps <= 1000:
        raise MalformedMotion(f"expected a rate of 5 to 1000 frames a second, got fps {fps}; declare `fps`")
    if axes not in AXES:
        raise MalformedMotion(f"expected axes {', '.join(AXES)}, got {axes[:40]!r}")
    if np.isinf(points).any():
        raise MalformedMotion(f"frame {np.argwhere(np.isinf(points))[0][0]}: expected finite coordinates, got infinity")
    if recorded.labels is not None:
        points = in_order(recorded, order, declared.markers)
    elif recorded.joints and (stated := get_body_order(recorded.joints)).name != order.name:
        if missing := undefined_joints(stated, order):
            raise MalformedMotion(
                f"expected the joints of {order.name}, got {stated.name}, which lacks {', '.join(missing)}"
            )
        points = convert_body(points, stated, order)
    order.check_points(points, 3)
    points = bridged(points * to_metres(unit) * declared.scale, round(BRIDGED_S * fps))
    known = points[longest(np.asarray(np.isfinite(points).all(axis=(1, 2))))]
    if not len(known):
        never = [joint for i, joint in enumerate(order.joints) if not np.isfinite(points[:, i]).all(axis=-1).any()]
        raise MalformedMotion(
            f"expected a frame with every joint of {order.name}, got none of {len(points)}"
            + (f"; no frame has {', '.join(never)}" if never else "")
        )
    known = known @ AXES[axes]
    known[..., 1] -= known[..., 1].min()
    parent = path.parent.name if "/" in name else "own"
    return Motion(name, parent, order, unit, float(fps), len(points), known)


def bridged(points: Float[np.ndarray, "frames joints 3"], most: int) -> Float[np.ndarray, "frames joints 3"]:
    """Return points with gaps of up to `most` frames of a joint interpolated linearly between the frames around."""
    filled = points.copy()
    for joint, known in enumerate(np.asarray(np.isfinite(points).all(axis=-1)).T):
        at = np.flatnonzero(known)
        steps = np.diff(at)
        for before in at[:-1][(steps > 1) & (steps <= most + 1)]:
            after = at[np.searchsorted(at, before) + 1]
            shares = np.arange(after - before + 1) / (after - before)
            filled[before : after + 1, joint] = at_places(points[[before, after], joint : joint + 1], shares)[:, 0]
    return filled


def longest(known: np.ndarray) -> slice:
    """Return the longest run of true values; an empty one if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8))).reshape(-1, 2)
    if not len(edges):
        return slice(0, 0)
    begin, end = edges[np.argmax(edges[:, 1] - edges[:, 0])]
    return slice(int(begin), int(end))
