"""Classes that name a side: a chiral recogniser that is told which are each other's mirror image tells a left hand from a right one.

One whose logits the mirror leaves alone cannot, whatever it has learned: a clip and its mirror image are the same to it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.contract.task import ActionRecognition, mirror_of
from models.pose.ends import pairs
from models.pose.recogniser import Recogniser, RecogniserConfig
from training.tasks.bodies.action_data import ActionBatches, ActionData
from training.tasks.bodies.losses import smoothed_cross_entropy
from training.tasks.bodies.report import answers, scores

CLASSES = ("raise-up-left-hand", "raise-up-right-hand", "wave-left-hand", "wave-right-hand")
FRAMES, STEPS = 24, 40


@dataclass(frozen=True)
class Sided(ActionData):
    """The clips whose class names a hand."""

    def load(self, folder: Path) -> ActionBatches:
        batches = super().load(folder)
        every = batches.clips
        kept = [i for i, label in enumerate(every.labels) if every.classes[label] in CLASSES]
        batches.clips = replace(
            every,
            classes=CLASSES,
            names=[every.names[i] for i in kept],
            labels=np.array([CLASSES.index(every.classes[every.labels[i]]) for i in kept]),
            splits=[every.splits[i] for i in kept],
            read=lambda i: every.read(kept[i]),
        )
        return batches


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> ActionBatches:
    return Sided("bandai_namco", frames=FRAMES, batch=32, turned=True).load(data_folder)


@pytest.fixture(scope="module")
def trained(batches: ActionBatches) -> dict[str, Recogniser]:
    """A recogniser for which classes exchange their logits in the mirror, and one for which they keep them."""
    task = ActionRecognition(order="bandai-21", classes=CLASSES, dims=3, frames=FRAMES, turned=True)
    sided = task.model_copy(update={"mirrored": batches.clips.class_mirror})
    return {name: fitted(batches, each) for name, each in {"sided": sided, "invariant": task}.items()}


def fitted(batches: ActionBatches, task: ActionRecognition) -> Recogniser:
    torch.manual_seed(0)
    network = RecogniserConfig(pairs(32), dropout=0.0).build(task)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    for step in range(STEPS):
        inputs, labels = batches.training_batch(0, step)
        loss = smoothed_cross_entropy(network(torch.from_numpy(inputs["clips"])), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
    return network.eval()


def unseen(batches: ActionBatches) -> tuple[np.ndarray, np.ndarray]:
    found = [batch for _, batch in batches.batches("test")]
    return np.concatenate([inputs["clips"] for inputs, _ in found]), np.concatenate([labels for _, labels in found])


def test_the_classes_are_as_many_of_either_side_and_each_others_mirror_image(batches: ActionBatches):
    assert batches.clips.class_mirror == (1, 0, 3, 2)
    for split in ("train", "test"):
        counts = np.bincount(batches.clips.labels[batches.chosen(split)])
        assert counts.tolist() == [counts[0]] * 4


def test_a_recogniser_that_is_told_so_tells_left_from_right_in_clips_it_has_not_seen(
    batches: ActionBatches, trained: dict[str, Recogniser]
):
    logits, labels = scores(trained["sided"], batches, "test")
    found = logits.argmax(axis=1)
    assert (found % 2 == labels % 2).mean() > 0.9  # the side; by chance half of them
    assert (found == labels).mean() > 0.4  # raising or waving as well, which are much alike; by chance a quarter


def test_a_mirrored_clip_has_the_exchanged_logits(batches: ActionBatches, trained: dict[str, Recogniser]):
    clips, _ = unseen(batches)
    images = mirror_of("bandai-21").of(clips)
    straight, image = answers(trained["sided"], clips), answers(trained["sided"], images)
    np.testing.assert_allclose(image, straight[:, [1, 0, 3, 2]], atol=1e-5)
    double: Any = nn.Module.double(trained["sided"])
    try:
        exact = answers(double, images.astype(np.float64)) - answers(double, clips.astype(np.float64))[:, [1, 0, 3, 2]]
    finally:
        double.float()
    assert np.abs(exact).max() < 1e-12
    assert np.abs(straight - straight[:, [1, 0, 3, 2]]).max() > 1  # the control: they are not alike


def test_one_that_is_not_told_cannot_tell_a_clip_from_its_mirror_image(
    batches: ActionBatches, trained: dict[str, Recogniser]
):
    clips, labels = unseen(batches)
    images, swapped = mirror_of("bandai-21").of(clips), np.array(batches.clips.class_mirror)[labels]
    network = trained["invariant"]
    straight, image = answers(network, clips), answers(network, images)
    np.testing.assert_allclose(image, straight, atol=1e-5)
    right = (straight.argmax(axis=1) == labels) + 0.0 + (image.argmax(axis=1) == swapped)
    assert right.max() <= 1  # never both
    assert right.mean() / 2 <= 0.5
    sides = (straight.argmax(axis=1) % 2 == labels % 2) + 0.0 + (image.argmax(axis=1) % 2 == swapped % 2)
    assert (sides == 1).all()  # of a clip and its image always one: of sides it knows nothing


def test_a_clip_and_its_image_are_both_known_to_one_that_is_told(
    batches: ActionBatches, trained: dict[str, Recogniser]
):
    clips, labels = unseen(batches)
    images, swapped = mirror_of("bandai-21").of(clips), np.array(batches.clips.class_mirror)[labels]
    found, of_images = (answers(trained["sided"], x).argmax(axis=1) for x in (clips, images))
    np.testing.assert_array_equal(found == labels, of_images == swapped)
    assert ((found % 2 == labels % 2) & (of_images % 2 == swapped % 2)).mean() > 0.9
