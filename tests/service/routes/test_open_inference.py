"""Tests of the Open Inference Protocol (V2): tritonclient unmodified, requests by the protocol's text, and refusals."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from models.contract.bundle import read_bundle
from models.contract.symmetry import rotation
from service.app import create_app
from service.http.keys import add_key
from service.settings import Settings

from ..exchange import problem_of
from ..test_server import Running, start, stop

MODELS = (
    "hands-thirty", "hands-modes", "hands-unsure", "face-shells", "lift-means", "poses-sure", "actions-pairs"
)  # fmt: skip
PAST = np.random.default_rng(0).normal(scale=0.1, size=(2, 30, 42, 3)).astype(np.float32)
INFER = "/v2/models/hands-thirty/infer"
LENGTH = "inference-header-content-length"
NAMES = {np.dtype("float32"): "FP32", np.dtype("float64"): "FP64", np.dtype("int64"): "INT64"}


def tensor(array: np.ndarray = PAST, name: str = "past", **changes: Any) -> dict[str, Any]:
    described = {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype], "data": array.tolist()}
    return {key: value for key, value in {**described, **changes}.items() if value is not None}


def binary(array: np.ndarray = PAST, **fields: Any) -> tuple[bytes, dict[str, str]]:
    """Return a request with a binary tensor, and its headers."""
    content = array.tobytes()
    described = tensor(array, data=None, parameters={"binary_data_size": len(content)})
    head = json.dumps({"inputs": [described], **fields}).encode()
    return head + content, {LENGTH: str(len(head)), "content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[Running]:
    running = start(bundles)
    yield running
    stop(running)


@pytest.fixture(scope="module")
def peer(server: Running) -> Iterator[triton.InferenceServerClient]:
    """Return the HTTP client of Triton, connected to a server."""
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", network_timeout=300.0, connection_timeout=60.0)
    yield client
    client.close()


def test_tritonclient_sees_a_live_server_and_its_models(peer, bundles):
    assert peer.is_server_live()
    assert peer.is_server_ready()
    described = peer.get_server_metadata()
    assert described["name"] == "chiron"
    assert "binary_tensor_data" in described["extensions"]
    version = read_bundle(bundles / "hands-unsure").meta.version
    assert peer.is_model_ready("hands-unsure")
    assert peer.is_model_ready("hands-unsure", version)
    assert not peer.is_model_ready("hands-unsure", "1")
    assert not peer.is_model_ready("gpt")
    for chosen in ("", version):
        metadata = peer.get_model_metadata("hands-unsure", chosen)
        assert metadata["versions"] == [version]
        assert metadata["inputs"] == [
            {"name": "past", "datatype": "FP32", "shape": [-1, 10, -1, 3]},
            {"name": "seen", "datatype": "FP32", "shape": [-1, 10, -1]},
        ]
        assert [output["name"] for output in metadata["outputs"]] == ["future", "std", "weights"]


@pytest.mark.parametrize("as_binary", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_tritonclient_gets_the_outputs_of_the_bundle_s_example(peer, bundles, name, as_binary):
    bundle = read_bundle(bundles / name)
    given, expected = bundle.example()
    inputs = []
    for key, array in given.items():
        inputs.append(triton.InferInput(key, list(array.shape), NAMES[array.dtype]))
        inputs[-1].set_data_from_numpy(array, binary_data=as_binary)
    outputs = [triton.InferRequestedOutput(key, binary_data=as_binary) for key in expected]
    for wanted in (outputs, None):
        result = peer.infer(name, inputs, outputs=wanted, request_id="7", model_version=bundle.meta.version)
        assert result.get_response()["id"] == "7"
        assert result.get_response()["model_version"] == bundle.meta.version
        for key, array in expected.items():
            np.testing.assert_allclose(result.as_numpy(key), array, atol=1e-6)


def test_tritonclient_may_compress_and_call_without_waiting(peer):
    wanted = triton.InferInput("past", list(PAST.shape), "FP32")
    wanted.set_data_from_numpy(PAST)
    plain = peer.infer("hands-thirty", [wanted]).as_numpy("future")
    packed = peer.infer("hands-thirty", [wanted], request_compression_algorithm="gzip").as_numpy("future")
    later = peer.async_infer("hands-thirty", [wanted]).get_result().as_numpy("future")
    np.testing.assert_allclose(packed, plain, atol=1e-6)
    np.testing.assert_allclose(later, plain, atol=1e-6)


def test_tritonclient_raises_with_the_message_of_the_server(peer):
    wrong = triton.InferInput("past", [1, 2, 42, 3], "FP32")
    wrong.set_data_from_numpy(PAST[:1, :2])
    with pytest.raises(InferenceServerException, match=r"expected past of shape \(batch, 30, nodes, 3\)"):
        peer.infer("hands-thirty", [wrong])
    with pytest.raises(InferenceServerException, match="no model 'gpt'"):
        peer.infer("gpt", [wrong])


def test_json_and_binary_tensors_get_the_same_outputs(client):
    answer = client.post(INFER, json={"inputs": [tensor(data=PAST.ravel().tolist())]}).json()
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("future", "FP32", [2, 1, 30, 42, 3])
    assert "id" not in answer
    body, headers = binary(parameters={"binary_data_output": True})
    response = client.post(INFER, content=gzip.compress(body), headers=headers)
    head = int(response.headers[LENGTH])
    (described,) = json.loads(response.content[:head])["outputs"]
    assert described["parameters"]["binary_data_size"] == len(response.content) - head
    np.testing.assert_allclose(np.frombuffer(response.content[head:], "<f4"), output["data"], atol=1e-6)


def test_a_turned_input_gets_the_turned_output(client):
    turn = rotation(np.random.default_rng(1))
    outputs = [
        np.array(client.post(INFER, json={"inputs": [tensor(past)]}).json()["outputs"][0]["data"]).reshape(-1, 3)
        for past in (PAST, turn(PAST))
    ]
    np.testing.assert_allclose(outputs[1], turn(outputs[0]), atol=1e-5)


BAD = np.where(np.arange(PAST.size).reshape(PAST.shape) == 5, np.nan, PAST)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "malformed-body"),
        ({}, "invalid-request"),
        ({"inputs": []}, "wrong-shape"),
        ({"inputs": [tensor(name="future")]}, "wrong-shape"),
        ({"inputs": [tensor(), tensor()]}, "invalid-request"),
        ({"inputs": [tensor(PAST[:, :9])]}, "wrong-shape"),
        ({"inputs": [tensor(PAST.astype(np.float64))]}, "wrong-shape"),
        ({"inputs": [tensor(datatype="FP16")]}, "invalid-request"),
        ({"inputs": [tensor(shape=[2, 30, 42, 4])]}, "wrong-shape"),
        ({"inputs": [tensor(shape=[0, 30, 42, 3])]}, "wrong-shape"),
        ({"inputs": [tensor(data=[["1"] * 3])]}, "invalid-request"),
        ({"inputs": [tensor(data=[[1], [2, 3]])]}, "invalid-request"),
        ({"inputs": [tensor(data=[True])]}, "invalid-request"),
        ({"inputs": [tensor(data=None)]}, "invalid-request"),
        ({"inputs": [tensor()], "outputs": [{"name": "past"}]}, "invalid-request"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "a"})]}, "invalid-request"),
        ({"inputs": [tensor(parameters={"binary_data_size": 4})]}, "wrong-shape"),
    ],
    ids=range(17),
)
def test_a_wrong_request_is_refused_in_the_shape_of_the_protocol(client, body, kind):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    problem = problem_of(client.post(INFER, content=content), kind)
    assert problem["error"] == problem["detail"]


def test_numbers_that_are_not_finite_are_refused(client):
    body, headers = binary(BAD.astype(np.float32))
    assert "past" in problem_of(client.post(INFER, content=body, headers=headers), "not-finite")["error"]
    large = {"inputs": [tensor(data=[1e39] * PAST.size)]}  # beyond float32
    problem_of(client.post(INFER, json=large), "not-finite")


@pytest.mark.parametrize("length", ["x", "-1", "999999999", "1"])
def test_a_wrong_length_of_the_json_is_refused(client, length):
    body, headers = binary()
    problem_of(client.post(INFER, content=body, headers={**headers, LENGTH: length}), "malformed-body")


def test_bytes_beyond_the_tensors_are_refused(client):
    body, headers = binary()
    problem_of(client.post(INFER, content=body + b"more", headers=headers), "malformed-body")


def test_indices_beyond_their_level_are_refused(client, bundles):
    given, _ = read_bundle(bundles / "face-shells").example()
    for name in ("neighbours", "parents"):
        wrong = {**given, name: np.full_like(given[name], given["points"].shape[1])}
        inputs = [tensor(array, key) for key, array in wrong.items()]
        problem_of(client.post("/v2/models/face-shells/infer", json={"inputs": inputs}), "out-of-range")


def test_limits_hold_for_tensors_too(bundles):
    settings = Settings(bundles=bundles, max_items=1, max_items_bytes=300_000)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        body, headers = binary()
        problem_of(client.post(INFER, content=body, headers=headers), "too-many-items")
        problem = problem_of(client.post(INFER, content=b" " * 300_001), "body-too-large")
        assert "CHIRON_MAX_ITEMS_BYTES" in problem["error"]


def test_health_and_readiness_have_the_fields_that_kserve_s_client_reads(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    model = client.get("/v2/models/hands-thirty").json()
    for path in ("/v2/models/hands-thirty", f"/v2/models/hands-thirty/versions/{model['versions'][0]}"):
        assert client.get(f"{path}/ready").json() == {"name": "hands-thirty", "ready": True}


def test_health_is_open_and_all_else_needs_a_key(bundles, tmp_path):
    path = tmp_path / "keys.json"
    jobs, infer = (add_key(path, scope, (scope,)) for scope in ("jobs", "infer"))
    with TestClient(create_app(Settings(bundles=bundles, keys_file=path)), raise_server_exceptions=False) as client:
        assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
        assert problem_of(client.get("/v2"), "unauthorized")["error"]
        problem_of(client.post(INFER, headers={"x-api-key": jobs}), "forbidden")
        assert client.post(INFER, json={"inputs": [tensor()]}, headers={"x-api-key": infer}).status_code == 200
