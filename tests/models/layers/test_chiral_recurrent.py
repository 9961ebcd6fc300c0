"""The chiral LSTM and GRU are an LSTM and a GRU, frame after frame, and commute with T at every one of them."""

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
            parameter.mul_(2)  # so that gates are far from a half
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
def test_every_frame_and_the_last_states_move_with_t(kind: type[ChiralRecurrent], hidden: Spec, paper_exact: bool):
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
def test_it_is_pytorchs_with_the_folded_weights(kind: type[ChiralRecurrent], hidden: Spec, paper_exact: bool):
    network, x = network_of(kind, hidden, paper_exact=paper_exact), motion()
    states, dense = states_of(network), network.folded()
    y, last = network(x, states)
    wanted, wanted_last = dense(x, states if kind is ChiralLSTM else states[0])
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(last, wanted_last if kind is ChiralLSTM else (wanted_last,))


@kinds
def test_without_states_it_begins_at_zero(kind: type[ChiralRecurrent]):
    network, x = network_of(kind), motion()
    torch.testing.assert_close(network(x)[0], network.folded()(x)[0])


@kinds
def test_the_paper_never_lets_a_width_into_a_central_gate_and_the_full_map_does(kind: type[ChiralRecurrent]):
    for paper_exact in (False, True):
        (even, *_), _ = network_of(kind, paper_exact=paper_exact).weights()[0]
        to_centre = even[network_of(kind).count * HIDDEN.pairs :, : FREE.ln]
        assert bool((to_centre == 0).all()) == paper_exact


@kinds
def test_frame_by_frame_with_weights_made_once_is_the_same(kind: type[ChiralRecurrent]):
    network, x = network_of(kind), motion()
    weights, states, seen = network.weights(), states_of(network), []
    wanted, wanted_last = network(x, states)
    for frame in x.unbind(1):
        y, states = network(frame.unsqueeze(1), states, weights)
        seen.append(y)
    torch.testing.assert_close(torch.cat(seen, 1), wanted)
    torch.testing.assert_close(states, wanted_last)


@kinds
def test_loading_a_dense_network_projects_its_weights_and_takes_chiral_ones_as_they_are(kind: type[ChiralRecurrent]):
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
def test_two_layers_of_1040_have_as_many_parameters(paper_exact: bool, parameters: int):
    with torch.device("meta"):
        network = ChiralLSTM(PENN, Spec.of_joints(6, 1, 80, 40), 2, paper_exact=paper_exact)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_dropout_is_between_layers_in_training_alone():
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
def test_an_ordinary_one_is_found_out(plain: type[nn.LSTM] | type[nn.GRU]):
    torch.manual_seed(0)
    network, x = plain(BODY.width, FREE.width, batch_first=True).double(), motion(BODY.width)
    assert (network(transform(x, BODY))[0] - transform(network(x)[0], FREE)).abs().max() > 0.1


class GatesMoveAsTheState(ChiralLSTM):
    """A sigmoid of what T negates, which is not odd."""

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        c = state[1] + (x[2] + h[2]).sigmoid() * (x[2] + h[2]).tanh()
        return c.tanh(), c


class OverwritesItsStates(ChiralLSTM):
    """What the authors' code does: it gates, and then has the candidate for both states. T cannot tell."""

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        return ((x[2] + h[2]).tanh(),) * 2


@pytest.mark.parametrize(("wrong", "chiral"), [(GatesMoveAsTheState, False), (OverwritesItsStates, True)])
def test_a_wrong_cell_is_found_out_by_the_law_or_by_pytorchs(wrong: type[ChiralLSTM], chiral: bool):
    network, x = network_of(wrong), motion()
    y = network(x)[0]
    assert ((network(transform(x, FREE))[0] - transform(y, HIDDEN)).abs().max() < 1e-12) == chiral
    assert (network.folded()(x)[0] - y).abs().max() > 0.1
