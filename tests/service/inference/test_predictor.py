"""Tests of the predictor: execution providers, invalid tensors, warm-up, and calibration of the batch size."""

import numpy as np
import pytest

from models.contract.bundle import read_bundle
from models.contract.runtime import onnxruntime
from models.contract.tensor import WrongShape
from service.inference.predictor import Predictor, ProviderUnavailable, calibrate


@pytest.fixture
def predictor(bundles) -> Predictor:
    return Predictor(read_bundle(bundles / "hands-thirty"))


def test_a_predictor_names_its_execution_provider(predictor):
    assert predictor.provider in onnxruntime.get_available_providers()


def test_tensors_of_another_shape_do_not_reach_the_graph(predictor):
    with pytest.raises(WrongShape, match=r"hands-thirty: expected past of shape \(batch, 30, nodes, 3\)"):
        predictor.run({"past": np.zeros((1, 29, 21, 3), np.float32)})


def test_warm_up_covers_every_shape_that_the_task_allows(predictor):
    assert [tensors["past"].shape for tensors in predictor.inputs(2)] == [(2, 30, 21, 3), (2, 30, 42, 3)]


def test_warm_up_uses_indices_that_are_valid_in_any_cloud(bundles):
    predictor = Predictor(read_bundle(bundles / "face-shells"))
    (tensors,) = predictor.inputs(2)
    assert tensors["neighbours"].shape == (2, 1344, 16)
    assert not tensors["neighbours"].any()
    assert predictor.run(tensors)["landmarks"].shape == (2, 68, 3)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine has CUDA")
def test_cuda_is_refused_if_the_runtime_lacks_it(bundles):
    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider is not in this ONNX Runtime"):
        Predictor(read_bundle(bundles / "hands-thirty"), "cuda")


def test_cuda_is_refused_if_the_runtime_falls_back_to_the_cpu(bundles, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, **k: session(*a, **(k | {"providers": ["CPUExecutionProvider"]}))
    )
    with pytest.raises(ProviderUnavailable, match="fell back to CPUExecutionProvider"):
        Predictor(read_bundle(bundles / "hands-thirty"), "cuda")


@pytest.mark.parametrize(
    ("fixed", "item", "deadline", "chosen"),
    [
        (0.0, 3e-3, 5.0, 1),  # a CPU: batching saves nothing
        (1e-3, 5e-5, 5.0, 32),  # a GPU: the fixed part dominates
        (1e-3, 5e-5, 1.5e-3, 8),  # a GPU with a short deadline
        (2e-3, 1e-2, 5.0, 2),
        (9.0, 9.0, 5.0, 1),  # no batch meets the deadline: the smallest is chosen
    ],
)
def test_calibration_chooses_the_smallest_nearly_fastest_batch(fixed, item, deadline, chosen):
    calibration = calibrate(lambda batch: fixed + item * batch, (1, 2, 4, 8, 16, 32), deadline)
    assert calibration.max_batch == chosen
    np.testing.assert_allclose([calibration.fixed_s, calibration.item_s], [fixed, item], atol=1e-9)
