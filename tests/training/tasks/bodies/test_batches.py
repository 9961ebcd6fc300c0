"""Tests of the batches of the three body tasks: seeds, ranks, validation, the deck, and augmentation of keypoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation, Deck, Decks, as_seen
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.lift_data import LiftData

H36M = BODIES["h36m-17"]
ALL_CHANGES = BodyAugmentation(mirror=0.5, drop=0.1, crop=0.8, turn_deg=20)
DATA: dict[str, Any] = {
    "lift": LiftData(("hdm05_11",), batch=64, augmentation=ALL_CHANGES),
    "lift a fifth": LiftData(
        ("reactidle",), batch=64, share=0.2, fps=12, with_confidence=True, augmentation=ALL_CHANGES
    ),
    "forecast penn": PoseForecastData(batch=64, augmentation=ALL_CHANGES),
    "forecast motion": PoseForecastData(
        ("hdm05_11",), past=8, fps=15, box="past", with_confidence=True, batch=64, augmentation=ALL_CHANGES
    ),
    "actions": ActionData("nw_ucla", frames=20, augmentation=ALL_CHANGES, turned=True),
    "actions, sides named": ActionData("bandai_namco", frames=20, tempo="crop", augmentation=ALL_CHANGES),
}
SHAPES = {  # of the input and the target, in batches of 64
    "lift": ((64, 27, 17, 2), (64, 1, 17, 3)),
    "lift a fifth": ((64, 27, 17, 3), (64, 1, 17, 3)),
    "forecast penn": ((64, 1, 13, 2), (64, 16, 13, 3)),
    "forecast motion": ((64, 8, 13, 3), (64, 16, 13, 3)),
    "actions": ((64, 1, 20, 20, 4), (64,)),
    "actions, sides named": ((64, 1, 20, 21, 4), (64,)),
}


@pytest.fixture(scope="module")
def loaded(data_folder: Path) -> dict[str, Any]:
    return {name: data.load(data_folder) for name, data in DATA.items()}


@pytest.mark.parametrize("name", DATA)
def test_a_batch_has_its_shape_and_is_a_function_of_seed_and_step(data_folder: Path, loaded, name: str):
    inputs, target = loaded[name].training_batch(3, 5)
    (x,) = inputs.values()
    assert (x.shape, target.shape) == SHAPES[name]
    assert x.dtype == np.float32
    assert target.dtype == (np.int64 if target.ndim == 1 else np.float32)
    assert np.isfinite(x).all()
    again, other = DATA[name].load(data_folder), loaded[name].training_batch(3, 6)[1]
    np.testing.assert_array_equal(next(iter(again.training_batch(3, 5)[0].values())), x)
    np.testing.assert_array_equal(again.training_batch(3, 5)[1], target)
    assert not np.array_equal(other, target)
    assert not np.array_equal(loaded[name].training_batch(4, 5)[1], target)


@pytest.mark.parametrize("name", DATA)
def test_every_rank_gets_its_own_part_of_a_batch(loaded, name: str):
    batch, target = loaded[name].training_batch(0, 2)
    parts = [loaded[name].training_batch(0, 2, rank, 3) for rank in range(3)]
    for key, x in batch.items():
        for rank, (inputs, own) in enumerate(parts):
            np.testing.assert_array_equal(inputs[key], x[rank::3])
            np.testing.assert_array_equal(own, target[rank::3])


@pytest.mark.parametrize("name", DATA)
def test_validation_batches_do_not_change_and_name_their_source(loaded, name: str):
    first = list(loaded[name].validation_batches())
    again = list(loaded[name].validation_batches())
    assert len(first) == len(again) > 0
    for (source, (inputs, target)), (_, (same_inputs, same_target)) in zip(first, again, strict=True):
        assert source in DATA[name].sources if hasattr(DATA[name], "sources") else source == DATA[name].source
        np.testing.assert_array_equal(next(iter(inputs.values())), next(iter(same_inputs.values())))
        np.testing.assert_array_equal(target, same_target)
        assert np.isfinite(next(iter(inputs.values()))).all()


def test_a_deck_deals_no_number_twice_in_an_epoch():
    deck = Deck(count=23, batch=5)
    assert deck.steps_an_epoch == 4
    epochs = [np.concatenate([deck.deal(0, 4 * epoch + i) for i in range(4)]) for epoch in range(2)]
    for epoch_numbers in epochs:
        assert len(set(epoch_numbers.tolist())) == 20
    assert not np.array_equal(epochs[0], epochs[1])
    assert sorted(Deck(3, 5).deal(0, 7).tolist()) == [0, 1, 2]


def test_decks_deal_as_many_numbers_of_each_source():
    decks = Decks((23, 0, 1000), batch=9)
    dealt = [decks.deal(0, step) for step in range(5)]
    assert [(numbers < 23).sum() for numbers in dealt] == [5] * 5
    assert all(len(numbers) == 9 and numbers.max() < 1023 for numbers in dealt)
    first = np.concatenate([numbers[numbers < 23] for numbers in dealt[:4]])
    assert len(set(first.tolist())) == 20  # none twice in an epoch of the smaller source
    np.testing.assert_array_equal(Decks((23, 0, 1000), batch=9).deal(0, 3), dealt[3])


def keypoints(batch: int = 6, order: str = "h36m-17", numbers: int = 3) -> np.ndarray:
    """Return samples of 4 frames: a knee is missing in every other sample, and no other keypoint is at 0."""
    body = BODIES[order]
    x = np.random.default_rng(0).uniform(0.1, 1, size=(batch, 4, len(body.joints), numbers)).astype(np.float32)
    x[..., 2:] = 1
    x[::2, :, body.joints.index("left_knee")] = 0
    return x


def augmented(x: np.ndarray, seed: int = 0, order: str = "h36m-17", **changes: Any) -> np.ndarray:
    x = x.copy()
    BodyAugmentation(**changes).change_keypoints(x, order, np.random.default_rng(seed))
    return x


@pytest.mark.parametrize("numbers", [2, 3])
@pytest.mark.parametrize(
    "changes", [{"noise": 0.1}, {"zoom": 2.0}, {"shift": 0.5}, {"noise": 0.1, "zoom": 2.0, "shift": 0.5, "drop": 0.2}]
)
def test_missing_keypoints_stay_missing_under_every_change(numbers: int, changes: dict[str, Any]):
    x = keypoints(numbers=numbers)
    changed = augmented(x, **changes)
    missing = ~x.any(axis=-1)
    assert missing.sum() == 3 * 4
    assert not changed[missing].any()
    assert changed.dtype == np.float32
    there = changed.any(axis=-1)
    moved = (changed != x)[..., :2].all(axis=-1)[there].mean()
    assert 0.3 < moved < 0.7 if set(changes) == {"noise"} else moved == 1  # noise leaves half of the samples
    assert there.sum() == (~missing).sum() if "drop" not in changes else there.sum() < 0.9 * (~missing).sum()
    np.testing.assert_array_equal(changed[there][:, 2:], x[there][:, 2:])  # confidences stay


def test_noise_zoom_shift_and_drop_have_the_configured_sizes():
    x = keypoints(batch=400)[1::2]
    noisy = (augmented(x, noise=0.1) - x)[..., :2]
    levels = noisy.std(axis=(1, 2, 3))
    assert (levels == 0).mean() == pytest.approx(0.5, abs=0.1)  # half of the samples stay clean
    assert levels[levels > 0].mean() == pytest.approx(0.05, rel=0.1)
    assert levels.max() == pytest.approx(0.1, rel=0.1)
    assert abs(noisy.mean()) < 0.005
    factor = augmented(x, zoom=2.0)[..., :2] / x[..., :2]
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1, :1], factor.shape), rtol=1e-5)  # one a sample
    assert (factor.min(), factor.max()) == (pytest.approx(0.5, abs=0.05), pytest.approx(2, abs=0.05))
    assert (factor[:, 0, 0, 0] < 1).mean() == pytest.approx(0.5, abs=0.1)
    aside = augmented(x, shift=0.5)[..., :2] - x[..., :2]
    np.testing.assert_allclose(aside, np.broadcast_to(aside[:, :1, :1], aside.shape), atol=1e-6)
    assert (np.abs(aside).max(axis=(0, 1, 2)) > 0.45).all()
    assert np.abs(aside).max() <= 0.5 + 1e-6
    assert np.corrcoef(aside[:, 0, 0].T)[0, 1] == pytest.approx(0, abs=0.2)  # x and y are independent
    dropped = ~augmented(x, drop=0.2).any(axis=-1)
    assert dropped.mean() == pytest.approx(0.2, abs=0.01)


def test_without_options_keypoints_are_unchanged():
    x = keypoints()
    np.testing.assert_array_equal(augmented(x), x)
    np.testing.assert_array_equal(augmented(x, mirror=1.0, crop=0.5, turn_deg=30.0), x)  # other code applies these


def test_as_coco_keypoints_the_pelvis_is_computed_and_spine_and_head_are_missing():
    x = keypoints()[1::2]
    seen = as_seen(x, "h36m-17", "coco-17")
    at = {joint: seen[:, :, i] for i, joint in enumerate(H36M.joints)}
    true = {joint: x[:, :, i] for i, joint in enumerate(H36M.joints)}
    np.testing.assert_allclose(at["pelvis"], (true["left_hip"] + true["right_hip"]) / 2, atol=1e-6)
    np.testing.assert_allclose(at["thorax"], (true["left_shoulder"] + true["right_shoulder"]) / 2, atol=1e-6)
    for joint in ("spine", "head_base", "head_top"):
        assert not at[joint].any()
    limbs = [joint for joint in H36M.joints if joint.startswith(("left_", "right_"))]
    assert len(limbs) == 12
    for joint in limbs:
        np.testing.assert_array_equal(at[joint], true[joint])


def test_missing_joints_stay_missing_in_another_order_and_the_own_order_changes_nothing():
    x = keypoints()
    hip = H36M.joints.index("left_hip")
    x[0, :, hip] = 0
    seen = as_seen(x, "h36m-17", "coco-17")
    pelvis = H36M.joints.index("pelvis")
    assert not seen[0, :, pelvis].any()
    assert seen[1:, :, pelvis].any(axis=-1).all()
    assert not seen[0, :, H36M.joints.index("left_knee")].any()
    np.testing.assert_array_equal(as_seen(x, "h36m-17", "h36m-17"), x)


def test_conversion_to_another_order_is_chirality_equivariant():
    x = keypoints()
    for other in ("coco-17", "openpose-18", "humaneva-15"):
        np.testing.assert_allclose(
            as_seen(mirrored(x, H36M), "h36m-17", other), mirrored(as_seen(x, "h36m-17", other), H36M), atol=1e-6
        )


def test_every_order_is_drawn_for_an_equal_share_of_the_samples():
    x = keypoints(batch=900)
    seen = augmented(x, seen_as=("coco-17", "humaneva-15"))
    spine, head = (H36M.joints.index(joint) for joint in ("spine", "head_top"))
    orders = {
        "h36m-17": seen[:, 0, spine].any(axis=-1),
        "coco-17": ~seen[:, 0, spine].any(axis=-1) & ~seen[:, 0, H36M.joints.index("head_base")].any(axis=-1),
    }
    np.testing.assert_array_equal(seen[orders["h36m-17"]], x[orders["h36m-17"]])
    assert orders["h36m-17"].mean() == pytest.approx(1 / 3, abs=0.05)
    thorax = H36M.joints.index("thorax")
    own_thorax = (seen[:, :, thorax] == x[:, :, thorax]).all(axis=(1, 2))  # humaneva-15 has its own thorax
    humaneva = ~orders["h36m-17"] & own_thorax
    assert humaneva.mean() == pytest.approx(1 / 3, abs=0.05)
    assert not seen[humaneva][:, :, [spine, head]].any()
    for number, sample in enumerate(seen[:30]):  # one order a sample
        assert any(
            np.array_equal(sample, as_seen(x[number : number + 1], "h36m-17", order)[0])
            for order in ("h36m-17", "coco-17", "humaneva-15")
        )
