"""An ONNX graph written operator by operator, for a network whose traced graph is slower than need be."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor

from models.contract.tensor import TensorSpec

IR = 10  # of opset 20


class Ops:
    """The operators and constants of a graph so far. Tensors are known by their names, weights by those in the network's state."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Append an operator and return its output; the names of several end in _0, _1, ..."""
        for name in inputs:
            if name in self._weights:
                self.constant(name, self._weights[name])
        name = f"{kind.lower()}_{len(self._nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return name

    def constant(self, name: str, value: Tensor | np.ndarray | Sequence[int]) -> str:
        """Return a constant: float32 from a tensor, otherwise int64 unless it has another type."""
        array = value.detach().float().numpy() if isinstance(value, Tensor) else np.asarray(value)
        self._constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        """Return a constant list of integers."""
        return self.constant("i_" + "_".join(str(value) for value in values), np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Return a constant float."""
        return self.constant(f"f_{value!r}", np.array(value, np.float32))

    def reshape(self, x: str, *sizes: int | str) -> str:
        """Return x in another shape: each size is a number or the name of a list of one size."""
        if all(isinstance(size, int) for size in sizes):
            return self.op("Reshape", x, self.integers(*(int(size) for size in sizes)))
        parts = [size if isinstance(size, str) else self.integers(size) for size in sizes]
        return self.op("Reshape", x, self.op("Concat", *parts, axis=0))

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Return the parts of x along an axis."""
        if len(sizes) == 1:
            return [x]
        name = self.op("Split", x, self.integers(*sizes), outputs=len(sizes), axis=axis)
        return [f"{name}_{i}" for i in range(len(sizes))]

    def until(self, x: str, end: str, axes: Sequence[int] = (0,)) -> str:
        """Return the beginning of x along some axes; `end` names a list of as many sizes."""
        return self.op("Slice", x, self.integers(*(0 for _ in axes)), end, self.integers(*axes))

    def sum(self, x: str, axis: int, *, keep: bool = False) -> str:
        """Return the sum over an axis."""
        return self.op("ReduceSum", x, self.integers(axis), keepdims=int(keep))

    def mean(self, x: str, *axes: int) -> str:
        """Return the mean over axes, which are kept with size 1."""
        return self.op("ReduceMean", x, self.integers(*axes), keepdims=1)

    def silu(self, x: str) -> str:
        """Return x times its sigmoid, which ONNX Runtime makes one operator."""
        return self.op("Mul", x, self.op("Sigmoid", x))

    def shape(self, weight: str) -> tuple[int, ...]:
        """Return the shape of a weight."""
        return tuple(self._weights[weight].shape)

    def transposed(self, matrix: str) -> str:
        """Return the transpose of a matrix."""
        return self.op("Transpose", matrix, perm=[1, 0])

    def beyond(self, x: str, start: int) -> str:
        """Return x without its first `start` entries along the first axis."""
        if not start:
            return x
        return self.op("Slice", x, self.integers(start), self.integers(np.iinfo(np.int64).max), self.integers(0))

    def blocks(self, first: str, second: str) -> str:
        """Return the block diagonal matrix of two matrices, the first of which is a weight and as wide as the second."""
        width = self.shape(first)[1]
        left = self.op("Pad", first, self.integers(0, 0, 0, width))
        return self.op("Concat", left, self.op("Pad", second, self.integers(0, width, 0, 0)), axis=0)

    def linear(self, rows: str, name: str) -> str:
        """Return the linear layer or 1x1 convolution of a name on rows."""
        out = self.shape(f"{name}.bias")[0]
        weight = f"{name}.weight" if len(self.shape(f"{name}.weight")) == 2 else self.reshape(f"{name}.weight", out, -1)
        return self.op("Gemm", rows, weight, f"{name}.bias", transB=1)

    def model(self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, tuple[str, TensorSpec]]) -> bytes:
        """Return the graph, from inputs by name to outputs, which are the results named."""
        ends = [helper.make_node("Identity", [result], [name]) for name, (result, _) in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *ends],
            "main_graph",
            [_value(name, spec) for name, spec in inputs.items()],
            [_value(name, spec) for name, (_, spec) in outputs.items()],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=IR)
        return model.SerializeToString()


def _value(name: str, spec: TensorSpec) -> onnx.ValueInfoProto:
    """Return the declaration of a tensor."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)
