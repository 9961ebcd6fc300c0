"""Tests of GMN: its objects, the authors' layer size, equality with a loop over objects, bone lengths, and its memories."""

import numpy as np
import pytest
import torch
from laws import TASK, as_function, hand_motion, perturbed
from scipy.spatial.transform import Rotation
from torch import Tensor

from models.contract.symmetry import violation
from models.forecast.gmn import HINGES, STICKS, GMNConfig, GMNLayer, HandObjects
from models.skeletons.hand import ASSEMBLY101

INDEX = ASSEMBLY101.joints.index
BONES = [(INDEX(a), INDEX(b)) for a, b in (*STICKS, *(h[:2] for h in HINGES), *(h[::2] for h in HINGES))]


def layer(hidden: int = 5) -> GMNLayer:
    return perturbed(GMNLayer(hidden), by=0.3).double()  # pyright: ignore[reportReturnType] - perturbed() returns its argument


def state(hidden: int = 5, nodes: int = 42) -> tuple[Tensor, Tensor, Tensor]:
    """Return random h, x and v of one clip."""
    shapes = ((1, nodes, hidden), (1, 3, nodes), (1, 3, nodes))
    h, x, v = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    return h, x, v


def test_objects_are_joined_by_bones_and_share_no_joint():
    members = [name for names in (*STICKS, *HINGES) for name in names]
    assert len(members) == len(set(members))
    assert {frozenset(bone) for bone in BONES} <= {frozenset(bone) for bone in ASSEMBLY101.bones}


def test_a_layer_has_the_13222_parameters_of_the_authors_and_two_features_of_edges():
    parameters = sum(p.numel() for p in GMNLayer(32).parameters())
    assert parameters == 13_222 + 2 * 32


# --- the equations, object by object ---


def forces_in_a_loop(layer: GMNLayer, h: Tensor, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return the force on each node and the sum of its messages; h (nodes, D), x (nodes, 3)."""
    messages, first = layer.messages, layer.messages.first
    nodes, f, received = len(h), torch.zeros_like(x), torch.zeros_like(h)
    for i in range(nodes):
        for j in range(nodes):
            if i != j:
                features = torch.cat([(x[i] - x[j]).square().sum()[None], edges[:, i, j]])
                m = first.of_i(h[i]) + first.of_j(h[j]) + first.of_distance.weight.flatten(1) @ features
                m = messages.second(m[None, :, None, None])
                f[i] += (x[i] - x[j]) * messages.gains(m).flatten() / (nodes - 1)
                received[i] += m.flatten()
    return f, received


def shortened(products: Tensor) -> Tensor:
    return products / (1 + products.norm())


def turned(w: Tensor, r: Tensor) -> Tensor:
    return torch.tensor(Rotation.from_rotvec(w.numpy()).apply(r.numpy()))


def layer_in_a_loop(layer: GMNLayer, h: Tensor, x: Tensor, v: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return h, x and v after a layer."""
    f, received = forces_in_a_loop(layer, h, x, edges)
    new_x, new_v = x.clone(), v.clone()
    first_of_hands = range(0, len(h), len(ASSEMBLY101.joints))
    joined = [[k + INDEX(name) for name in names] for k in first_of_hands for names in (*STICKS, *HINGES)]
    for i in set(range(len(h))) - {i for members in joined for i in members}:
        new_v[i] = layer.of_velocity(h[i]) * v[i] + f[i]
        new_x[i] = x[i] + new_v[i]
    for members in joined:
        stick = len(members) == 2
        x0, v0 = (y[members].mean(0) if stick else y[members[0]] for y in (x, v))
        pushes = []
        for k in members:
            if stick:
                pushes.append(layer.stick(shortened((f[k] @ f[k])[None])) * f[k])
            else:
                vectors = torch.stack([f[k], x[k] - x0, v[k] - v0])
                pushes.append(layer.hinge(shortened((vectors @ vectors.T).flatten())) @ vectors)
        a0 = torch.stack(pushes).mean(0)
        ends = members if stick else members[1:]
        r = {k: x[k] - x0 for k in ends}
        h_ends = sum(layer.of_ends(h[k]) for k in ends)
        assert isinstance(h_ends, Tensor)
        moved = layer.of_velocity(h_ends) * v0 + a0
        new_x[members[0]], new_v[members[0]] = x0 + moved, moved  # the centre of a hinge
        total = sum(r[k] @ r[k] for k in ends)
        for k in ends:
            w = torch.linalg.cross(r[k], v[k] - v0) / (r[k] @ r[k])
            if stick:
                torque = sum(torch.linalg.cross(r[e], f[e]) for e in ends) / total
                w = layer.of_spin(h_ends) * w + torque
            else:
                w = layer.of_spin(h[k]) * w + torch.linalg.cross(r[k], f[k] - a0) / (r[k] @ r[k])
            new_x[k] = x0 + moved + turned(w, r[k])
            new_v[k] = moved + torch.linalg.cross(w, turned(w, r[k]))
    if layer.node is not None:
        h = h + torch.stack([layer.node(torch.cat([a, a, m])) for a, m in zip(h, received, strict=True)])
    return h, new_x, new_v


@pytest.mark.parametrize("nodes", [21, 42])
def test_a_layer_equals_its_equations_in_a_loop_over_objects(nodes: int):
    with torch.no_grad():
        one, (h, x, v) = layer(), state(nodes=nodes)
        objects = HandObjects().double()(x)
        new_h, new_x, new_v, _, _ = one(h, x, v, objects)
        expected_h, expected_x, expected_v = layer_in_a_loop(one, h[0], x[0].T, v[0].T, objects.edges)
    torch.testing.assert_close(new_h[0], expected_h, atol=1e-6, rtol=0)
    torch.testing.assert_close(new_x[0].T, expected_x, atol=1e-6, rtol=0)
    torch.testing.assert_close(new_v[0].T, expected_v, atol=1e-6, rtol=0)


# --- bone lengths ---


def lengths(poses: np.ndarray) -> np.ndarray:
    """Return the lengths (..., bones) of the bones within objects, for poses (..., nodes, 3) of one hand."""
    return np.stack([np.linalg.norm(poses[..., a, :] - poses[..., b, :], axis=-1) for a, b in BONES], axis=-1)


def test_a_layer_keeps_the_lengths_of_bones_within_objects():
    with torch.no_grad():
        one, (h, x, v) = layer(), state(nodes=21)
        after = one(h, x, v, HandObjects().double()(x))[1]
    assert (after - x).abs().max() > 0.1
    np.testing.assert_allclose(lengths(after[0].T.numpy()), lengths(x[0].T.numpy()), atol=1e-10)


def test_an_answer_keeps_the_lengths_of_bones_within_objects():
    network, past = perturbed(GMNConfig().build(TASK), by=0.1).double(), hand_motion(TASK.past, 21)
    future = as_function(network)({"past": past})["future"]
    assert np.abs(future - past[:, None, -1:]).max() > 0.01
    kept = np.broadcast_to(lengths(past[:, None, -1:]), (2, 1, TASK.future, len(BONES)))
    np.testing.assert_allclose(lengths(future), kept, atol=1e-10)


def test_a_joint_that_meets_its_neighbour_has_a_finite_answer_and_gradient():
    network, past = perturbed(GMNConfig().build(TASK)), torch.zeros(1, TASK.past, 21, 3)
    answer = network(past)
    answer.square().sum().backward()
    assert answer.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


# --- memories ---


def test_only_a_memory_of_vectors_breaks_rotation():
    past = hand_motion(TASK.past, 42)
    for config, breaks in ((GMNConfig(memory="vectors"), True), (GMNConfig(memory="invariants"), False)):
        torch.manual_seed(0)
        network = perturbed(config.build(TASK), by=0.1).double()
        apart = violation(as_function(network), "rotation", {"past": past}, trials=2)
        assert apart > 1e-4 if breaks else apart < 1e-10, config
