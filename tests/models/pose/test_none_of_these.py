"""Tests of the probability that a clip shows none of the classes: its formula, and what it leaves as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.contract.task import ActionRecognition
from models.pose.clip_recogniser import ClipRecogniserConfig
from models.pose.ends import pairs
from models.pose.none_of_these import NoneOfThese, lead

NONE = NoneOfThese(slope=1.5, offset=-2.0)
TASK = ActionRecognition(order="penn-13", classes=("bow", "jump", "walk"), frames=8)


def logits() -> Tensor:
    return 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))


def test_the_log_odds_of_a_class_are_linear_in_those_of_the_most_probable_one():
    shares = logits().double().softmax(-1)
    most = shares.amax(-1)
    known = torch.sigmoid(1.5 * (most / (1 - most)).log() - 2.0)
    probabilities = F.pad(NONE(logits()), (0, 1)).softmax(-1).double()
    torch.testing.assert_close(probabilities[:, -1], 1 - known, atol=1e-4, rtol=0)
    torch.testing.assert_close(probabilities[:, :-1], shares * known[:, None], atol=1e-4, rtol=0)


def test_a_loss_of_the_classes_alone_and_its_gradient_do_not_change():
    plain, beside = logits().requires_grad_(), logits().requires_grad_()
    true = torch.arange(20) % 5
    losses = F.cross_entropy(plain, true, label_smoothing=0.1), F.cross_entropy(NONE(beside), true, label_smoothing=0.1)
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(plain.grad, beside.grad)


def test_any_exchange_of_classes_is_kept_and_a_certain_class_is_finite():
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(NONE(logits()[:, order]), NONE(logits())[:, order])
    assert torch.equal(lead(logits()[:, order]), lead(logits()))
    assert NONE(torch.tensor([[200.0, 0.0, 0.0]])).isfinite().all()


def test_a_recogniser_has_none_if_and_only_if_its_task_has_it():
    with_none = TASK.model_copy(update={"none": True})
    assert isinstance(ClipRecogniserConfig(pairs(8), none=(1.0, 0.0)).build(with_none).none, NoneOfThese)
    for task, none in ((TASK, (1.0, 0.0)), (with_none, None)):
        with pytest.raises(ValueError, match="expected a slope and an offset of none, for a task with none alone"):
            ClipRecogniserConfig(pairs(8), none=none).build(task)
