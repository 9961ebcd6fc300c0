"""Tests of landmark networks: symmetries, negative controls, the literal form, and ONNX graphs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clouds import SMALL, TWO_LEVELS, bumpy_cloud, inputs_of
from laws import DOUBLE_M, FACE_LAWS, FACES, NARROW, SINGLE_M, Law, perturbed, with_random_prior
from torch import Tensor, nn

from models.contract.symmetry import Tensors, random_rotation, violation
from models.contract.task import FaceLandmarks, check_inputs, check_outputs, moves
from models.landmarks.pointnet2 import PointNet2Config
from models.landmarks.se3_unet import SE3UNet, SE3UNetConfig
from models.layers.freezing import frozen
from models.scans.levels import levels
from training.engine.export import onnx_runner, to_onnx
from training.tasks.faces.losses import LandmarkLoss

pytestmark = pytest.mark.long(40)

every_law = pytest.mark.parametrize("law", FACE_LAWS.values(), ids=FACE_LAWS)
every_se3_unet = pytest.mark.parametrize("name", [name for name in FACES if name.startswith("se3-unet")])
PLAIN = FACES["pointnet++"]
MOVES = moves(SMALL)
VISIBLE = 1e-3  # a heatmap value, or metres


def network_of(config: SE3UNetConfig | PointNet2Config, task: FaceLandmarks = SMALL) -> nn.Module:
    torch.manual_seed(0)
    return with_random_prior(perturbed(config.build(task), by=0.1))


def as_function(network: nn.Module):
    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad():
            answer = network(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in SMALL.inputs))
        return dict(zip(SMALL.outputs, (x.numpy() for x in answer), strict=True))

    return run


def two_clouds() -> dict[str, np.ndarray]:
    return inputs_of(SMALL, bumpy_cloud(200), bumpy_cloud(150, seed=1))


def differences(one: Tensors, other: Tensors) -> dict[str, float]:
    return {name: float(np.abs(one[name] - other[name]).max()) for name in one}


# --- claimed symmetries ---


@every_law
def test_a_network_claims_and_keeps_the_symmetries_in_the_table(law: Law):
    torch.manual_seed(0)
    network = perturbed(law.build(), by=0.1)
    assert network.symmetries == law.keeps
    for symmetry in law.keeps:
        single = violation(as_function(network.float()), symmetry, two_clouds(), moves=MOVES, trials=3)
        double = violation(as_function(network.double()), symmetry, two_clouds(), moves=MOVES, trials=3)
        assert single <= law.single_m
        assert double <= DOUBLE_M


@every_se3_unet
def test_answers_have_the_shapes_of_the_task_and_vary_over_the_cloud(name: str):
    inputs = two_clouds()
    answer = as_function(network_of(FACES[name]))(inputs)
    check_inputs(SMALL, inputs, name)
    check_outputs(SMALL, answer, name)
    assert ((answer["heatmaps"] > 0) & (answer["heatmaps"] < 1)).all()
    assert (answer["heatmaps"].std(axis=2) / answer["heatmaps"].mean(axis=2)).min() > VISIBLE
    assert np.ptp(answer["landmarks"], axis=1).min() > VISIBLE


@pytest.mark.parametrize("config", [NARROW, PLAIN], ids=["se3", "plain"])
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(config: SE3UNetConfig | PointNet2Config):
    run = as_function(network_of(config))
    together = run(inputs_of(SMALL, bumpy_cloud(200), 10 * bumpy_cloud(150, seed=1)))
    alone = run(inputs_of(SMALL, bumpy_cloud(200)))
    assert max(differences({k: x[:1] for k, x in together.items()}, alone).values()) <= 1e-6


def test_landmarks_of_a_moved_scan_are_the_moved_landmarks():
    run, scan, rng = as_function(network_of(NARROW)), bumpy_cloud(400), np.random.default_rng(0)
    straight = levels(scan, SMALL)
    reference = run(straight.tensors)
    for _ in range(5):
        turn, shift = random_rotation(rng), rng.uniform(-10, 10, size=3)
        turned = levels(scan @ turn.T + shift, SMALL)
        assert np.array_equal(turned.sampled, straight.sampled)
        answer = run(turned.tensors)
        expected = (reference["landmarks"][0].astype(float) + straight.centroid) @ turn.T + shift
        assert np.abs(answer["landmarks"][0].astype(float) + turned.centroid - expected).max() <= 1e-6
        assert np.abs(answer["heatmaps"] - reference["heatmaps"]).max() <= 1e-5


def test_coincident_points_give_finite_answers_and_gradients():
    inputs = two_clouds()
    inputs["points"][0, 1::2] = inputs["points"][0, ::2]
    inputs["points"][1] = inputs["points"][1, :1]  # all points of this cloud coincide
    for config in (NARROW, PLAIN):
        network = network_of(config)
        heatmaps, landmarks, confidence = network(*(torch.from_numpy(inputs[name]) for name in SMALL.inputs))
        (heatmaps.sum() + landmarks.square().sum()).backward()
        assert all(x.isfinite().all() for x in (heatmaps, landmarks, confidence))
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


# --- negative controls ---


class Absolute(SE3UNet):
    """A network that does not centre coordinates, as in the reference."""

    def centre(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.zeros_like(points[:, :1])


class ByComponents(SE3UNet):
    """A network that reads components of vectors instead of their lengths, as in the reference's head."""

    def features(self, level, length):
        f = super().features(level, length)
        return torch.cat([f[:, :1], level.points.flatten(0, 1)[:, :1], f[:, 2:]], dim=1)


@pytest.mark.parametrize(("wrong", "breaks"), [(Absolute, "translation"), (ByComponents, "rotation")])
def test_a_network_that_reads_coordinates_violates_its_claim(wrong: type[SE3UNet], breaks: str):
    torch.manual_seed(0)
    network = perturbed(wrong(SMALL, NARROW), by=0.1).double()
    assert violation(as_function(network), breaks, two_clouds(), moves=MOVES, trials=3) > VISIBLE


def test_the_plain_network_keeps_and_claims_translation_only():
    network = network_of(PLAIN).double()
    assert network.symmetries == ("translation",)
    assert violation(as_function(network), "translation", two_clouds(), moves=MOVES, trials=3) <= DOUBLE_M
    assert violation(as_function(network), "rotation", two_clouds(), moves=MOVES, trials=3) > VISIBLE


def mirrored(inputs: Tensors) -> dict[str, np.ndarray]:
    return {**inputs, "points": inputs["points"] * np.array([-1.0, 1.0, 1.0])}


def test_mirroring_a_cloud_changes_its_heatmaps():
    run, inputs = as_function(network_of(NARROW).double()), two_clouds()
    assert differences(run(mirrored(inputs)), run(inputs))["heatmaps"] > VISIBLE


def test_without_the_cross_product_opposite_points_have_equal_heatmap_values():
    """On a mirror-symmetric cloud, a network without the cross product cannot tell a left landmark from a right one."""
    half = bumpy_cloud(200)
    half = half[half[:, 0] > 0.01][: SMALL.levels[0] // 2]
    cloud = np.stack([half, half * [-1, 1, 1]], axis=1).reshape(-1, 3)  # opposite points beside each other
    inputs = inputs_of(SMALL, bumpy_cloud(200)) | {"points": cloud[None]}
    rng = np.random.default_rng(0)
    opposite = np.arange(len(cloud)) ^ 1
    for name in ("neighbours", "parents"):  # random neighbourhoods that are mirror images of each other
        sizes = SMALL.levels if name == "neighbours" else SMALL.levels[:-1]
        parts = []
        for level, size in enumerate(sizes):
            among = size if name == "neighbours" else SMALL.levels[level + 1]
            right = np.array([rng.permutation(among)[: inputs[name].shape[2]] for _ in range(size // 2)])
            parts.append(np.stack([right, right ^ 1], axis=1).reshape(size, -1))
        inputs[name] = np.concatenate(parts)[None].astype(np.int64)

    heights = {
        c.handed: as_function(network_of(c).double())(inputs)["heatmaps"][0]
        for c in (NARROW, FACES["se3-unet, no cross product"])
    }
    assert np.abs(heights[False] - heights[False][:, opposite]).max() <= DOUBLE_M
    assert np.abs(heights[True] - heights[True][:, opposite]).max() > VISIBLE


# --- the two forms, and graphs ---


@pytest.mark.parametrize(
    "name", ["se3-unet", "se3-unet, all harmonics", "se3-unet, degrees to 2", "se3-unet, attentive, by norms"]
)
def test_the_literal_network_computes_the_same_function(name: str):
    fast = network_of(FACES[name]).double()
    literal = replace(FACES[name], literal=True).build(SMALL).double()
    literal.load_state_dict(fast.state_dict())
    literal.shape = fast.shape
    assert max(differences(as_function(literal)(two_clouds()), as_function(fast)(two_clouds())).values()) <= 1e-12


@pytest.fixture(scope="module", params=["se3-unet, all harmonics", "pointnet++"])
def exported(request: pytest.FixtureRequest):
    """Return a network of two levels, which have every kind of layer, and a runner of its ONNX graph."""
    config = FACES[request.param]
    network = network_of(replace(config, channels=config.channels[:2]), TWO_LEVELS)
    one = inputs_of(TWO_LEVELS, bumpy_cloud(200, seed=5))
    return network, onnx_runner(to_onnx(frozen(network), one))


def test_a_graph_gives_the_answers_of_its_network_for_any_batch_and_coincident_points(exported):
    network, graph = exported
    inputs = inputs_of(TWO_LEVELS, *(bumpy_cloud(200, seed=seed) for seed in range(3)))
    inputs["points"][1, 1::2] = inputs["points"][1, ::2]
    for batch in (1, 3):
        some = {name: x[:batch] for name, x in inputs.items()}
        answers = graph(some)
        assert all(np.isfinite(x).all() for x in answers.values())
        assert max(differences(answers, as_function(network)(some)).values()) <= SINGLE_M


def test_a_graph_keeps_the_symmetries_of_its_network(exported):
    network, graph = exported
    inputs = inputs_of(TWO_LEVELS, bumpy_cloud(200), bumpy_cloud(150, seed=1))
    for symmetry in network.symmetries:
        assert violation(graph, symmetry, inputs, moves=MOVES, trials=3) <= SINGLE_M
    if "rotation" in network.symmetries:
        answer = graph(inputs)
        other = graph({**inputs, "points": mirrored(inputs)["points"]})
        assert differences(other, answer)["heatmaps"] > VISIBLE


def test_a_network_needs_channels_for_each_level():
    for config in (replace(NARROW, channels=((4, 4),)), PointNet2Config(channels=(8,))):
        with pytest.raises(ValueError, match="channels for 3 levels, got 1"):
            config.build(SMALL)


def test_the_loss_falls_in_a_few_steps():
    torch.manual_seed(0)
    network, inputs = NARROW.build(SMALL), two_clouds()
    tensors = [torch.from_numpy(inputs[name]) for name in SMALL.inputs]
    target = tensors[0][:, :68]
    loss, optimiser = LandmarkLoss(SMALL.sigma_m), torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        value = loss(network(*tensors), target, *tensors)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.8 * losses[0]


# --- options of the reference ---


def test_only_the_last_layer_of_all_is_attentive():
    network = replace(NARROW, layers=2, attentive="last").build(SMALL)
    attentive = {name for name, module in network.named_modules() if getattr(module, "attentive", False)}
    assert attentive == {"up.0.attentions.1"}


def test_a_skip_by_concatenation_gives_the_way_up_both_sets_of_channels():
    network = replace(NARROW, skip="concatenation").build(SMALL)
    assert [block.channels for block in network.up] == [(12, 8), (12, 8)]
    assert [block.out for block in network.up] == [(6, 4), (6, 4)]


def test_without_votes_landmarks_are_the_means_under_sharpened_heatmaps():
    inputs = inputs_of(SMALL, bumpy_cloud(200))
    torch.manual_seed(0)
    plain = perturbed(replace(NARROW, votes=0, sharpness=3.0).build(SMALL), by=0.1)  # without a shape prior
    answer = as_function(plain)(inputs)
    weights = answer["heatmaps"][0].astype(float) ** 3
    means = weights @ inputs["points"][0] / weights.sum(axis=1, keepdims=True)
    assert np.abs(answer["landmarks"][0] - means).max() < 1e-6
