"""Tests of EqMotion: the authors' parameter counts, the answers of untrained networks, and the effect of noise."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from laws import TASK, as_function, hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.eqmotion import DECIMETRES, REFERENCE, STANDARD, EqMotion, EqMotionConfig, dct_matrix
from models.forecast.linear import LinearForecast, hold
from models.layers.freezing import frozen
from training.engine.export import refuse_mismatch, runner, sizes, to_torchscript

from .eqmotion_reference import copied, forecast

SMALL = EqMotionConfig(channels=4, hidden=6, layers=2)
DEAD = 2080  # unused parameters of the authors' layer, which this implementation omits


def parameters(config: EqMotionConfig, past: int = 60, future: int = 60, modes: int = 1) -> int:
    network = config.build(HandForecast(past=past, future=future, fps=60, modes=modes))
    return sum(p.numel() for p in network.parameters())


# --- the authors' structure ---

SLIDES = replace(REFERENCE, place_features=True)  # 31 * D parameters more, as in the published tables

# Options of REFERENCE and numbers of nodes. Residual features and the DCT are on unless an option says otherwise.
STRUCTURES: dict[str, tuple[dict[str, Any], int]] = {
    "as published, two hands": ({"channels": 32, "hidden": 32}, 42),
    "no dct": ({"dct": False}, 21),
    "more vectors than invariants": ({"channels": 9, "hidden": 4}, 21),
    "more invariants than vectors": ({"channels": 3, "hidden": 10, "dct": False}, 21),
    "no residual features": ({"residual_features": False}, 21),
    "tokens": ({"tokens": "node"}, 21),
    "three layers, sharp": ({"layers": 3, "temperature": 0.3}, 21),
    "two categories without experts": ({"categories": 2}, 21),
    "an expert for each category": ({"categories": 3, "experts": 3, "dct": False}, 21),
}


@pytest.mark.parametrize(("options", "nodes"), STRUCTURES.values(), ids=STRUCTURES)
def test_the_reference_gives_the_answers_of_a_slow_independent_network_with_its_weights(options, nodes: int):
    config, task = replace(replace(REFERENCE, channels=6, hidden=6), **options), HandForecast(past=10, future=8, fps=30)
    torch.manual_seed(0)
    network, past = perturbed(config.build(task)), hand_motion(task.past, nodes, batch=1)
    state = {name: x.numpy() for name, x in network.state_dict().items()}
    weights = copied(state, experts=config.expert_count, layers=config.layers)
    expected = forecast(
        weights, past[0], dct=config.dct, residual=config.residual_features, temperature=config.temperature
    )
    assert np.linalg.norm(expected - past[0, -1:], axis=-1).mean() > 0.01  # it moves
    single = as_function(network)({"past": past.astype(np.float32)})["future"][0, 0]
    double = as_function(network.double())({"past": past})["future"][0, 0]
    assert np.abs(double - expected).max() <= 1e-6
    assert (
        np.abs(single - expected).max() <= 3e-6
    )  # rounding of angles in float32: 1.5e-6 for two hands that move 0.2 m


@pytest.mark.parametrize("wrong", [{"activated_features": True}, {"centred_nonlinearity": False}])
def test_a_structure_of_standard_differs_from_the_reference_by_more_than_a_millimetre(wrong: dict[str, bool]):
    past, answers = {"past": hand_motion(TASK.past, 42).astype(np.float32)}, []
    for config in (REFERENCE, replace(REFERENCE, **wrong)):
        torch.manual_seed(0)
        answers.append(as_function(perturbed(config.build(TASK)))(past)["future"])
    assert np.linalg.norm(answers[1] - answers[0], axis=-1).max() > 1e-3


# --- counts ---


@pytest.mark.parametrize(("past", "future", "published"), [(10, 10, 65_956), (25, 25, 67_876), (60, 60, 72_356)])
def test_the_reference_has_the_authors_parameter_count_without_unused_ones(past, future, published):
    assert parameters(REFERENCE, past, future) == published - 2 * DEAD


@pytest.mark.parametrize(
    ("config", "count", "with_tokens"), [(REFERENCE, 68_196, 72_676), (SLIDES, 69_188, 73_668)], ids=["code", "slides"]
)
def test_the_parameter_counts_from_a_second_to_a_second_are_the_authors(config, count: int, with_tokens: int):
    assert parameters(config) == count
    assert parameters(replace(config, tokens="node")) == with_tokens


@pytest.mark.parametrize(
    ("layers", "count"), list(enumerate((69_188, 91_044, 112_900, 134_756, 156_612, 178_468), start=2))
)
def test_the_parameter_counts_by_layers_are_the_published_ones(layers: int, count: int):
    assert parameters(replace(SLIDES, layers=layers)) == count


@pytest.mark.parametrize(("categories", "count"), list(enumerate((52_482, 60_835, 69_188, 77_541, 85_894), start=2)))
def test_the_parameter_counts_by_categories_follow_with_an_expert_less_two(categories: int, count: int):
    assert parameters(replace(SLIDES, categories=categories)) == count


@pytest.mark.parametrize("channels", [8, 16, 32, 64])
@pytest.mark.parametrize("hidden", [8, 16, 32, 64])
def test_the_parameter_count_follows_the_formula_at_all_published_sizes(hidden: int, channels: int):
    d, c = hidden, channels

    def perceptron(features: int, width: int, out: int) -> int:
        return features * width + width + width * out + out

    category = perceptron(2 * c, d, 2 * c) + perceptron(2 * d + 2 * c, d, d) + perceptron(2 * d, d, d)
    category += perceptron(2 * d + 2 * c, d, 4)
    layer = perceptron(2 * d + c, d, d) + 2 * perceptron(2 * d + c, d, c) + perceptron(c, c, c)
    layer += perceptron(2 * d, d, d) + 2 * c * c + (d * c + c) + c * c
    assert parameters(replace(SLIDES, hidden=d, channels=c)) == 92 * d + 180 * c + category + 2 * layer


# The printed cells that are known here, in thousands; the formula above is the count of the other cells.
@pytest.mark.parametrize(("hidden", "channels", "printed"), [(16, 64, 83), (64, 16, 148), (32, 32, 69)])
def test_the_parameter_counts_by_sizes_are_the_published_ones(hidden: int, channels: int, printed: int):
    assert round(parameters(replace(SLIDES, hidden=hidden, channels=channels)) / 1000) == printed


@pytest.mark.parametrize(
    ("hidden", "channels", "printed", "count"), [(32, 16, 66_000, 48_196), (64, 32, 178_000, 179_332)]
)
def test_two_published_counts_fit_no_network_of_their_size(hidden: int, channels: int, printed: int, count: int):
    assert parameters(replace(SLIDES, hidden=hidden, channels=channels)) == count
    assert abs(count - printed) > 1_000


@pytest.mark.parametrize(("categories", "experts"), [(2, 3), (4, -1)])
def test_an_impossible_number_of_experts_is_refused(categories: int, experts: int):
    with pytest.raises(
        ValueError, match=f"expected 0 to {categories} experts for {categories} categories, got {experts}"
    ):
        EqMotionConfig(categories=categories, experts=experts)


@pytest.mark.parametrize(("categories", "experts"), [(1, 0), (2, 0), (3, 1), (4, 2), (6, 4)])
def test_all_categories_but_two_have_an_expert(categories: int, experts: int):
    assert EqMotionConfig(categories=categories).expert_count == experts


def test_each_mode_adds_only_the_parameters_of_its_read_out():
    assert parameters(STANDARD, modes=3) - parameters(STANDARD) == 2 * 60 * STANDARD.channels


def test_one_set_of_weights_forecasts_one_hand_and_two():
    network = perturbed(STANDARD.build(TASK))
    for nodes in (21, 42):
        past = hand_motion(TASK.past, nodes).astype(np.float32)
        assert as_function(network)({"past": past})["future"].shape == (2, 1, TASK.future, nodes, 3)


def test_the_forecast_of_a_hand_depends_on_the_other_hand():
    network, past = perturbed(STANDARD.build(TASK)), hand_motion(TASK.past, 42).astype(np.float32)
    alone, paired = (as_function(network)({"past": x})["future"] for x in (past[:, :, :21], past))
    assert np.abs(paired[..., :21, :] - alone).max() > 1e-3


# --- untrained ---


@pytest.mark.parametrize("config", [STANDARD, replace(STANDARD, dct=True), replace(STANDARD, tokens="none")])
def test_an_untrained_network_repeats_the_last_pose_and_varies_it_in_further_modes(config: EqMotionConfig):
    task = HandForecast(past=12, future=7, fps=30, modes=3)
    past = {"past": hand_motion(12, 42).astype(np.float32)}
    repeated = as_function(LinearForecast(task, hold(task)))(past)["future"]
    torch.manual_seed(0)
    apart = np.abs(as_function(config.build(task))(past)["future"] - repeated).max(axis=(0, 2, 3, 4))
    assert apart[0] <= 1e-6
    assert (apart[1:] > 1e-3).all()


def test_an_untrained_reference_is_centimetres_away_from_the_last_pose():
    past = {"past": hand_motion(TASK.past, 42).astype(np.float32)}
    repeated = as_function(LinearForecast(TASK, hold(TASK)))(past)["future"]
    assert np.abs(as_function(REFERENCE.build(TASK))(past)["future"] - repeated).mean() > 0.02


# --- noise ---


def amplification(network: torch.nn.Module, jitter_m: float) -> float:
    """Return the mean change of the output relative to the noise that is added to hands at rest."""
    still = np.repeat(hand_motion(1, 42), TASK.past, axis=1)
    noise = np.random.default_rng(0).normal(scale=jitter_m, size=still.shape)
    before, after = (as_function(network)({"past": x.astype(np.float32)})["future"] for x in (still, still + noise))
    return float(np.linalg.norm(after - before, axis=-1).mean() / np.linalg.norm(noise, axis=-1).mean())


def test_only_the_reference_amplifies_noise_of_a_tenth_of_a_millimetre():
    torch.manual_seed(0)
    assert amplification(perturbed(STANDARD.build(TASK)), 1e-4) < 5
    assert amplification(REFERENCE.build(TASK), 1e-4) > 20


def turns(config: EqMotionConfig, past: np.ndarray) -> np.ndarray:
    """Return the turn feature (past, nodes) of one clip."""
    x = torch.tensor(past, dtype=torch.float32).permute(0, 3, 1, 2) * DECIMETRES
    v = x[:, :, 1:] - x[:, :, :-1]
    network: EqMotion = config.build(HandForecast(past=v.shape[2], future=1, fps=30))
    return network._turn(v, v.square().sum(1).clamp_min(1e-12).sqrt())[0].numpy()


def test_a_joint_at_rest_has_no_turn_but_a_random_angle_in_the_reference():
    past = hand_motion(12, 21, batch=1)
    past[:, :, 4] = past[:, :1, 4] + np.random.default_rng(0).normal(scale=5e-5, size=(1, 12, 3))
    assert np.abs(turns(STANDARD, past)[:, 4]).max() < 0.05
    assert turns(REFERENCE, past)[:, 4].std() > 0.3


def test_straight_motion_has_the_largest_turn_feature_and_a_zero_angle_in_the_reference():
    straight = np.linspace(0, 0.3, 12)[None, :, None, None] * np.array([1.0, 0.0, 0.0]) + hand_motion(1, 21, batch=1)
    np.testing.assert_allclose(turns(STANDARD, straight), 1 / 1.1, atol=1e-4)
    np.testing.assert_allclose(turns(REFERENCE, straight), 0, atol=0.02)


# --- parts ---


def test_every_option_changes_the_answer():
    past = {"past": hand_motion(TASK.past, 42).astype(np.float32)}
    options = ({}, {"temperature": 0.2}, {"dct": True}, {"residual_output": False}, {"residual_features": False})
    options = (*options, {"relative_epsilons": False}, {"place_features": True}, {"centred_nonlinearity": True})
    options = (*options, {"activated_features": False}, {"experts": 0}, {"experts": 4})
    answers = []
    for option in options:
        torch.manual_seed(0)
        answers.append(as_function(perturbed(replace(SMALL, **option).build(TASK), by=0.2))(past)["future"])
    for option, other in zip(options[1:], answers[1:], strict=True):
        assert np.abs(other - answers[0]).max() > 1e-5, option


def test_the_categories_of_every_pair_sum_to_one():
    torch.manual_seed(0)
    network = STANDARD.build(TASK)
    perturbed(network)
    h, gv = torch.randn(2, 42, 32), torch.randn(2, 3, 64, 42)
    with torch.no_grad():
        c = network.reasoning(h, gv)
    assert c.shape == (2, 4, 42, 42)
    assert (c > 0).all()
    torch.testing.assert_close(c.sum(1), torch.ones(2, 42, 42))


def test_every_parameter_has_a_gradient():
    for config in (STANDARD, REFERENCE, EqMotionConfig(experts=4), EqMotionConfig(tokens="node", dct=True), SLIDES):
        network = perturbed(config.build(TASK))
        network(torch.tensor(hand_motion(TASK.past, 42), dtype=torch.float32)).square().sum().backward()
        unused = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        # Nothing reads the last layer's update of h and its messages, as in the authors' code.
        assert all(name.startswith("layers.1.") for name in unused), unused


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch has deprecated TorchScript
@pytest.mark.parametrize("config", [SMALL, replace(SLIDES, channels=6, hidden=4)])
def test_one_torchscript_trace_serves_every_batch_and_one_hand_or_two(config: EqMotionConfig):
    network = frozen(perturbed(config.build(TASK)))
    example = {"past": hand_motion(TASK.past, 42, batch=1).astype(np.float32)}
    trace = torch.jit.load(io.BytesIO(to_torchscript(network, example)))
    tried = list(sizes(TASK, example))
    assert {x["past"].shape[:3:2] for x in tried} == {(1, 21), (3, 21), (1, 42), (3, 42)}
    for inputs in tried:
        refuse_mismatch("the TorchScript", runner(network, TASK), runner(trace, TASK), inputs)


@pytest.mark.parametrize("n", [1, 2, 10, 60])
def test_the_dct_is_orthonormal_and_its_first_row_is_the_mean(n: int):
    matrix = dct_matrix(n).double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(matrix[0], torch.full((n,), n**-0.5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_dct_matches_scipy():
    expected = np.asarray(scipy.fft.dct(np.eye(12), axis=0, norm="ortho"))
    np.testing.assert_allclose(dct_matrix(12).numpy(), expected, atol=1e-6)
