"""Tests of batches for recognition: mirrored classes, crops of short clips, and other joint orders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.skeletons.body import convert_body, mirrored
from models.skeletons.body_orders import BODIES
from training.tasks.bodies.action_clips import ActionSet
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.clips import UnknownBodies

H36M = BODIES["h36m-17"]
SIDED = ActionData("bandai_namco", frames=20)  # its classes name sides


def test_a_mirrored_clip_has_the_mirrored_class(data_folder: Path):
    plain = SIDED.load(data_folder)
    always = replace(SIDED, augmentation=BodyAugmentation(mirror=1.0)).load(data_folder)
    (inputs, classes), (image, swapped) = plain.training_batch(0, 0), always.training_batch(0, 0)
    np.testing.assert_allclose(image["clips"], mirrored(inputs["clips"], BODIES["bandai-21"]), atol=1e-6)
    assert swapped.tolist() == [plain.clips.class_mirror[c] for c in classes]
    assert (swapped != classes).any()


def test_a_crop_longer_than_its_clip_is_padded_with_0(data_folder: Path):
    batches = ActionData("bandai_namco", frames=400, tempo="crop", test_frames=500).load(data_folder)
    inputs, _ = batches.training_batch(0, 0)
    assert inputs["clips"].shape[2] == 400
    lengths = (inputs["clips"][..., 3].min(axis=(1, 3)) == 1).sum(axis=1)
    assert (lengths < 400).any()
    for clip, length in zip(inputs["clips"], lengths, strict=True):
        assert (clip[:, length:] == 0).all()
    assert next(iter(batches.validation_batches()))[1][0]["clips"].shape[2] == 500


def test_every_clip_of_a_split_is_measured_once(data_folder: Path):
    batches = ActionData("nw_ucla", frames=20).load(data_folder)
    labels = np.concatenate([target for _, (_, target) in batches.batches("test")])
    np.testing.assert_array_equal(labels, batches.clips.labels[batches.chosen("test")])
    assert isinstance(batches.clips, ActionSet)
    assert len(labels) == 464


def test_clips_can_be_converted_to_another_joint_order(data_folder: Path):
    own, other = (ActionData("hdm05_11", frames=8, order=order).load(data_folder) for order in (None, "h36m-17"))
    assert (own.clips.skeleton.name, other.clips.skeleton.name) == ("hdm05-25", "h36m-17")
    assert other.clips.classes == own.clips.classes
    np.testing.assert_array_equal(other.clips.labels, own.clips.labels)
    (source, labels), (batch, same_labels) = own.training_batch(0, 0), other.training_batch(0, 0)
    np.testing.assert_array_equal(labels, same_labels)
    assert batch["clips"].shape == (64, 1, 8, 17, 4)
    converted = convert_body(source["clips"], BODIES["hdm05-25"], H36M, partial=True)
    known = np.isfinite(converted).all(axis=(0, 1, 2, 4))
    assert known.sum() >= 16
    np.testing.assert_allclose(batch["clips"][..., known, :], converted[..., known, :], atol=1e-5)
    assert not batch["clips"][..., ~known, :].any()


def test_joints_that_the_source_lacks_are_missing_in_another_joint_order(data_folder: Path):
    batches = ActionData("penn_action", frames=8, order="h36m-17").load(data_folder)
    inputs, _ = batches.training_batch(0, 0)
    spine = H36M.joints.index("spine")
    assert not inputs["clips"][..., spine, :].any()
    assert inputs["clips"][..., H36M.joints.index("left_wrist"), 2].mean() > 0.5


def test_an_unknown_source_is_refused_with_the_known_ones(data_folder: Path):
    with pytest.raises(
        UnknownBodies, match="no actions in 'ntu'; sources are kinetics, penn_action, nw_ucla, hdm05_11"
    ):
        ActionData("ntu").load(data_folder).training_batch(0, 0)
