"""Tests of the chiral LSTM and GRU: they equal PyTorch's with folded weights and commute with T at every frame."""

import pytest
import torch
from chirality import BODY, FREE, PENN
from torch import Tensor, nn

from models.layers.chiral import ChiralLinear
from models.layers.chiral_recurrent import ChiralGRU, ChiralLSTM, ChiralRecurrent, Gates
from models.layers.chiral_spec import Spec, transform

HIDDEN = Spec(3, 4, 2, 3)
KINDS: dict[str, type[ChiralLSTM] | type[ChiralGRU]] = {"LSTM": ChiralLSTM, "GRU": ChiralGRU}
HIDDENS = {
    "free": HIDDEN,
    "no centre": Spec(2, 3),
    "nothing negated": Spec(lp=4, cp=3),
    "centre alone": Spec(cn=3, cp=2),
}
FRAMES = 8

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
hiddens = pytest.mark.parametrize("hidden", HIDDENS.values(), ids=HIDDENS.keys())
whose = pytest.mark.parametrize("paper_exact", [False, True], ids=["full", "paper"])


def network_of(kind: type[ChiralRecurrent], hidden: Spec = HIDDEN, **options: bool) -> ChiralRecurrent:
    torch.manual_seed(0)
    network = kind(FREE, hidden, 2, **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # moves gates away from 1/2
    return network


def motion(width: int = FREE.width, frames: int = FRAMES) -> Tensor:
    return torch.randn(3, frames, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def states_of(network: ChiralRecurrent, layers: int = 2) -> tuple[Tensor, ...]:
    make = torch.Generator().manual_seed(1)
    shape = (layers, 3, network.hidden.width)
    return tuple(0.5 * torch.randn(shape, dtype=torch.float64, generator=make) for _ in range(network.states))


@kinds
@hiddens
@whose
def test_outputs_and_last_states_commute_with_t(kind: type[ChiralRecurrent], hidden: Spec, paper_exact: bool):
    network, x = network_of(kind, hidden, paper_exact=paper_exact), motion()
    states = states_of(network)
    y, last = network(x, states)
    flipped, flipped_last = network(transform(x, FREE), tuple(transform(s, hidden) for s in states))
    torch.testing.assert_close(flipped, transform(y, hidden), atol=1e-13, rtol=0)
    for after, before in zip(flipped_last, last, strict=True):
        torch.testing.assert_close(after, transform(before, hidden), atol=1e-13, rtol=0)
    assert (y[:, 1:] - y[:, :-1]).abs().amax(dim=(0, 2)).min() > 1e-3


@kinds
@hiddens
@whose
def test_a_chiral_network_equals_pytorchs_with_the_folded_weights(
    kind: type[ChiralRecurrent], hidden: Spec, paper_exact: bool
):
    network, x = network_of(kind, hidden, paper_exact=paper_exact), motion()
    states, dense = states_of(network), network.folded()
    y, last = network(x, states)
    expected, expected_last = dense(x, states if kind is ChiralLSTM else states[0])
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(last, expected_last if kind is ChiralLSTM else (expected_last,))


@kinds
def test_the_default_initial_states_are_zero(kind: type[ChiralRecurrent]):
    network, x = network_of(kind), motion()
    torch.testing.assert_close(network(x)[0], network.folded()(x)[0])


@kinds
def test_left_right_differences_reach_central_gates_except_in_the_papers_network(kind: type[ChiralRecurrent]):
    for paper_exact in (False, True):
        (even, *_), _ = network_of(kind, paper_exact=paper_exact).weights()[0]
        to_centre = even[network_of(kind).count * HIDDEN.pairs :, : FREE.ln]
        assert bool((to_centre == 0).all()) == paper_exact


@kinds
def test_computing_frame_by_frame_with_cached_weights_gives_the_same_answer(kind: type[ChiralRecurrent]):
    network, x = network_of(kind), motion()
    weights, states, outputs = network.weights(), states_of(network), []
    expected, expected_last = network(x, states)
    for frame in x.unbind(1):
        y, states = network(frame.unsqueeze(1), states, weights)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    torch.testing.assert_close(states, expected_last)


@kinds
def test_loading_a_dense_network_projects_its_weights_and_keeps_chiral_weights(kind: type[ChiralRecurrent]):
    network, x = network_of(kind), motion()
    chiral = network.folded()
    other = kind(FREE, HIDDEN, 2).double()
    other.load_dense(chiral)
    torch.testing.assert_close(other(x)[0], network(x)[0])

    plain = (nn.LSTM if kind is ChiralLSTM else nn.GRU)(FREE.width, HIDDEN.width, 2, batch_first=True).double()
    other.load_dense(plain)
    before, after = plain.state_dict(), other.folded().state_dict()
    candidate = slice(2 * HIDDEN.width, 3 * HIDDEN.width)
    nearest = ChiralLinear(FREE, HIDDEN).double()
    nearest.load_dense(before["weight_ih_l0"][candidate], before["bias_ih_l0"][candidate])
    weight, bias = nearest.dense()
    torch.testing.assert_close(after["weight_ih_l0"][candidate], weight.detach())
    assert bias is not None
    torch.testing.assert_close(after["bias_ih_l0"][candidate], bias.detach())


@pytest.mark.parametrize(("paper_exact", "parameters"), [(False, 6_552_480), (True, 6_349_200)])
def test_two_layers_of_width_1040_have_the_papers_parameter_count(paper_exact: bool, parameters: int):
    with torch.device("meta"):
        network = ChiralLSTM(PENN, Spec.of_joints(6, 1, 80, 40), 2, paper_exact=paper_exact)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_dropout_acts_between_layers_and_in_training_only():
    network, x = ChiralLSTM(FREE, HIDDEN, 2, dropout=0.5).double(), motion()
    assert not torch.equal(network(x)[0], network(x)[0])
    network.eval()
    assert torch.equal(network(x)[0], network(x)[0])
    assert network.folded().dropout == 0.5
    alone = ChiralLSTM(FREE, HIDDEN, dropout=0.5).double()
    assert torch.equal(alone(x)[0], alone(x)[0])
    assert alone.folded().dropout == 0


@kinds
def test_gradients_reach_every_weight(kind: type[ChiralRecurrent]):
    network = network_of(kind)
    network(motion())[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in network.parameters())


@pytest.mark.parametrize("plain", [nn.LSTM, nn.GRU], ids=["LSTM", "GRU"])
def test_a_plain_recurrent_network_does_not_commute_with_t(plain: type[nn.LSTM] | type[nn.GRU]):
    torch.manual_seed(0)
    network, x = plain(BODY.width, FREE.width, batch_first=True).double(), motion(BODY.width)
    assert (network(transform(x, BODY))[0] - transform(network(x)[0], FREE)).abs().max() > 0.1


class OddGates(ChiralLSTM):
    """A wrong cell: its gate is a sigmoid, which is not odd, of odd numbers."""

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        c = state[1] + (x[2] + h[2]).sigmoid() * (x[2] + h[2]).tanh()
        return c.tanh(), c


class OverwrittenStates(ChiralLSTM):
    """The cell of the authors' code, which replaces both states by the candidate. It commutes with T."""

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        return ((x[2] + h[2]).tanh(),) * 2


@pytest.mark.parametrize(("wrong", "chiral"), [(OddGates, False), (OverwrittenStates, True)])
def test_a_wrong_cell_differs_from_pytorchs_even_if_it_commutes_with_t(wrong: type[ChiralLSTM], chiral: bool):
    network, x = network_of(wrong), motion()
    y = network(x)[0]
    assert ((network(transform(x, FREE))[0] - transform(y, HIDDEN)).abs().max() < 1e-12) == chiral
    assert (network.folded()(x)[0] - y).abs().max() > 0.1
