"""The predictor: what it runs on, what it refuses, and how batches are timed."""

import numpy as np
import pytest

from models.contract.bundle import read_bundle
from models.contract.runtime import onnxruntime
from models.contract.tensor import WrongShape
from service.inference.predictor import Predictor, ProviderUnavailable, calibrate


@pytest.fixture
def predictor(bundles) -> Predictor:
    return Predictor(read_bundle(bundles / "hands-thirty"))


def test_it_says_what_it_runs_on(predictor):
    assert predictor.provider in onnxruntime.get_available_providers()


def test_tensors_of_another_shape_are_refused_before_they_reach_the_graph(predictor):
    with pytest.raises(WrongShape, match=r"hands-thirty: expected past of shape \(batch, 30, nodes, 3\)"):
        predictor.run({"past": np.zeros((1, 29, 21, 3), np.float32)})


def test_it_warms_up_with_every_shape_that_the_task_allows(predictor):
    assert [tensors["past"].shape for tensors in predictor.inputs(2)] == [(2, 30, 21, 3), (2, 30, 42, 3)]


def test_it_warms_up_with_indices_that_are_legal_in_any_cloud(bundles):
    predictor = Predictor(read_bundle(bundles / "face-shells"))
    (tensors,) = predictor.inputs(2)
    assert tensors["neighbours"].shape == (2, 1344, 16)
    assert not tensors["neighbours"].any()
    assert predictor.run(tensors)["landmarks"].shape == (2, 68, 3)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine can run what it must not"
)
def test_a_device_that_is_not_there_is_refused_and_not_silently_replaced(bundles):
    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider is not in this ONNX Runtime"):
        Predictor(read_bundle(bundles / "hands-thirty"), "cuda")


def test_a_runtime_that_falls_back_by_itself_is_refused(bundles, monkeypatch):
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
        (0.0, 3e-3, 5.0, 1),  # a CPU: nothing is saved by company
        (1e-3, 5e-5, 5.0, 32),  # a GPU: the fixed part is nearly everything
        (1e-3, 5e-5, 1.5e-3, 8),  # the same, in a hurry
        (2e-3, 1e-2, 5.0, 2),
        (9.0, 9.0, 5.0, 1),  # nothing is in time: at least it is small
    ],
)
def test_the_smallest_batch_that_is_nearly_the_best_is_chosen(fixed, item, deadline, chosen):
    found = calibrate(lambda batch: fixed + item * batch, (1, 2, 4, 8, 16, 32), deadline)
    assert found.max_batch == chosen
    np.testing.assert_allclose([found.fixed_s, found.item_s], [fixed, item], atol=1e-9)
