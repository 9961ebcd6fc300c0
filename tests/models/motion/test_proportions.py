"""Tests of joint orders against the proportions of limbs: recordings fit, other orders and exchanged joints do not."""

from pathlib import Path

import numpy as np
import pytest
from people import moving_person, pixels

from models.motion.proportions import DOUBTFUL, check_order, misfit
from models.skeletons.body_orders import BODIES
from models.skeletons.units import Implausible
from training.tasks.bodies.readers.npz import read_bodies

SAME_NUMBER = [
    ("h36m-17", "coco-17"), ("coco-17", "h36m-17"), ("openpose-25", "ntu-25"), ("hdm05-25", "openpose-25"),
    ("openpose-18", "reactidle-18"), ("smpl-24", "cmu-24"), ("h36m-32", "azure-kinect-32"),
]  # fmt: skip


@pytest.mark.parametrize("source", ["hdm05_11", "cmu_9act", "reactidle", "jhmdb"])
def test_recordings_fit_their_own_order(data_folder: Path, source: str):
    clips = read_bodies(data_folder / "body", source)[::40]
    misfits = [value for clip in clips if (value := misfit(clip.points.astype(float), clip.skeleton)) is not None]
    assert len(misfits) == len(clips)
    assert np.median(misfits) < 0.2
    assert max(misfits) < DOUBTFUL[clips[0].points.shape[-1]]


@pytest.mark.parametrize("order", BODIES.values(), ids=lambda order: order.name)
def test_a_person_fits_in_every_order_and_unit_and_if_mirrored(order):
    person = moving_person(order.name, 20)
    for points in (person, 1000 * person, pixels(person)):
        assert check_order(points, order) is None
        assert misfit(points[:, list(order.mirror)], order) == pytest.approx(misfit(points, order))


@pytest.mark.parametrize(("true", "stated"), SAME_NUMBER)
@pytest.mark.parametrize("flat", [True, False], ids=["2D", "3D"])
def test_a_wrong_order_is_refused_with_the_name_of_the_right_one(true: str, stated: str, flat: bool):
    person = moving_person(true, 20)
    with pytest.raises(Implausible, match=f"expected a person in {stated} order, got one whose joints fit .*{true}"):
        check_order(pixels(person) if flat else person, BODIES[stated])


def test_exchanged_arms_and_legs_get_a_warning():
    order = BODIES["coco-17"]
    person = moving_person("coco-17", 20)
    arms, legs = (
        order.indices([f"{side}_{part}" for side in ("left", "right") for part in parts])
        for parts in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
    )
    exchanged = person.copy()
    exchanged[:, arms], exchanged[:, legs] = person[:, legs], person[:, arms]
    warning = check_order(exchanged, order)
    assert warning is not None
    assert "no person's proportions in coco-17 order" in warning


def test_impossible_limbs_are_refused():
    order, person = BODIES["coco-17"], moving_person("coco-17", 20)
    person[:, order.joints.index("left_wrist")] += 30.0
    person[:, order.joints.index("right_ankle")] += 50.0
    with pytest.raises(Implausible, match="got limbs that nobody has"):
        check_order(person, order)


def test_a_person_with_too_few_limbs_is_not_checked():
    order, person = BODIES["coco-17"], moving_person("coco-17", 20)
    person[:, order.indices(("left_knee", "right_knee"))] = np.nan
    assert misfit(person, order) is None
    assert check_order(person, order) is None
