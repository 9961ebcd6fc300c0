"""Tests of classes that name a side: a chiral recogniser tells left from right if the task declares which classes mirror each other.

A recogniser with mirror-invariant logits cannot tell them apart: it gives a clip and its mirror image the same answer.
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
    """Clips whose class names a hand."""

    def load(self, folder: Path) -> ActionBatches:
        batches = super().load(folder)
        every = batches.clips
        chosen = [i for i, label in enumerate(every.labels) if every.classes[label] in CLASSES]
        batches.clips = replace(
            every,
            classes=CLASSES,
            names=[every.names[i] for i in chosen],
            labels=np.array([CLASSES.index(every.classes[every.labels[i]]) for i in chosen]),
            splits=[every.splits[i] for i in chosen],
            read=lambda i: every.read(chosen[i]),
        )
        return batches


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> ActionBatches:
    return Sided("bandai_namco", frames=FRAMES, batch=32, turned=True).load(data_folder)


@pytest.fixture(scope="module")
def trained(batches: ActionBatches) -> dict[str, Recogniser]:
    """Train a recogniser whose logits are exchanged by the mirror, and one whose logits are invariant."""
    task = ActionRecognition(order="bandai-21", classes=CLASSES, dims=3, frames=FRAMES, turned=True)
    sided = task.model_copy(update={"mirrored": batches.clips.class_mirror})
    return {name: fitted(batches, each) for name, each in {"sided": sided, "invariant": task}.items()}


def fitted(batches: ActionBatches, task: ActionRecognition) -> Recogniser:
    torch.manual_seed(0)
    network = RecogniserConfig(pairs(32), dropout=0.0).build(task)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    for step in range(STEPS):
        inputs, labels = batches.training_batch(0, step)
        loss = smoothed_cross_entropy(network(torch.from_numpy(inputs["clips"])), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def clips_of_test_split(batches: ActionBatches) -> tuple[np.ndarray, np.ndarray]:
    parts = [batch for _, batch in batches.batches("test")]
    return np.concatenate([inputs["clips"] for inputs, _ in parts]), np.concatenate([labels for _, labels in parts])


def test_the_classes_are_balanced_and_mirror_each_other(batches: ActionBatches):
    assert batches.clips.class_mirror == (1, 0, 3, 2)
    for split in ("train", "test"):
        counts = np.bincount(batches.clips.labels[batches.chosen(split)])
        assert counts.tolist() == [counts[0]] * 4


def test_a_sided_recogniser_tells_left_from_right_in_test_clips(batches: ActionBatches, trained: dict[str, Recogniser]):
    logits, labels = scores(trained["sided"], batches, "test")
    predicted = logits.argmax(axis=1)
    assert (predicted % 2 == labels % 2).mean() > 0.9  # the side; chance is a half
    assert (predicted == labels).mean() > 0.4  # the side and the action, which are similar; chance is a quarter


def test_a_mirrored_clip_has_exchanged_logits(batches: ActionBatches, trained: dict[str, Recogniser]):
    clips, _ = clips_of_test_split(batches)
    images = mirror_of("bandai-21").of(clips)
    straight, image = answers(trained["sided"], clips), answers(trained["sided"], images)
    np.testing.assert_allclose(image, straight[:, [1, 0, 3, 2]], atol=1e-5)
    double: Any = nn.Module.double(trained["sided"])
    try:
        exact = answers(double, images.astype(np.float64)) - answers(double, clips.astype(np.float64))[:, [1, 0, 3, 2]]
    finally:
        double.float()
    assert np.abs(exact).max() < 1e-12
    assert np.abs(straight - straight[:, [1, 0, 3, 2]]).max() > 1  # control: the logits of the two sides differ


def test_an_invariant_recogniser_cannot_tell_a_clip_from_its_mirror_image(
    batches: ActionBatches, trained: dict[str, Recogniser]
):
    clips, labels = clips_of_test_split(batches)
    images, swapped = mirror_of("bandai-21").of(clips), np.array(batches.clips.class_mirror)[labels]
    network = trained["invariant"]
    straight, image = answers(network, clips), answers(network, images)
    np.testing.assert_allclose(image, straight, atol=1e-5)
    correct = (straight.argmax(axis=1) == labels) + 0.0 + (image.argmax(axis=1) == swapped)
    assert correct.max() <= 1  # never correct on both
    assert correct.mean() / 2 <= 0.5
    sides = (straight.argmax(axis=1) % 2 == labels % 2) + 0.0 + (image.argmax(axis=1) % 2 == swapped % 2)
    assert (sides == 1).all()  # the side is correct on exactly one of a clip and its image


def test_a_sided_recogniser_is_as_good_on_mirror_images(batches: ActionBatches, trained: dict[str, Recogniser]):
    clips, labels = clips_of_test_split(batches)
    images, swapped = mirror_of("bandai-21").of(clips), np.array(batches.clips.class_mirror)[labels]
    predicted, of_images = (answers(trained["sided"], x).argmax(axis=1) for x in (clips, images))
    np.testing.assert_array_equal(predicted == labels, of_images == swapped)
    assert ((predicted % 2 == labels % 2) & (of_images % 2 == swapped % 2)).mean() > 0.9
