"""Tables of a shipped lifter: its error by camera beside baselines, what a known height gives, and how constant its bones are.

    python -m training benchmark poses-lift --results benchmarks/results        about 4 minutes of one CPU core

Clips of the test split are seen in the views of `lift_views`. There are three baselines. Two read what the network reads, and know neither
the camera nor how large the person is: the mean pose, and ridge regression from the same windows, fitted to what the network is trained on.
The third knows the camera: ridge regression from single frames, fitted in each view to the source's own training clips in that very view.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import read_bundle
from models.contract.task import PoseLift
from models.motion.bodies import edge_padded, shown
from models.motion.bones import steady_body
from models.skeletons.skeleton import Skeleton
from training.catalogue import get_run
from training.data.splits import Split
from training.engine.benchmark import Choice, bold, markdown, refuse_options
from training.engine.export import onnx_runner
from training.engine.watch import UNWATCHED, Watch
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.floors import Lift, frame_ridge, mean_pose, window_ridge
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.lift_views import VIEWS, View, seen_in
from training.tasks.bodies.metrics import mpjpe_mm
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.report import AT_HEIGHT, at_height, errors
from training.tasks.bodies.sources import RIG

FILE = "poses-lift"  # of the results
MOST = 150  # frames of a clip that count, from its middle
EVERY = 8  # of the frames of a training clip, ridge that knows the camera is fitted to one
NAMES = ("network", "mean pose", "ridge, same windows", "ridge, knows the camera")
FIGURES = ("MPJPE", AT_HEIGHT, "P-MPJPE")


@dataclass(frozen=True)
class Line:
    """The figures of one source in one view, in mm, by the name of a lifter and of a figure."""

    view: str
    source: str
    frames: int
    errors: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Bones:
    """Variation of the lengths of bones over the lifted clips of a source, in %, and the errors with other requests, in mm."""

    view: str
    source: str
    varies: float
    errors: dict[str, float]


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED, choice: Choice = Choice()) -> str:  # noqa: B008 - a frozen value
    """Return the tables of bundles/poses-lift in Markdown; write them with their figures into the folder of results.

    Raises Stopped and NoOptions, and what reading the bundle and the data raises.
    """
    refuse_options(choice, "results")
    run = get_run("poses-lift")
    batches: LiftBatches = run.data.load(data_folder)
    network = bundled(Path("bundles") / run.name)
    lines, bones = measured(network, batches, "test", watch)
    text = f"{as_tables(lines)}\n\n{bones_table(bones)}"
    if choice.results is not None:
        choice.results.mkdir(parents=True, exist_ok=True)
        content = {"views": [asdict(line) for line in lines], "bones": [asdict(one) for one in bones]}
        (choice.results / f"{FILE}.json").write_text(json.dumps(content, indent=1) + "\n")
        (choice.results / f"{FILE}.md").write_text(f"## The lifter by camera\n\n{text}\n")
    return text


def bundled(folder: Path) -> Lift:
    """Return the lifter in a bundle's folder, each frame of a clip in the middle of its window. Raises what `read_bundle` raises."""
    bundle = read_bundle(folder)
    task, run = bundle.meta.task, onnx_runner(bundle.model.read_bytes())
    assert isinstance(task, PoseLift), f"{bundle.meta.name} lifts no poses"
    return lambda clip: run({"keypoints": _padded(clip, task.receptive)})["poses"][0]


def measured(
    network: Lift, batches: LiftBatches, split: Split, watch: Watch = UNWATCHED, views: Sequence[View] = VIEWS
) -> tuple[list[Line], list[Bones]]:
    """Return the figures of a network and of the baselines in every view, and of its bones in the studio. Raises Stopped."""
    mean, windows = mean_pose(batches), window_ridge(batches)
    lines: list[Line] = []
    bones: list[Bones] = []
    for view in views:
        for source in batches.data.sources:
            watch.check()
            known = frame_ridge(_training_clips(batches, view, source), every=1)
            lifters: dict[str, Lift] = dict(zip(NAMES, (network, mean, windows, known), strict=True))
            clips = _test_clips(batches, view, source, split)
            lines.append(_line(view, source, clips, lifters))
            if view.turn == 0:
                bones.append(_bones(view, source, clips, network, batches.skeleton))
    return lines, bones


def as_tables(lines: Sequence[Line]) -> str:
    """Return a table for each figure, a line for each view and source; the lowest error is in bold type."""
    texts = []
    for figure in FIGURES:
        rows = []
        for line in lines:
            values = [line.errors[name][figure] for name in NAMES]
            cells = [bold(f"{value:.1f}", value == min(values)) for value in values]
            rows.append((line.view, line.source, str(line.frames), *cells))
        texts.append(markdown((f"{figure}, mm", "source", "frames", *NAMES), rows))
    return "\n\n".join(texts)


def bones_table(bones: Sequence[Bones]) -> str:
    """Return how much lengths of bones vary, and the error of what a request may ask for."""
    heads = ("view", "source", "bones vary by, %", *(f"{name}, mm" for name in bones[0].errors))
    return markdown(
        heads, [(b.view, b.source, f"{b.varies:.1f}", *(f"{e:.1f}" for e in b.errors.values())) for b in bones]
    )


def _line(view: View, source: str, clips: list[LiftClip], lifters: dict[str, Lift]) -> Line:
    figures: dict[str, dict[str, float]] = {}
    for name, lift in lifters.items():
        found = [errors(clip, lift(clip)) for clip in clips]
        figures[name] = {key: round(float(np.concatenate([one[key] for one in found]).mean()), 2) for key in FIGURES}
    return Line(view.title, source, sum(len(clip.targets) for clip in clips), figures)


def _bones(view: View, source: str, clips: list[LiftClip], lift: Lift, skeleton: Skeleton) -> Bones:
    """Return the variation of lengths, and errors as lifted, with `keep_bones`, with the `height`, and with both."""
    near, far = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    varies: list[float] = []
    found: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        poses = lift(clip).astype(np.float64)
        lengths = np.linalg.norm(poses[:, far] - poses[:, near], axis=-1)
        varies.append(float(100 * (lengths.std(axis=0) / lengths.mean(axis=0)).mean()))
        steady = steady_body(poses, skeleton)
        asked = {
            "as lifted": poses,
            "keep_bones": steady,
            "height": at_height(poses, clip.targets, skeleton),
            "keep_bones and height": at_height(steady, clip.targets, skeleton),
        }
        for name, answer in asked.items():
            found.setdefault(name, []).append(mpjpe_mm(answer, clip.targets.astype(np.float64)))
    means = {name: round(float(np.concatenate(parts).mean()), 2) for name, parts in found.items()}
    return Bones(view.title, source, round(float(np.mean(varies)), 2), means)


def _test_clips(batches: LiftBatches, view: View, source: str, split: Split) -> list[LiftClip]:
    """Return the middle of every clip of a split as the cameras of a view see it."""
    return _seen(batches, view, [_cut(clip, _middle(len(clip.points))) for clip in _captured(batches, source, split)])


def _training_clips(batches: LiftBatches, view: View, source: str) -> list[LiftClip]:
    """Return some frames of the training clips as the cameras of a view see them."""
    return _seen(batches, view, [_cut(clip, slice(None, None, EVERY)) for clip in _captured(batches, source, "train")])


def _captured(batches: LiftBatches, source: str, split: Split) -> list[BodyClip]:
    clips = batches.captured[batches.data.sources.index(source)]
    return [clip for clip in clips if batches.counts(clip, split)]


def _seen(batches: LiftBatches, view: View, clips: list[BodyClip]) -> list[LiftClip]:
    return list(seen_in(view, clips, read_rig(batches.folder / RIG), batches.skeleton))


def _middle(frames: int) -> slice:
    begin = max(0, (frames - MOST) // 2)
    return slice(begin, begin + MOST)


def _cut(clip: BodyClip, at: slice) -> BodyClip:
    return replace(clip, points=clip.points[at], confidence=clip.confidence[at])


def _padded(clip: LiftClip, receptive: int) -> Float[np.ndarray, "1 padded seen_joints 3"]:
    return edge_padded(shown(clip.keypoints, clip.confidence), receptive)[None]
