"""Tests of served models: accepted and refused bundles, defaults, retries, and the choice of a device."""

import re
import shutil
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from waiting import until

from models.contract.bundle import EXAMPLE, META, MODEL, BadBundle
from models.contract.runtime import onnxruntime
from models.contract.task import HandForecast
from service.app import create_app
from service.http.problems import QueueFull
from service.inference.batcher import Batcher
from service.inference.model import load_model
from service.inference.predictor import CPU, CUDA, Predictor
from service.inference.served import ServedModels, Snapshot
from service.settings import Settings
from service.telemetry.metrics import Metrics

from ..conftest import make_hands
from ..exchange import CLOUD, FACE_URL, HANDS_URL, NPY, npy, problem_of
from ..places import corrupt

BODY = {"fps": 30, "past": moving_hands(30, hands=1).tolist()}


@pytest.fixture
def copied(bundles, tmp_path):
    """Copy the bundles of hands and faces, for tests that damage them."""
    bodies = shutil.ignore_patterns("lift-*", "poses-*", "actions-*")
    return shutil.copytree(bundles, tmp_path / "bundles", ignore=bodies)


def serving(folder, **options) -> TestClient:
    return TestClient(create_app(Settings(bundles=folder, **options)), raise_server_exceptions=False)


@pytest.mark.parametrize("file", [MODEL, EXAMPLE])
def test_a_bundle_with_a_wrong_checksum_is_refused_while_the_others_serve(copied, file):
    corrupt(copied / "hands-modes", file)
    with serving(copied) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["models"]["hands-thirty"] == "ready"
        assert "checksum differs" in ready.json()["models"]["hands-modes"]
        assert client.post(HANDS_URL, json=BODY).status_code == 200
        refused = client.post(HANDS_URL, json={**BODY, "model": "hands-modes"})
        assert "checksum differs" in problem_of(refused, "not-ready")["detail"]
        assert refused.headers["retry-after"]
        listed = client.get("/models/hands-modes").json()
        assert listed["state"] == "refused"
        assert str(copied) not in listed["reason"], "expected an answer without paths of the server"


def test_a_bundle_that_does_not_repeat_its_example_is_refused(copied, monkeypatch):
    monkeypatch.setattr("models.contract.bundle.EXAMPLE_TOLERANCE", -1.0)
    with serving(copied) as client:
        assert "does not repeat its example" in problem_of(client.get("/readyz"), "not-ready")["detail"]


def test_a_bundle_in_a_folder_of_another_name_is_refused(copied):
    (copied / "hands-modes").rename(copied / "hands-renamed")
    with serving(copied) as client:
        assert "got hands-modes" in client.get("/readyz").json()["models"]["hands-renamed"]


def test_a_folder_without_bundle_json_is_refused_and_a_hidden_folder_is_ignored(copied):
    (copied / "hands-modes" / META).unlink()
    (copied / ".half-written").mkdir()
    with serving(copied) as client:
        states = client.get("/readyz").json()["models"]
    assert states["hands-modes"] == f"refused: expected a bundle at hands-modes, but it has no {META}"
    assert set(states) == {"face-shells", "hands-modes", "hands-thirty", "hands-unsure"}


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_service_without_models_is_alive_but_not_ready(tmp_path, make):
    make(tmp_path / "bundles")
    with serving(tmp_path / "bundles") as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        problem_of(client.get("/readyz"), "not-ready")
        problem_of(client.post(HANDS_URL, json=BODY), "not-ready")
        assert client.get("/models").json() == {"defaults": {}, "models": []}


def test_without_figures_to_compare_the_default_model_is_the_first_by_name(bundles):
    with serving(bundles) as client:
        assert client.get("/models").json()["defaults"] == {
            "action-recognition": "actions-3d",
            "face-landmarks": "face-shells",
            "hand-forecast": "hands-modes",
            "pose-forecast": "poses-onwards",
            "pose-lift": "lift-means",
        }
        assert client.post(HANDS_URL, json=BODY).json()["model"]["name"] == "hands-modes"


@pytest.mark.parametrize(("chosen", "expected"), [(None, "shells"), ("maps", "maps")])
def test_kinds_of_one_endpoint_have_one_default_which_is_the_one_that_answers(tmp_path, chosen, expected):
    kinds = ("face-landmarks", "face-map")
    served = ServedModels(Settings(bundles=tmp_path, state=tmp_path, default_model=chosen), Metrics())
    models: Any = {
        "shells": SimpleNamespace(name="shells", kind=kinds[0], preference=()),
        "maps": SimpleNamespace(name="maps", kind=kinds[1], preference=()),
    }
    served.snapshot = Snapshot(models=models)
    assert served.defaults([kinds, ("hand-forecast",)]) == dict.fromkeys(kinds, expected)
    assert served.default(*kinds) == expected
    served.snapshot = Snapshot(models={"maps": models["maps"]})
    assert served.defaults([kinds]) == {"face-map": "maps"}


def test_a_model_that_wins_by_its_card_is_the_default_and_the_list_says_how_it_stands(copied):
    make_hands(copied, "hands-winner", HandForecast(past=30, future=30, fps=30), baseline=25.0)
    with serving(copied) as client:
        listed = client.get("/models").json()
        assert listed["defaults"]["hand-forecast"] == "hands-winner"
        assert client.post(HANDS_URL, json=BODY).json()["model"]["name"] == "hands-winner"
    standings = {model["name"]: model["beside_baselines"] for model in listed["models"]}
    assert standings["hands-winner"] == {"rows": 1, "better": 1, "ratio": 0.5}
    assert standings["hands-modes"] is None


@pytest.mark.parametrize("chosen", ["hands-thirty", "face-shells"])
def test_a_configured_default_does_not_change_the_defaults_of_other_kinds(bundles, chosen):
    with serving(bundles, default_model=chosen) as client:
        defaults = client.get("/models").json()["defaults"]
        assert defaults["face-landmarks"] == "face-shells"
        assert defaults["hand-forecast"] == ("hands-thirty" if chosen == "hands-thirty" else "hands-modes")
        assert client.post(HANDS_URL, json=BODY).json()["model"]["name"] == defaults["hand-forecast"]
        answer = client.post(FACE_URL, content=npy(CLOUD), headers={"content-type": NPY})
        assert answer.json()["model"]["name"] == "face-shells"


@pytest.mark.parametrize(("chosen", "other"), [("hands-thirty", FACE_URL), ("face-shells", HANDS_URL)])
def test_a_refused_default_is_not_replaced_and_other_kinds_are_served(copied, chosen, other):
    corrupt(copied / chosen, MODEL)
    with serving(copied, default_model=chosen) as client:
        hands = client.post(HANDS_URL, json=BODY)
        face = client.post(FACE_URL, content=npy(CLOUD), headers={"content-type": NPY})
        served, refused = (hands, face) if other == HANDS_URL else (face, hands)
        assert served.status_code == 200, served.text
        assert "checksum differs" in problem_of(refused, "not-ready")["detail"]
        assert client.get("/readyz").json()["status"] == "degraded"
        problem_of(client.get(f"/models/{chosen}/example"), "not-ready")


def test_a_service_without_a_model_of_one_kind_is_not_ready_and_serves_the_others(copied):
    shutil.rmtree(copied / "face-shells")
    with serving(copied) as client:
        answer = client.post(FACE_URL, content=npy(CLOUD), headers={"content-type": NPY})
        assert "no face-landmarks model is being served" in problem_of(answer, "not-ready")["detail"]
        assert client.get("/readyz").json()["status"] == "ready"
        assert client.get("/models").json()["defaults"] == {"hand-forecast": "hands-modes"}


def test_the_description_of_a_model_contains_its_metadata(client):
    model = client.get("/models/hands-thirty").json()
    assert model["state"] == "ready"
    assert model["task"] == {
        "kind": "hand-forecast", "past": 30, "future": 30, "fps": 30.0, "modes": 1, "order": "assembly101",
        "masked": False, "spread": False, "skeleton": None,
    }  # fmt: skip
    assert model["symmetries"] == ["translation", "rotation", "mirror-swap"]
    assert model["licence"] == "Apache-2.0"
    assert model["trained_on"][0]["name"] == "nothing"
    assert {m["split"] for m in model["measurements"]} == {"test", "validation"}
    assert model["provider"].endswith("ExecutionProvider")
    assert len(model["version"]) == 12
    assert model in client.get("/models").json()["models"]


def test_the_answer_of_a_full_service_has_retry_after(client, monkeypatch):
    async def refuse(*_: object, **__: object) -> None:
        raise QueueFull("9 requests are waiting, for about 12.0 s", 12.0)

    monkeypatch.setattr(Batcher, "submit", refuse)
    answer = client.post(HANDS_URL, json=BODY)
    problem_of(answer, "overloaded")
    assert 5 <= int(answer.headers["retry-after"]) <= 8


# --- temporary errors ---


def test_an_unreadable_bundle_is_served_once_it_can_be_read(copied, monkeypatch):
    failing = threading.Event()
    failing.set()

    def load(folder, name, *arguments):
        if failing.is_set() and name == "hands-modes":
            raise OSError(5, "Input/output error")
        return load_model(folder, name, *arguments)

    monkeypatch.setattr("service.inference.served.load_model", load)
    with serving(copied, reconcile_s=0.05) as client:
        model = client.get("/models/hands-modes").json()
        assert model["state"] == "refused"
        assert re.fullmatch(r"OSError: Input/output error; next attempt in \d+ s", model["reason"])
        assert client.get("/readyz").json()["status"] == "degraded"
        failing.clear()
        until("it is served", lambda: True if client.get("/readyz").json()["status"] == "ready" else None)
        assert client.get("/models/hands-modes").json()["reason"] is None


def test_the_delays_between_retries_grow_to_a_limit(tmp_path):
    models = ServedModels(Settings(bundles=tmp_path, state=tmp_path, reconcile_s=1.0), Metrics())
    pauses = []
    for _ in range(9):
        models._refuse("m", OSError(5, "Input/output error"), None)
        pauses.append(models.snapshot.retries["m"].pause_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_loading_an_invalid_bundle_is_not_retried(tmp_path):
    models = ServedModels(Settings(bundles=tmp_path, state=tmp_path), Metrics())
    models._refuse("m", OSError(5, "Input/output error"), None)
    models._refuse("m", BadBundle("its checksum differs"), None)
    assert models.snapshot.retries == {}


def test_a_description_does_not_fail_while_models_change(copied, tmp_path):
    """The event loop may change the models while a thread iterates over them."""
    models = ServedModels(Settings(bundles=copied, state=tmp_path), Metrics())
    snapshot = models.snapshot
    models._refuse("m", OSError(5, "Input/output error"), None)
    assert (snapshot.refused, snapshot.retries) == ({}, {})
    assert list(models.snapshot.refused) == ["m"]


# --- NaN ---


def test_a_bundle_with_nan_in_any_output_is_refused(copied, monkeypatch):
    run = Predictor.run

    def broken(self, tensors):
        outputs = run(self, tensors)
        last = list(outputs)[-1]
        return outputs | {last: np.full_like(outputs[last], np.nan)}

    monkeypatch.setattr(Predictor, "run", broken)
    with serving(copied) as client:
        problem_of(client.get("/readyz"), "not-ready")
        assert client.get("/models/face-shells").json()["state"] == "refused"


# --- an unusable GPU ---


@pytest.fixture
def without_libraries(monkeypatch):
    """Simulate a runtime with CUDA on a machine without CUDA's libraries."""
    session = onnxruntime.InferenceSession

    def open_session(*arguments, providers, **options):
        if providers[0][0] == CUDA:
            raise RuntimeError("libcublasLt.so.12: cannot open shared object file\nmore")
        return session(*arguments, providers=providers, **options)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)


def test_auto_falls_back_to_the_cpu_and_reports_it(copied, without_libraries):
    with serving(copied, device="auto") as client:
        model = client.get("/models/hands-thirty").json()
        assert (model["state"], model["provider"]) == ("ready", CPU)
        assert "libcublasLt.so.12: cannot open shared object file" in model["fallback"]
        ready = client.get("/readyz").json()
        assert ready["status"] == "degraded"
        assert ready["models"]["hands-thirty"] == "ready"
        assert ready["limitations"]["hands-thirty"].startswith(f"it runs on the CPU: {CUDA} cannot be used")
        labels = f'{{model="hands-thirty",version="{model["version"]}"}}'
        assert f"chiron_model_on_cpu_fallback{labels} 1.0" in client.get("/metrics").text
        assert client.post(HANDS_URL, json=BODY).status_code == 200


def test_cuda_refuses_to_fall_back(copied, without_libraries):
    with serving(copied, device="cuda") as client:
        assert "cannot be used: libcublasLt.so.12" in problem_of(client.get("/readyz"), "not-ready")["detail"]


def test_a_machine_without_a_gpu_is_not_reported(copied):
    with serving(copied, device="cpu") as client:
        assert client.get("/models/hands-thirty").json()["fallback"] is None
        ready = client.get("/readyz").json()
        assert (ready["status"], ready["limitations"]) == ("ready", {})
