"""Tests of actions under common names, and of the faults of lifted clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.skeletons.body_orders import BODIES
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.lifted_like import LiftedLike
from training.tasks.bodies.named_actions import CLASSES, NAMED, NAMES, PIECE_S, named_clips, unknown_clips
from training.tasks.bodies.readers.npz import SOURCES

H36M = BODIES["h36m-17"]


def test_only_sources_that_may_ship_have_names():
    assert set(NAMES) == {"hdm05_11", "cmu_9act", "reactidle"}
    assert all(SOURCES[source].licence for source in NAMES)
    assert len(CLASSES) == 18


def test_every_class_has_clips_for_training_and_for_testing(data_folder: Path):
    clips = named_clips(data_folder / "body")
    for split in ("train", "test"):
        assert {clip.label for clip in clips if clip.split == split} == set(CLASSES)
    assert all(len(clip.points) < 2 * PIECE_S * clip.fps for clip in clips if clip.source != "hdm05_11")
    test = {clip.name.split(" ")[0] for clip in clips if clip.split == "test" and clip.source == "cmu_9act"}
    train = {clip.name.split(" ")[0] for clip in clips if clip.split != "test" and clip.source == "cmu_9act"}
    assert not test & train
    assert {clip.label for clip in unknown_clips(data_folder / "body")}.isdisjoint(CLASSES)


def test_batches_of_named_actions_have_their_origins_and_even_classes(data_folder: Path):
    data = ActionData(NAMED, frames=8, batch=256, order="h36m-17", turned=True, even=True, lifted_like=LiftedLike())
    batches = data.load(data_folder)
    assert batches.clips.classes == CLASSES
    assert {batches.clips.origin(int(i)) for i in batches.chosen("test")} == set(NAMES)
    inputs, labels = batches.training_batch(0, 0)
    assert inputs["clips"].shape == (256, 1, 8, 17, 4)
    np.testing.assert_array_equal(batches.training_batch(0, 0)[0]["clips"], inputs["clips"])
    part = batches.training_batch(0, 0, 1, 3)
    np.testing.assert_array_equal(part[0]["clips"], inputs["clips"][1::3])
    drawn = np.bincount(np.concatenate([labels, *(batches.training_batch(0, i)[1] for i in range(1, 4))]))
    own = np.bincount(batches.clips.labels[batches.training])
    most, least = int(own.argmax()), int(own.argmin())
    assert drawn[most] / drawn[least] < 0.6 * own[most] / own[least]


def test_actions_that_are_left_out_are_no_classes_and_have_no_clips(data_folder: Path):
    data = ActionData(NAMED, frames=8, order="h36m-17", left_out=("walk", "hop"))
    clips = data.load(data_folder).clips
    assert clips.classes == tuple(name for name in CLASSES if name not in ("walk", "hop"))
    every = named_clips(data_folder / "body")
    assert len(clips) == sum(clip.label not in ("walk", "hop") for clip in every) < len(every)
    with pytest.raises(UnknownBodies, match="expected classes of named_actions to leave out, got swim"):
        _ = replace(data, left_out=("swim", "walk")).load(data_folder).clips


def clip() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 30, 17, 3)).cumsum(axis=1) * 0.05


def test_a_clip_gets_the_faults_of_a_lifted_one():
    like = LiftedLike(tilt_deg=10, error_m=0.0, rooted=1.0, lacking=0.0)
    rng = np.random.default_rng(1)
    points = clip()
    changed = like.change(points, H36M, rng)
    np.testing.assert_allclose(changed[:, :, 0], 0, atol=1e-6)
    centred = points - points[:, :, :1]
    np.testing.assert_allclose(np.linalg.norm(changed, axis=-1), np.linalg.norm(centred, axis=-1), atol=1e-4)
    up = np.zeros((1, 30, 17, 3))
    up[:, :, 1:, 1] = 1
    tilts = [like.change(up, H36M, rng)[0, 0, 5] for _ in range(300)]
    assert 0 < np.degrees(np.arccos(np.min([tilt[1] for tilt in tilts]))) <= np.hypot(10, 5)
    still = LiftedLike(tilt_deg=0, error_m=0.05, rooted=0.0, lacking=0.0)
    errors = np.stack([still.change(points, H36M, rng) - points for _ in range(300)])
    assert (np.abs(errors).max(axis=(1, 2, 3, 4)) < 1e-5).mean() == pytest.approx(0.5, abs=0.12)
    assert errors[..., 2].std() > 2 * errors[..., 0].std()
    lacking = [like.change(points, H36M, rng) for like in [LiftedLike(lacking=0.1)] * 200]
    missing = np.isnan(np.stack(lacking)).all(axis=(1, 2, 4)).mean(axis=0)
    assert missing[H36M.joints.index("head_top")] == pytest.approx(0.5, abs=0.12)
    assert missing[1] == pytest.approx(0.1, abs=0.07)


def test_places_go_from_the_first_frame_to_the_last_at_a_changing_pace():
    places = LiftedLike(warp=0.3).places(20, np.random.default_rng(0))
    assert (places[0], places[-1]) == (0, 1)
    assert (np.diff(places) > 0).all()
    assert np.ptp(np.diff(places)) > 1e-3
    np.testing.assert_allclose(np.diff(LiftedLike(warp=0.0).places(20, np.random.default_rng(0))), 1 / 19)
