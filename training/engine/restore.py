"""The weights of a bundle, read back from its ONNX graph: to train on from a shipped bundle, or to export it again.

The exporter keeps some weights by name. Others it folds into constants: matrices that frozen layers assemble, and transposed, repeated or
scaled copies. A probe tells which is which: the same network, exported in the same way with weights that are all different. Where the
probe's graph has a weight or an assembled matrix, the bundle's graph has it, too. Weights that are folded into others by arithmetic,
such as normalisation into a convolution, cannot be read back, nor those of an untrained network that are equal and stored once. A
single weight that is stored with an equal one of its shape, such as the second bias of a sum, can be.
"""

import copy
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from models.contract.bundle import Bundle
from models.contract.symmetry import Tensors, largest_difference
from models.layers.freezing import Assembled, frozen
from training.engine.checkpoints import BEST, beginning
from training.engine.export import TOLERANCE, Corrected, Drawn, NotTheNetwork, runner, to_onnx, traced
from training.engine.folders import folder_of
from training.engine.run import Run

FACTOR = "factor_"  # begins the names of the factors of Corrected
HALVED = 0.5**0.5  # the factor of numbers that belong to a pair of rows, in biases of chiral layers
ROUNDING = 1e-5  # relative, of float32 arithmetic on a few numbers


class NotRestorable(ValueError):
    """A bundle whose graph does not contain all weights of a network."""


def restore(run: Run[Any, Any], bundle: Bundle, seed: int, out: Path) -> Path:
    """Write the weights of a bundle as the best checkpoint of a run and seed under `out`, and return its path.

    Raises NotRestorable, NotTheNetwork, and FileExistsError if the run has a best checkpoint there.
    """
    path = folder_of(out, run, seed) / BEST
    if path.exists():
        raise FileExistsError(f"{path} exists; choose another --out, or remove it")
    network = restored(run.build(), bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    torch.save({"average": network.state_dict(), "run": run.fingerprint, "seed": seed, "step": 0}, written)
    written.replace(path)
    return path


def restored(network: nn.Module, bundle: Bundle) -> nn.Module:
    """Return a copy of the network, in evaluation mode, with the weights of a bundle.

    Its answer to the bundle's example is the bundle's, within the exporter's tolerance. Weights that no answer depends on keep their
    values. So do buffers that checkpoints do without, if the graph lacks them; outputs that depend on these are not compared.

    Raises NotRestorable, with the names of the weights that the graph lacks, and NotTheNetwork.
    """
    inputs, _ = bundle.example()
    graph = constants(bundle.model.read_bytes())
    factors = factors_of(bundle)
    probe = probe_of(network)
    network = copy.deepcopy(network).eval()
    missing, lost = set[str](), list[str]()
    for draw in (
        (to_onnx, traced) if isinstance(network, Drawn) else (to_onnx,)
    ):  # a bundle may be older than the drawing
        exported = constants(draw(frozen(_corrected(probe, factors)), inputs))
        missing = set(_fill(network, probe, Counterparts(exported, graph, "network." if factors else "")))
        missing -= _fill_stored_once(network, missing)
        missing -= without_effect(network, inputs)
        if not (lost := [name for name in network.state_dict() if name in missing]):
            break
    if lost:
        raise NotRestorable(f"the graph of {bundle.meta.name} does not contain {', '.join(lost)}")
    _refuse_other_answers(_corrected(network, factors), bundle, missing)
    return network


def first_weights(run: Run[Any, Any], seed: int, out: Path) -> dict[str, Tensor] | None:
    """Return the weights that a training begins with: those of the run or of the bundle that it starts from; None for fresh ones.

    Raises NotTrained, and what `restored` raises.
    """
    if run.base:
        return restored(run.build(), run.base.bundle).state_dict()
    return beginning(run.start, seed, out) if run.start else None


def factors_of(bundle: Bundle) -> Tensors:
    """Return the factors that correct outputs of a bundle's network, by the name of the output."""
    graph = constants(bundle.model.read_bytes())
    return {name.removeprefix(FACTOR): value for name, value in graph.items() if name.startswith(FACTOR)}


def with_factors_of(network: nn.Module, bundle: Bundle) -> nn.Module:
    """Return the network with the factors of a bundle, if it has any."""
    return _corrected(network, factors_of(bundle))


def constants(graph: bytes) -> dict[str, np.ndarray]:
    """Return the constants of an ONNX graph that are not integers, by name."""
    every = {x.name: numpy_helper.to_array(x) for x in onnx.load_from_string(graph).graph.initializer}
    return {name: x for name, x in every.items() if x.dtype in (np.float32, np.float64)}


def probe_of(network: nn.Module) -> nn.Module:
    """Return a copy whose weights and buffers, apart from integers, are numbers from 1 to 2 that are all different."""
    probe = copy.deepcopy(network).eval()
    own = list(tensors_of(probe).values())
    total = sum(x.numel() for x in own)
    numbers = 1 + torch.randperm(total, generator=torch.Generator().manual_seed(0)).float() / total
    for x, values in zip(own, numbers.split([x.numel() for x in own]), strict=True):
        x.copy_(values.view_as(x))
    return probe


def without_effect(network: nn.Module, inputs: Tensors) -> set[str]:
    """Return the names of the weights that no answer depends on, such as those of a last layer whose invariants nothing reads."""
    arguments = [torch.tensor(x) for x in inputs.values()]
    answer = network(*arguments)
    total = torch.stack([x.sum().double() for x in (answer if isinstance(answer, tuple) else (answer,))]).sum()
    weights = dict(network.named_parameters())
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {name for name, gradient in zip(weights, gradients, strict=True) if gradient is None}


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the data of a network's weights and buffers, apart from integers, by name."""
    every = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {name: x.data for name, x in every.items() if x.is_floating_point()}


class Counterparts:
    """The constants of a bundle's graph beside those of the probe's; `prefix` begins the names of weights in both."""

    def __init__(self, probe: Tensors, bundle: Tensors, prefix: str = "") -> None:
        self.bundle, self.prefix = bundle, prefix
        self.left = {name: x for name, x in probe.items() if name in bundle and bundle[name].shape == x.shape}

    def named(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Take and return the bundle's constant of a name and shape, or None."""
        constant = self.left.get(self.prefix + name)
        return None if constant is None or constant.shape != shape else self._taken(self.prefix + name)

    def permuted(self, value: np.ndarray) -> np.ndarray | None:
        """Take and return the counterpart of a matrix of which the probe has a multiple with its axes in any order, or None."""
        largest = np.abs(value).max(initial=0)
        for axes in permutations(range(value.ndim)):
            turned = value.transpose(axes)
            for name, constant in self.left.items():
                scale = np.abs(constant).max(initial=0) / max(largest, 1e-30)
                if scale and constant.shape == turned.shape and np.allclose(constant, scale * turned, rtol=ROUNDING):
                    return self._taken(name).transpose(np.argsort(axes)) / scale
        return None

    def halved(self, value: np.ndarray) -> np.ndarray | None:
        """Take and return the counterpart of a vector that the probe has with some of its numbers times HALVED, or None."""
        for name, constant in self.left.items():
            if value.ndim == 1 and constant.shape == value.shape:
                scale = np.where(constant < value * (1 + HALVED) / 2, HALVED, 1.0)
                if np.allclose(constant, scale * value, rtol=ROUNDING):
                    return self._taken(name) / scale
        return None

    def gathered(self, value: np.ndarray) -> np.ndarray | None:
        """Return the counterpart of a tensor whose numbers are all in constants that are left; None if one is not, or is ambiguous.

        A constant that has all of them comes first: another one may have a number of the probe's by accident.
        """
        if not self.left or not value.size:
            return None
        alone = ([name] for name, x in self.left.items() if x.size >= value.size)
        found = (self._among(names, value) for names in (*alone, list(self.left)))
        return next((x for x in found if x is not None), None)

    def _among(self, names: list[str], value: np.ndarray) -> np.ndarray | None:
        values = np.concatenate([self.left[name].ravel().astype(float) for name in names])
        others = np.concatenate([self.bundle[name].ravel().astype(float) for name in names])
        order = np.lexsort([others, values])
        values, others = values[order], others[order]
        wanted = value.ravel().astype(float)
        first, end = np.searchsorted(values, wanted), np.searchsorted(values, wanted, side="right")
        if not (end > first).all() or not np.array_equal(others[first], others[end - 1]):
            return None
        return others[first].reshape(value.shape)

    def _taken(self, name: str) -> np.ndarray:
        del self.left[name]
        return self.bundle[name].astype(float)


def _fill(network: nn.Module, probe: nn.Module, counterparts: Counterparts) -> list[str]:
    """Set all tensors of a network that have counterparts, directly or in an assembled matrix. Returns the names of the others."""
    values, found = tensors_of(probe), dict[str, np.ndarray | None]()
    for name, value in values.items():
        found[name] = counterparts.named(name, tuple(value.shape))
    for path, module in probe.named_modules():
        own = {f"{path}.{name}" for name, _ in module.named_parameters()}
        if isinstance(module, Assembled) and any(found[name] is None for name in own):
            matrix = module.assemble().detach()
            constant = counterparts.named(f"{path}.constant", tuple(matrix.shape))
            constant = counterparts.permuted(matrix.numpy()) if constant is None else constant
            weights = {} if constant is None else disassembled(module, torch.from_numpy(constant))
            found |= {f"{path}.{name}": weight.numpy() for name, weight in weights.items()}
    missing = list[str]()
    for name, tensor in tensors_of(network).items():
        if (value := found[name]) is None:
            value = counterparts.gathered(values[name].numpy())
        if value is None:
            value = counterparts.halved(values[name].numpy())
        if value is None:
            missing.append(name)
        else:
            tensor.copy_(torch.from_numpy(value))
    return missing


def _fill_stored_once(network: nn.Module, missing: set[str]) -> set[str]:
    """Set the one parameter that is missing, if any, to the only other one of its last name and shape. Returns its name."""
    weights = dict(network.named_parameters())
    lost = [name for name in weights if name in missing]
    if len(lost) != 1:
        return set()
    last, shape = lost[0].rpartition(".")[2], weights[lost[0]].shape
    twins = [x for name, x in weights.items() if name.rpartition(".")[2] == last and x.shape == shape]
    if len(twins) != 2:
        return set()
    for twin in twins:
        if twin is not weights[lost[0]]:
            weights[lost[0]].data.copy_(twin.data)
    return set(lost)


def disassembled(module: Assembled, matrix: Tensor) -> dict[str, Tensor]:
    """Return the weights from which a linear module assembles a matrix, by name; none if it cannot assemble this one.

    The entries that a weight w determines are multiples c_i w of it. By least squares, w = sum c_i m_i / sum c_i^2 for entries m_i. The
    gradient of sum m_i c_i w is the numerator, and that of sum c_i^2 w the denominator.
    """
    module = copy.deepcopy(module).double()
    weights = dict(module.named_parameters())
    assembled = module.assemble()
    products = torch.autograd.grad(assembled, list(weights.values()), matrix, allow_unused=True)
    # entries are c w, so with all weights 1 the entries are c
    with torch.no_grad():
        for w in weights.values():
            w.fill_(1.0)
    multiples = module.assemble()
    squares = torch.autograd.grad(multiples, list(weights.values()), multiples.detach(), allow_unused=True)
    found = {}
    for (name, w), product, square in zip(weights.items(), products, squares, strict=True):
        if product is not None and square is not None and bool((square > 0).all()):
            found[name] = product / square
            w.data.copy_(found[name])
    same = torch.allclose(module.assemble(), matrix, rtol=ROUNDING, atol=ROUNDING * float(matrix.abs().max()))
    return found if same else {}


def _corrected(network: nn.Module, factors: Tensors) -> nn.Module:
    return Corrected(network, factors) if factors else network


def _refuse_other_answers(network: nn.Module, bundle: Bundle, missing: set[str]) -> None:
    """Raise NotTheNetwork unless all outputs that do not depend on the `missing` buffers are those of the bundle's example."""
    task = bundle.meta.task
    read, expected = bundle.example()
    inputs = {name: x.copy() for name, x in read.items()}  # what is read may not be written to, which torch warns of
    actual = runner(frozen(network), task)(inputs)
    twin = copy.deepcopy(network)
    for name, x in tensors_of(twin).items():
        if name.removeprefix("network.") in missing:
            x.add_(1.0)
    changed = runner(frozen(twin), task)(inputs)
    same = {name: x for name, x in expected.items() if largest_difference(changed, {name: actual[name]}) == 0}
    if not same:
        raise NotTheNetwork(f"every output of {bundle.meta.name} depends on what its graph lacks: {', '.join(missing)}")
    if not (difference := largest_difference(actual, same)) <= TOLERANCE:
        raise NotTheNetwork(
            f"with the weights of {bundle.meta.name} the network differs from its example by {difference:.1e}; "
            f"at most {TOLERANCE} is allowed"
        )
