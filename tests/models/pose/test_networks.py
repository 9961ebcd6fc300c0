"""Tests of body networks and their graphs: they commute with the chirality transform and have the papers' parameter counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from laws import ACTION, BODY_LAWS, CHIRAL, FLAT, LIFT, SIDED, Law, perturbed
from torch import nn

from models.contract.symmetry import violation
from models.contract.task import ActionRecognition, PoseForecast, PoseLift, Task, check_inputs, check_outputs, moves
from models.layers.chiral import ChiralBatchNorm
from models.layers.chiral_spec import Spec
from models.layers.freezing import frozen
from models.pose import forecaster, lifter
from models.pose.clip_recogniser import ClipRecogniserConfig
from models.pose.ends import AveragedOverFlip, pairs
from models.pose.forecaster import ForecasterConfig
from models.pose.lifter import LifterConfig, UnsuitableWindow
from models.pose.recogniser import RecogniserConfig
from models.pose.velocity_forecaster import DECAY, VelocityForecasterConfig
from training.engine.export import onnx_runner, runner, to_onnx

pytestmark = pytest.mark.long(60)

SINGLE, DOUBLE, VISIBLE = 1e-6, 1e-12, 1e-2  # relative to the size of the answer
ROUNDED = 3e-6  # rounding by another order of sums, through up to twenty layers
every_law = pytest.mark.parametrize("law", BODY_LAWS.values(), ids=BODY_LAWS)
GRAPHS = (
    "clip recogniser, two persons in 3D, classes that name a side",
    "velocity forecaster, free channels, with confidence",
    "lifter, free channels, coco-17 with confidence to h36m-17",
    "lifter, averaged",
    "forecaster, two frames to two with confidence",
    "recogniser, five blocks, classes that name a side",
)


def network_of(law: Law) -> nn.Module:
    """Build the law's network with perturbed weights and with normalisation statistics of random motion."""
    torch.manual_seed(0)
    network = perturbed(law.build())
    norms = [module for module in network.modules() if isinstance(module, ChiralBatchNorm)]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        network(torch.from_numpy(motion(task_of(network), 16, seed=9)))
    return network.eval()


def task_of(network: nn.Module) -> Task:
    return network.task  # pyright: ignore[reportReturnType] - an attribute of a Module


def motion(task: Task, batch: int, frames: int = 14, seed: int = 0) -> np.ndarray:
    """Return random noise of the task's input shape, float32."""
    (spec,) = task.inputs.values()
    sizes = {"batch": batch, "frames": frames}
    shape = [sizes[axis] if isinstance(axis, str) else axis for axis in spec.shape]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_inputs(network: nn.Module, batch: int = 2, **how: int) -> dict[str, np.ndarray]:
    return {next(iter(task_of(network).inputs)): motion(task_of(network), batch, **how)}


def size_of(answers: dict[str, np.ndarray]) -> float:
    return max(1.0, *(float(np.abs(x).max()) for x in answers.values()))


@every_law
def test_a_network_keeps_exactly_the_symmetries_in_the_table(law: Law):
    network = network_of(law)
    task, x = task_of(network), random_inputs(network)
    assert network.symmetries == law.keeps
    run = runner(network, task)
    check_inputs(task, x, "a test")
    check_outputs(task, run(x), "a network")
    single = violation(run, "chirality", x, moves=moves(task)) / size_of(run(x))
    double = {name: value.astype(np.float64) for name, value in x.items()}
    exact = violation(runner(network.double(), task), "chirality", double, moves=moves(task))
    if "chirality" in law.keeps:
        assert single <= SINGLE
        assert exact <= DOUBLE
    else:
        assert min(single, exact) > VISIBLE


@every_law
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(law: Law):
    network = network_of(law)
    run, x = runner(network, task_of(network)), random_inputs(network, 3)
    (name,), (out,) = x, task_of(network).outputs
    x[name][1] *= 3
    together = run(x)[out]
    for i in range(3):
        alone = run({name: x[name][i : i + 1]})[out]
        assert np.abs(together[i : i + 1] - alone).max() <= SINGLE * size_of({out: alone})


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_gives_the_answers_of_its_network_and_keeps_its_symmetry(name: str):
    network = network_of(BODY_LAWS[name])
    task, run = task_of(network), runner(network, task_of(network))
    graph = onnx_runner(to_onnx(frozen(network), random_inputs(network, 1)))
    for batch, frames in ((1, 14), (3, 11)):
        x = random_inputs(network, batch, frames=frames, seed=batch)
        answers = run(x)
        for out, expected in answers.items():
            assert np.abs(graph(x)[out] - expected).max() <= ROUNDED * size_of(answers)
        assert violation(graph, "chirality", x, moves=moves(task)) <= SINGLE * size_of(answers)


# --- parameter counts ---


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


FULL = replace(lifter.PAPER, paper_exact=False)
PENN = PoseForecast(order="penn-13", past=1, future=16)
STATES = forecaster.PAPER


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LifterConfig(Spec(cp=1024), chiral=False), 16_952_371),
        (replace(lifter.PAPER, chiral=False), 16_820_871),
        (lifter.PAPER, 8_103_688),
        (FULL, 8_492_488),
    ],
)
def test_a_lifter_of_243_frames_has_the_papers_parameter_count(config: LifterConfig, parameters: int):
    assert weights(config.build(PoseLift(receptive=243))) == parameters


@pytest.mark.parametrize(
    ("config", "stack", "head"),
    [
        (replace(STATES, chiral=False), 13_104_000, 27_066),
        (STATES, 6_349_200, 13_293),
        (replace(STATES, paper_exact=False), 6_552_480, 13_533),
    ],
)
def test_a_forecaster_has_the_papers_parameter_count(config: ForecasterConfig, stack: int, head: int):
    network = config.build(PENN)
    assert (weights(network.encoder), weights(network.decoder), weights(network.head)) == (stack, stack, head)


def test_a_layer_on_pairs_alone_has_half_the_parameters_of_a_dense_layer():
    chiral, plain = (
        RecogniserConfig(pairs(64), chiral=c).build(SIDED).get_submodule("blocks.1.time") for c in (True, False)
    )
    assert 2 * weights(chiral) == weights(plain)


# --- lifting ---


@pytest.mark.parametrize("receptive", [1, 27, 81, 243])
def test_a_pose_depends_on_exactly_its_receptive_field(receptive: int):
    task = PoseLift(receptive=receptive)
    network = LifterConfig(pairs(8), dropout=0).build(task).double().eval()
    x = torch.randn(1, receptive + 2, 17, 2, dtype=torch.float64, requires_grad=True)
    poses = network(x)
    assert poses.shape == (1, 3, 17, 3)
    poses[0, 1].sum().backward()
    assert x.grad is not None
    influences = x.grad[0].abs().sum((1, 2)) > 0
    assert influences.tolist() == [False, *[True] * receptive, False]


def test_strided_windows_give_the_same_poses_as_a_dilated_clip():
    network = LifterConfig(pairs(16), dropout=0).build(PoseLift(receptive=27)).train()
    x = torch.randn(5, 29, 17, 2)
    network(x[:, :27])
    for module in network.modules():
        if isinstance(module, ChiralBatchNorm):
            module.eval()
    dense = network(x)  # longer than a window, so computed with dilation
    strided = torch.cat([network(x[:, start : start + 27]) for start in range(3)], 1)
    torch.testing.assert_close(strided, dense, atol=1e-6, rtol=0)


def test_poses_are_exactly_relative_to_the_pelvis():
    network = network_of(BODY_LAWS["lifter"])
    assert not runner(network, LIFT)(random_inputs(network))["poses"][:, :, 0].any()


def test_a_receptive_field_that_is_not_a_power_of_three_is_refused():
    with pytest.raises(UnsuitableWindow, match="a power of 3 frames, got 45"):
        LifterConfig(pairs(8)).build(PoseLift(receptive=45))
    with pytest.raises(ValueError, match="an odd number of frames, with one in its middle, got 26"):
        PoseLift(receptive=26)


# --- forecasting ---


def test_a_forecaster_continues_from_true_poses_only_where_they_are_visible():
    network = ForecasterConfig(pairs(16)).build(FLAT).eval()
    past, true = torch.randn(2, 3, 13, 2), torch.randn(2, 4, 13, 2)
    visible, hidden = (torch.cat([true, torch.full((2, 4, 13, 1), value)], -1) for value in (1.0, 0.0))
    own, forced, unforced = network(past), network(past, visible), network(past, hidden)
    torch.testing.assert_close(unforced, own)
    torch.testing.assert_close(forced[:, 0], own[:, 0])  # the first true pose is an input of the second step
    assert (forced[:, 1:] - true[:, :-1]).abs().mean() < (own[:, 1:] - true[:, :-1]).abs().mean() / 3


def test_an_untrained_forecaster_nearly_repeats_a_pose_at_rest():
    network = ForecasterConfig(pairs(16)).build(FLAT).eval()
    past = torch.randn(4, 1, 13, 2).expand(-1, 3, -1, -1)
    assert (network(past) - past[:, -1:]).abs().mean() < 0.1


def test_an_untrained_velocity_forecaster_is_a_damped_velocity():
    network = VelocityForecasterConfig(pairs(16)).build(FLAT).eval()
    past = torch.randn(4, 3, 13, 2)
    moved, step = network(past) - past[:, -1:], past[:, -1] - past[:, -2]
    gains = DECAY ** torch.arange(1, FLAT.future + 1)
    torch.testing.assert_close(moved, step[:, None] * gains.cumsum(0)[:, None, None], atol=1e-6, rtol=1e-5)


def test_a_velocity_forecaster_interpolates_what_was_not_seen():
    task = PoseForecast(order="h36m-17", past=5, future=3, confidence=True)
    network = perturbed(VelocityForecasterConfig(pairs(16)).build(task))
    past = torch.ones(1, 5, 17, 3)
    past[..., :2] = torch.randn(1, 1, 17, 2) + torch.arange(5)[:, None, None] * torch.randn(1, 1, 17, 2)
    gap = past.clone()
    gap[:, 2, 4] = 0
    with torch.no_grad():
        torch.testing.assert_close(network(gap), network(past), atol=1e-5, rtol=1e-5)
        gap[:, :, 4] = 0  # a joint that was never seen has an answer, which nobody is shown
        assert torch.isfinite(network(gap)).all()
        assert (network(gap) - network(past)).abs().max() > 1e-3


# --- recognition ---


def test_the_mirror_exchanges_the_logits_of_sided_classes_only():
    network = network_of(BODY_LAWS["recogniser, classes that name a side"])
    run, x = runner(network, SIDED), random_inputs(network)
    mirrored = moves(SIDED)["clips"].of(x["clips"])  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue] - a mirror of joints
    straight, image = run(x)["logits"], run({"clips": mirrored})["logits"]
    np.testing.assert_allclose(image, straight[:, [0, 1, 3, 2]], atol=1e-6 * np.abs(straight).max())
    assert np.abs(straight[:, 2] - straight[:, 3]).min() > 1e-3


def test_only_a_recogniser_without_sided_classes_drops_odd_features():
    network = network_of(BODY_LAWS["recogniser"])
    inside = [block.space.spec for block in network.blocks]  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    assert [bool(spec.odd) for spec in inside] == [True] * 4 + [False] * 6
    sided = network_of(BODY_LAWS["recogniser, classes that name a side"])
    assert all(block.space.spec.odd for block in sided.blocks)  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]


def test_logits_do_not_depend_on_the_order_of_persons():
    network = network_of(BODY_LAWS["recogniser, two persons in 3D"])
    run, x = runner(network, task_of(network)), random_inputs(network)
    swapped = run({"clips": x["clips"][:, ::-1]})["logits"]
    np.testing.assert_allclose(swapped, run(x)["logits"], atol=1e-6)


def test_a_clip_recogniser_does_not_depend_on_the_size_and_the_place_of_a_person():
    task = ActionRecognition(order="h36m-17", classes=("sit", "stand"), dims=3, frames=8)
    network = perturbed(ClipRecogniserConfig(pairs(16)).build(task))
    clip = torch.ones(1, 1, 8, 17, 4)
    clip[..., :3] = torch.randn(1, 1, 8, 17, 3)
    other = clip.clone()
    other[..., :3] = 1.3 * clip[..., :3] + torch.tensor([0.5, -1.0, 4.0])
    with torch.no_grad():
        torch.testing.assert_close(network(other), network(clip), atol=1e-3, rtol=1e-3)
        other[:, :, 4:] = clip[:, :, 4:]  # somebody who shrinks and jumps
        assert (network(other) - network(clip)).abs().max() > 1e-2


# --- flip averaging ---


def test_flip_averaging_does_not_change_a_chiral_network():
    for name in ("lifter", "forecaster", "recogniser, classes that name a side"):
        network = network_of(BODY_LAWS[name])
        x = torch.from_numpy(motion(task_of(network), 2))
        with torch.no_grad():
            torch.testing.assert_close(AveragedOverFlip(network)(x), network(x), atol=1e-5, rtol=1e-5)


def test_flip_averaging_is_the_mean_over_both_mirror_images():
    plain = network_of(BODY_LAWS["recogniser, plain"])
    averaged, mirror = AveragedOverFlip(plain), moves(SIDED)
    x = motion(SIDED, 2)
    with torch.no_grad():
        straight = plain(torch.from_numpy(x)).numpy()
        image = plain(torch.from_numpy(mirror["clips"].of(x))).numpy()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue] - a mirror of joints
        actual = averaged(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(actual, (straight + image[:, [0, 1, 3, 2]]) / 2, rtol=1e-4, atol=1e-4)


def test_the_tasks_of_the_table_have_the_properties_that_these_tests_assume():
    assert CHIRAL == ("chirality",)
    assert ACTION.class_mirror == (0, 1, 2, 3)
    assert FLAT.past > 1
