"""Tables of a shipped recogniser of named actions: by source, by class, on lifted clips, and on clips of no class that it knows.

python -m training.tasks.bodies.recognition_table        about 1 minute of one CPU core

Test clips are recognised as they were captured, and as the shipped lifter sees them by the four fixed cameras, beside ridge regression from
captured training clips. The clips of other actions are of bandai_namco and cmu_9act (`named_actions.UNKNOWN`). How many clips get a class
stands beside how many have one with at least half of a plain softmax.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.contract.bundle import read_bundle
from models.contract.task import ActionRecognition, PoseLift
from models.motion.bodies import edge_padded, evenly, shown
from models.skeletons.body_orders import get_body_order
from training.engine.benchmark import markdown
from training.engine.export import onnx_runner
from training.tasks.bodies.action_clips import actions_of
from training.tasks.bodies.clips import BodyClip, confidence_of
from training.tasks.bodies.floors import ridge_scores
from training.tasks.bodies.lift_clips import projected
from training.tasks.bodies.named_actions import NAMED, named_clips, unknown_clips
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.sources import RIG, converted

Scores = Callable[[Sequence[BodyClip]], np.ndarray]  # clips in the model's order to their logits


def lifted_clips(clips: Sequence[BodyClip], bundle: Path, rig: Path) -> list[BodyClip]:
    """Return each clip as a lifter sees it by each of the cameras: at the lifter's rate, y up, from the pelvis."""
    lifter = read_bundle(bundle)
    task, run = lifter.meta.task, onnx_runner(lifter.model.read_bytes())
    assert isinstance(task, PoseLift), f"{lifter.meta.name} lifts no poses"
    seen, order = get_body_order(task.seen_order), get_body_order(task.order)
    lifted = []
    for clip in clips:
        for camera in read_rig(rig):
            keypoints = projected(clip, camera, seen, order, task.fps)
            numbers = shown(keypoints.keypoints, keypoints.confidence)[..., : 3 if task.confidence else 2]
            poses = run({"keypoints": edge_padded(numbers, task.receptive)[None]})["poses"][0]
            poses = poses * np.array([1, -1, -1], np.float32)  # y up
            lifted.append(replace(clip, skeleton=order, fps=task.fps, points=poses, confidence=confidence_of(poses)))
    return lifted


def tables(bundle: Path, lifter: Path, folder: Path) -> str:
    """Return the tables in Markdown; `folder` has the body data sets. Raises what reading them raises."""
    model = read_bundle(bundle)
    task, run = model.meta.task, onnx_runner(model.model.read_bytes())
    assert isinstance(task, ActionRecognition), f"{model.meta.name} recognises no actions"
    order = get_body_order(task.order)
    clips = [converted(clip, order) for clip in named_clips(folder)]
    train, test = ([clip for clip in clips if (clip.split == "test") == wanted] for wanted in (False, True))
    lifted = lifted_clips([clip for clip in test if clip.source != "reactidle"], lifter, folder / RIG)
    unknown = [converted(clip, order) for clip in unknown_clips(folder)]

    def network(clips: Sequence[BodyClip]) -> np.ndarray:
        read = actions_of(clips, turned=task.turned, source=NAMED).read
        inputs = [shown(*read(i)) for i in range(len(clips))]
        inputs = np.stack([one[:, evenly(one.shape[1], task.frames)] for one in inputs])
        return run({"clips": inputs})["logits"]

    known = [task.classes.index(clip.label) for clip in train]
    floor = ridge_scores([_read(clip, task) for clip in train], np.array(known), len(task.classes))
    rows = []
    for title, some in (("captured", test), ("lifted, four cameras", lifted)):
        for source in dict.fromkeys(clip.source for clip in some):
            own = [clip for clip in some if clip.source == source]
            labels = np.array([task.classes.index(clip.label) for clip in own])
            logits = network(own)
            right = logits.argmax(axis=1) == labels
            ridge = floor([_read(clip, task) for clip in own]).argmax(axis=1) == labels
            sure, half = sure_of(logits, task)
            shares = (right.mean(), ridge.mean(), sure.mean(), half.mean(), right[sure].mean())
            rows.append((source, title, str(len(own)), *(f"{100 * share:.1f}" for share in shares)))
    for source in dict.fromkeys(clip.source for clip in unknown):
        own = [clip for clip in unknown if clip.source == source]
        sure, half = (f"{100 * share.mean():.1f}" for share in sure_of(network(own), task))
        rows.append((f"other actions of {source}", "captured", str(len(own)), "", "", sure, half, ""))
    heads = (
        "source",
        "clips",
        "number",
        "top-1, %",
        "ridge, %",
        "get a class, %",
        "with half of a softmax, %",
        "right of those with a class, %",
    )
    return f"{markdown(heads, rows)}\n\n{by_class(test, network(test), task)}"


def sure_of(logits: np.ndarray, task: ActionRecognition) -> tuple[np.ndarray, np.ndarray]:
    """Return whether clips get a class, and whether they would with at least half of a softmax over the classes alone."""
    probabilities = task.probabilities(logits)
    known = probabilities[:, :-1]
    return task.recognises(probabilities), known.max(axis=1) >= 0.5 * known.sum(axis=1)


def by_class(clips: Sequence[BodyClip], logits: np.ndarray, task: ActionRecognition) -> str:
    """Return a line for each class: its clips, those recognised, and what the others were taken for."""
    rows = []
    for number, name in enumerate(task.classes):
        own = [i for i, clip in enumerate(clips) if clip.label == name]
        said = [int(logits[i].argmax()) for i in own]
        refused = len(own) - int(task.recognises(task.probabilities(logits[own])).sum())
        wrong = [task.classes[one] for one in said if one != number]
        others = ", ".join(f"{one} ({wrong.count(one)})" for one in dict.fromkeys(wrong))
        rows.append((name, str(len(said)), str(len(said) - len(wrong)), others, str(refused)))
    return markdown(("class", "test clips", "right", "taken for", "none of these"), rows)


def _read(clip: BodyClip, task: ActionRecognition) -> np.ndarray:
    """Return a clip as the recogniser is shown it, before frames are chosen."""
    return shown(*actions_of([clip], turned=task.turned).read(0))


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m training.tasks.bodies.recognition_table", description=__doc__)
    data_folder = Path(os.environ.get("CHIRON_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data_folder, help="the data folder")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="the folder of bundles")
    arguments = parser.parse_args(argv)
    bundles = arguments.bundles
    print(tables(bundles / "actions-hdm05", bundles / "poses-lift", arguments.data / "body"))


if __name__ == "__main__":
    main()
