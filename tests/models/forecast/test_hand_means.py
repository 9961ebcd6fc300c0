"""Tests of the hand forecaster by means: its untrained answers, its filling of what was not seen, and the scale of its answers."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from laws import TASK, as_function, hand_inputs, hand_motion, perturbed

from models.contract.symmetry import largest_difference
from models.contract.task import HandForecast
from models.forecast.hand_means import DECAY, STANDARD, STILL_M, HandMeans
from models.forecast.linear import LinearForecast, damped_velocity
from models.layers.filling import Filling
from training.engine.export import onnx_runner, refuse_mismatch, runner, sizes, to_onnx, to_torchscript

FULL = HandForecast(past=10, future=6, fps=30, modes=3, masked=True, spread=True)
SMALL = replace(STANDARD, channels=8, hidden=12, layers=2, products=4)


def network_of(task: HandForecast = FULL) -> HandMeans:
    torch.manual_seed(0)
    network = perturbed(SMALL.build(task)).double()
    assert isinstance(network, HandMeans)
    return network


def answer(network: torch.nn.Module, past: np.ndarray, seen: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return as_function(network)({"past": past, "seen": np.ones(past.shape[:3]) if seen is None else seen})


# --- untrained ---


def test_an_untrained_network_damps_the_last_velocity():
    past = hand_motion(TASK.past, 42)
    damped = as_function(LinearForecast(TASK, damped_velocity(TASK, DECAY)).double())({"past": past})["future"]
    for base in ("fixed", "gains"):
        network = replace(SMALL, base=base).build(TASK).double()
        np.testing.assert_allclose(as_function(network)({"past": past})["future"], damped, atol=1e-7)


def test_an_untrained_network_has_other_modes_near_the_first_and_a_deviation_that_grows_with_time():
    torch.manual_seed(0)
    found = answer(SMALL.build(FULL).double(), hand_motion(FULL.past, 42))
    apart = np.abs(found["future"][:, 1:] - found["future"][:, :1]).max(axis=(0, 2, 3, 4))
    assert ((apart > 1e-4) & (apart < 0.1)).all()
    assert (np.diff(found["std"], axis=1) > 0).all()
    np.testing.assert_allclose(found["weights"].sum(axis=1), 1, atol=1e-6)


# --- what was not seen ---


def test_values_that_were_not_seen_have_no_effect():
    inputs = hand_inputs(FULL, 42)
    other = inputs["past"] + (1 - inputs["seen"])[..., None] * np.random.default_rng(1).normal(
        size=inputs["past"].shape
    )
    before, after = (answer(network_of(), past, inputs["seen"]) for past in (inputs["past"], other))
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-12)


@pytest.mark.parametrize("kept", [slice(0, 21), slice(21, 42)])
def test_a_hand_that_was_never_seen_leaves_the_other_one_as_if_it_were_alone(kept: slice):
    past = hand_motion(FULL.past, 42)
    seen = np.zeros(past.shape[:3])
    seen[:, :, kept] = 1
    lost, alone = answer(network_of(), past, seen), answer(network_of(), past[:, :, kept])
    np.testing.assert_allclose(lost["future"][..., kept, :], alone["future"], atol=1e-9)
    np.testing.assert_allclose(lost["std"][..., kept], alone["std"], atol=1e-9)
    assert np.isfinite(lost["future"]).all()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_past_of_few_frames_has_a_finite_forecast(frames: int):
    past, seen = hand_motion(FULL.past, 21), np.zeros((2, FULL.past, 21))
    seen[:, FULL.past - frames :] = 1
    assert all(np.isfinite(x).all() for x in answer(network_of(), past, seen).values())


def test_evenly_moving_joints_are_filled_exactly_between_seen_frames_and_rest_after_the_last():
    frames = 12
    start, step = torch.randn(2, 5, 3, 1, dtype=torch.float64)
    even = start + step * torch.arange(frames)
    seen = torch.ones(5, frames, dtype=torch.float64)
    seen[0, 3:7], seen[1, 1:11], seen[2, 5], seen[3, 9:], seen[4, :4] = 0, 0, 0, 0, 0
    filled, within = Filling(frames).double()(even * seen.unsqueeze(1), seen)
    torch.testing.assert_close(filled[:3], even[:3], atol=1e-6, rtol=0)
    torch.testing.assert_close(filled[3, :, :9], even[3, :, :9], atol=1e-6, rtol=0)
    assert filled[3, :, 9:].std(dim=-1).max() < 1e-6
    assert (filled[3, :, 9] - even[3, :, 8]).norm() < 0.2 * step[3].norm()
    assert within[3].tolist() == [1] * 9 + [0] * 3
    assert within[4].tolist() == [0] * 4 + [1] * 8


def test_joints_that_were_never_seen_are_filled_with_zeros_and_marked():
    x, seen = torch.zeros(1, 3, 8), torch.zeros(1, 8)
    filled, within = Filling(8)(x, seen)
    assert not filled.any()
    assert not within.any()


@pytest.mark.parametrize("frames", [2, 30, 100])
def test_filling_is_finite_in_single_precision_over_any_gap_and_distance(frames: int):
    x, seen = torch.zeros(1, 3, frames), torch.zeros(1, frames)
    x[..., 0], seen[:, 0] = 1e4, 1
    filled, _ = Filling(frames)(x, seen)
    torch.testing.assert_close(filled, torch.full_like(x, 1e4))


# --- the scale of motion ---


def test_answers_scale_with_the_motion():
    network, past = network_of(TASK), hand_motion(TASK.past, 42)
    network.config = replace(network.config, speed=False)
    network.embed = torch.nn.Linear(network.embed.in_features - 1, SMALL.hidden, bias=False).double()
    pose = past[:, -1:]

    def moved(factor: float) -> np.ndarray:
        return as_function(network)({"past": pose + factor * (past - pose)})["future"] - pose[:, None]

    assert np.abs(moved(1.0)).mean() > 30 * STILL_M
    np.testing.assert_allclose(moved(2.0), 2 * moved(1.0), atol=1e-4)


def test_hands_at_rest_stay_where_they_are():
    still = np.repeat(hand_motion(1, 42), TASK.past, axis=1)
    moved = as_function(network_of(TASK))({"past": still})["future"] - still[:, None, -1:]
    assert np.abs(moved).max() < 20 * STILL_M


# --- the network as a whole ---


def test_the_forecast_of_a_hand_depends_on_the_other_hand():
    past = hand_motion(TASK.past, 42)
    alone, paired = (as_function(network_of(TASK))({"past": x})["future"] for x in (past[:, :, :21], past))
    assert np.abs(paired[..., :21, :] - alone).max() > 1e-4


def test_the_standard_network_has_70_to_80_thousand_parameters():
    task = HandForecast(past=30, future=30, fps=30, modes=5, masked=True, spread=True)
    assert 70_000 < sum(p.numel() for p in STANDARD.build(task).parameters()) < 80_000


@pytest.mark.parametrize("change", [{"base": "fixed"}, {"scaled": False}, {"speed": False}, {"steps": False}])
def test_every_option_changes_the_answer(change: dict[str, object]):
    past = {"past": hand_motion(TASK.past, 42).astype(np.float32)}
    answers = []
    for config in (SMALL, replace(SMALL, **change)):
        torch.manual_seed(0)
        answers.append(as_function(perturbed(config.build(TASK), by=0.2))(past)["future"])
    assert np.abs(answers[1] - answers[0]).max() > 1e-5


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_trace_of_a_masked_network_answers_as_it_does_for_one_hand_and_two_alone_and_in_a_batch():
    network = network_of().float()
    example = {name: x.astype(np.float32) for name, x in hand_inputs(FULL, 42, batch=1).items()}
    trace = runner(torch.jit.load(io.BytesIO(to_torchscript(network, example))), FULL)
    for inputs in sizes(FULL, example):
        refuse_mismatch("the trace", as_function(network), trace, inputs)


def test_a_graph_answers_as_its_network_for_slow_hands_too():
    network = network_of().float()
    inputs = {name: x.astype(np.float32) for name, x in hand_inputs(FULL, 42, batch=1).items()}
    last = inputs["past"][:, -1:]
    inputs["past"] = np.asarray(last + np.float32(0.01) * (inputs["past"] - last), dtype=np.float32)
    steps = np.linalg.norm(np.diff(inputs["past"], axis=1), axis=-1)
    assert 0.5 * STILL_M < steps.mean() < 5 * STILL_M
    found, expected = onnx_runner(to_onnx(network, inputs))(inputs), as_function(network)(inputs)
    moved = np.abs(expected["future"] - inputs["past"][:, None, -1:]).mean()
    assert largest_difference(found, expected) < 1e-2 * moved


def test_every_parameter_has_a_gradient():
    network = network_of().float()
    inputs = [torch.from_numpy(x.astype(np.float32)) for x in hand_inputs(FULL, 42).values()]
    future, std, weights = network(*inputs)
    (future.square().sum() + std.sum() + weights[:, 0].sum()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
