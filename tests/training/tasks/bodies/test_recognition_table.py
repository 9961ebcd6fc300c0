"""Tests of the tables of a shipped recogniser: which clips get a class, and the lines of the classes."""

import numpy as np

from models.contract.task import ActionRecognition
from models.skeletons.body_orders import get_body_order
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.recognition_table import by_class, sure_of

TASK = ActionRecognition(order="h36m-17", classes=("bow", "jump", "walk"), dims=3, frames=4, none=True)
LOGITS = np.array([[3.0, 0.0, 0.0], [-2.0, -5.0, -5.0], [0.4, 0.4, 0.3], [0.0, 2.0, 0.0]])


def clip(label: str) -> BodyClip:
    return BodyClip(
        source="made up",
        name=label,
        split="test",
        subject="a",
        label=label,
        skeleton=get_body_order("h36m-17"),
        fps=30.0,
        points=np.zeros((4, 17, 3), np.float32),
        confidence=np.ones((4, 17), np.float32),
    )


def test_a_clip_gets_a_class_unless_none_leads_whatever_the_share_of_its_class():
    sure, half = sure_of(LOGITS, TASK)
    assert sure.tolist() == [True, False, True, True]
    assert half.tolist() == [True, True, False, True]


def test_a_class_has_a_line_with_its_mistakes_and_the_clips_of_none():
    clips = [clip(label) for label in ("bow", "bow", "bow", "walk")]
    lines = by_class(clips, LOGITS, TASK).splitlines()
    assert lines[2:] == ["| bow | 3 | 3 |  | 1 |", "| jump | 0 | 0 |  | 0 |", "| walk | 1 | 0 | jump (1) | 0 |"]
