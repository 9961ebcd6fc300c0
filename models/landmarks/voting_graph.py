"""The last layers of a landmark network as ONNX operators: votes, the shape prior and the confidence of models/landmarks/voting.py."""

from typing import Any

import numpy as np
from onnx import TensorProto

from models.landmarks.cloud import DECIMETRES
from models.landmarks.voting import LANDMARKS, LEAST_DM, QUARTER
from models.layers.onnx_ops import Ops


def answers(o: Ops, network: Any, x: str, centre: str, logits: str, votes: str) -> dict[str, str]:
    """Return heatmaps, landmarks and confidence by name.

    `x` are the points (batch, points, 3), in decimetres about `centre`, in metres, both in float64. `logits` and `votes` are rows.
    """
    size = network.task.levels[0]
    logits = o.op("Transpose", o.reshape(logits, -1, size, LANDMARKS), perm=[0, 2, 1])
    heatmaps = o.op("Sigmoid", logits)
    # a heatmap is exp(min(logit, 0)) times sigmoid(|logit|): the softmax of its logarithm, up to a factor
    least, rest = o.op("Min", logits, o.number(0.0)), o.op("Max", heatmaps, o.op("Sub", o.number(1.0), heatmaps))
    if network.sharpness != 1:
        sharpness = o.number(network.sharpness)
        least, rest = o.op("Mul", least, sharpness), o.op("Pow", rest, sharpness)
    p = o.op("Mul", o.op("Softmax", least, axis=2), rest)
    squares = o.sum(o.op("Mul", x, x), 2, keep=True)
    ones = o.op("Add", o.op("Mul", squares, _double(o, 0.0)), _double(o, 1.0))
    sums = o.op("MatMul", o.op("Cast", p, to=TensorProto.DOUBLE), o.op("Concat", ones, x, squares, axis=2))
    total, first, second = o.split(sums, (1, 3, 1), 2)
    mean = o.op("Div", first, total)
    variance = o.op("Sub", o.op("Div", second, total), o.sum(o.op("Mul", mean, mean), 2, keep=True))
    count = network.head.votes
    means = o.op("MatMul", p, o.reshape(votes, -1, size, 3 * count))
    means = o.reshape(o.op("Div", means, o.op("Cast", total, to=TensorProto.FLOAT)), -1, LANDMARKS, 3, count)
    offsets = o.sum(o.op("Mul", means, o.op("Unsqueeze", "head.offsets", o.integers(1))), 3)
    places = o.op("Add", mean, o.op("Cast", offsets, to=TensorProto.DOUBLE))
    landmarks, moved = _shaped(o, o.op("Mul", places, _double(o, 1 / DECIMETRES)))
    return {
        "heatmaps": heatmaps,
        "landmarks": o.op("Add", landmarks, centre),
        "confidence": _confidence(o, heatmaps, variance, moved),
    }


def _double(o: Ops, value: float) -> str:
    """Return a constant float64."""
    return o.constant(f"d_{value!r}", np.array(value))


def _shaped(o: Ops, landmarks: str) -> tuple[str, str]:
    """Return ShapePrior of landmarks (batch, landmarks, 3), in float64, and its moves."""
    about = o.op("Sub", landmarks, o.mean(landmarks, 1))
    reference = o.op("Cast", o.transposed("shape.reference"), to=TensorProto.DOUBLE)
    first, second = o.split(o.op("MatMul", reference, about), (1, 1), 1)  # (batch, 1, 3)
    x = _unit(o, first)
    along = o.sum(o.op("Mul", second, x), 2, keep=True)
    y = _unit(o, o.op("Sub", second, o.op("Mul", along, x)))
    (x1, x2), (y1, y2) = ((_turned(o, v, 1), _turned(o, v, 2)) for v in (x, y))
    z = o.op("Sub", o.op("Mul", x1, y2), o.op("Mul", x2, y1))
    axes = o.op("Concat", x, y, z, axis=1)  # the frame's axes as rows
    own = o.op("MatMul", about, o.op("Transpose", axes, perm=[0, 2, 1]))
    weight, bias = (o.op("Cast", f"shape.{name}", to=TensorProto.DOUBLE) for name in ("weight", "bias"))
    moved = o.op("Add", o.op("MatMul", o.reshape(own, -1, 3 * LANDMARKS), weight), bias)
    moved = o.op("MatMul", o.reshape(moved, -1, LANDMARKS, 3), axes)
    return o.op("Add", landmarks, moved), moved


def _turned(o: Ops, vector: str, by: int) -> str:
    """Return a vector's components in the order that begins with component `by`."""
    return o.op("Gather", vector, o.integers(*((at + by) % 3 for at in range(3))), axis=2)


def _unit(o: Ops, vector: str) -> str:
    """Return vectors of length 1."""
    square = o.op("Max", o.sum(o.op("Mul", vector, vector), 2, keep=True), _double(o, 1e-12))
    return o.op("Div", vector, o.op("Sqrt", square))


def _confidence(o: Ops, heatmaps: str, variance: str, moved: str) -> str:
    """Return Confidence of heatmaps, the variances of their weights (batch, landmarks, 1), and the shape prior's moves."""
    top = o.op("ReduceMax", heatmaps, o.integers(2), keepdims=1)
    top = o.op("Clip", top, o.number(1e-4), o.number(1 - 1e-4))
    odds = o.op("Log", o.op("Div", top, o.op("Sub", o.number(1.0), top)))
    spread = o.op("Clip", o.op("Cast", variance, to=TensorProto.FLOAT), o.number(1e-4))
    evidence = o.op("Concat", odds, o.op("Mul", o.op("Log", spread), o.number(0.5)), axis=2)
    odds = o.op("MatMul", evidence, o.reshape("confidence.weights", 2, 1))
    odds = o.op("Add", o.reshape(odds, -1, LANDMARKS), "confidence.bias")
    quarter = o.op("TopK", odds, o.integers(LANDMARKS // QUARTER), outputs=2, axis=1, largest=0)
    lowest = o.mean(f"{quarter}_0", 1)
    a, b, c = o.split("confidence.scan", (1, 1, 1), 0)
    odds = o.op("Add", o.op("Mul", odds, a), o.op("Add", o.op("Mul", lowest, b), c))
    moved = o.op("Mul", moved, _double(o, DECIMETRES))
    squares = o.op("Max", o.sum(o.op("Mul", moved, moved), 2, keep=False), _double(o, LEAST_DM**2))
    length = o.op("Mul", o.op("Cast", o.op("Log", squares), to=TensorProto.FLOAT), o.number(0.5))
    d, e = o.split("confidence.moved", (1, 1), 0)
    odds = o.op("Add", odds, o.op("Add", o.op("Mul", length, d), o.op("Mul", o.mean(length, 1), e)))
    return o.op("Sigmoid", odds)
