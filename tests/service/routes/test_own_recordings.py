"""Tests of the way from uploaded recordings of one's own to an answer: upload, check, train, promote, forecast."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from own_bodies import bvh, declare
from own_bodies import write_set as write_bodies
from own_hands import motion, write_set
from waiting import until

from service.app import create_app
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.settings import Settings

from ..exchange import problem_of

ZIP = {"content-type": "application/zip"}
SMALL = {"channels": 4, "hidden": 4, "products": 2, "layers": 1, "curves": 1}
TRAIN = {
    "kind": "train",
    "run": "hands-own",
    "dataset": "wave",
    "preset": "10+10@30",
    "steps": 4,
    "network": SMALL,
    "device": "cpu",
}


@pytest.fixture
def settings(tmp_path: Path, bundles: Path) -> Settings:
    (tmp_path / "data/hands").mkdir(parents=True)
    return Settings(bundles=bundles, state=tmp_path / "state", data=tmp_path / "data", lease_s=60)


@pytest.fixture
def client(settings: Settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def upload(client: TestClient, settings: Settings, folder: Path, name: str) -> Any:
    """Upload the files of a folder; return the data set after its check."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    answer = client.post(f"/datasets?name={name}", content=buffer.getvalue(), headers=ZIP)
    assert answer.status_code == 202, answer.text
    attempt_job(settings, answer.json()["job"], "me", run_kind)
    return client.get(f"/datasets/{name}").json()


def test_uploaded_recordings_of_bodies_become_a_model(client: TestClient, settings: Settings, tmp_path: Path):
    captured = declare(write_bodies(tmp_path / "captured", recordings=0), units="cm")
    for number in range(3):
        (captured / f"{number}.bvh").write_text(bvh())
    assert upload(client, settings, captured, "captured")["state"] == "ready"
    ready = upload(client, settings, write_bodies(tmp_path / "lab", frames=80), "people")
    assert ready["state"] == "ready", ready
    assert ready["counts"] == {"body": {"studio": {"train": 4, "validation": 1, "test": 1}}}
    spec = {"kind": "train", "run": "poses-own", "dataset": "people", "steps": 2, "device": "cpu"}
    job = client.post("/jobs", json=spec).json()["id"]
    attempt_job(settings, job, "me", run_kind)
    done = client.get(f"/jobs/{job}").json()
    assert done["state"] == "succeeded", done["error"]
    assert done["result"]["model"] == "poses-studio"
    version = done["result"]["version"]
    assert client.post(f"/models/poses-studio/versions/{version}/promote").status_code == 200
    until("the model", lambda: client.get("/models/poses-studio").status_code == 200)
    described = client.get("/models/poses-studio").json()
    assert (described["licence"], described["trained_on"][0]["name"]) == ("CC0-1.0", "studio")


def test_uploaded_recordings_become_a_model_that_answers(client: TestClient, settings: Settings, tmp_path: Path):
    ready = upload(client, settings, write_set(tmp_path / "lab", frames=40), "wave")
    assert ready["state"] == "ready", ready
    assert ready["counts"] == {"hands": {"lab": {"train": 4, "validation": 1, "test": 1}}}
    job = client.post("/jobs", json=TRAIN).json()["id"]
    attempt_job(settings, job, "me", run_kind)
    done = client.get(f"/jobs/{job}").json()
    assert done["state"] == "succeeded", done["error"]
    assert done["progress"]["loss"] > 0
    version = done["result"]["version"]
    assert done["result"]["model"] == "hands-lab"
    assert client.post(f"/models/hands-lab/versions/{version}/promote").status_code == 200
    until("the model", lambda: client.get("/models/hands-lab").status_code == 200)
    described = client.get("/models/hands-lab").json()
    assert described["licence"] == "CC0-1.0"
    assert [one["name"] for one in described["trained_on"]] == ["lab"]
    past = motion(10).tolist()
    body = {"fps": 30, "joints": "mediapipe", "model": "hands-lab", "right": past}
    answer = client.post("/forecast/hands", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["right"]) == 10
    both = client.post("/forecast/hands", json={**body, "left": past})
    assert both.status_code == 200, "expected a model of one hand to forecast two"
    with client.websocket_connect("/forecast/hands/stream") as stream:
        stream.send_json({"fps": 30, "joints": "mediapipe", "model": "hands-lab", "at": [0.1], "hands": ["right"]})
        assert stream.receive_json()["kind"] == "ready"
        answers = []
        for points in past:
            stream.send_json({"right": points})
            answers.append(stream.receive_json())
    assert (answers[-1]["kind"], len(answers[-1]["right"])) == ("forecast", 1)


def test_wrong_recordings_are_refused_with_the_file_and_wrong_jobs_at_once(
    client: TestClient, settings: Settings, tmp_path: Path
):
    refused = upload(client, settings, write_set(tmp_path / "mm", units="mm"), "mm")
    assert refused["state"] == "refused"
    assert "wave-0.jsonl: expected a hand of 8 cm to 32 cm" in refused["reason"]
    problem_of(client.post("/jobs", json={**TRAIN, "dataset": "mm"}), "dataset-not-ready")
    spec = {name: value for name, value in TRAIN.items() if name != "dataset"}
    problem = problem_of(client.post("/jobs", json=spec), "invalid-request")
    assert "expected a dataset for hands-own" in str(problem)
    for field, value in {"name": "Mine!", "base": "../x", "base ": "a"}.items():
        problem_of(client.post("/jobs", json={**TRAIN, field: value}), "invalid-request")


def test_a_job_that_does_not_fit_its_recordings_fails_before_a_step(
    client: TestClient, settings: Settings, tmp_path: Path
):
    upload(client, settings, write_set(tmp_path / "lab", frames=40), "wave")
    for changes, message in (
        ({"preset": "30+30@30"}, "expected train windows of 30+30@30, got none from 4 recordings: 4 are too short"),
        ({"base": "hands-unsure"}, "expected the task of hands-unsure"),
        ({"architecture": "Transformer"}, "expected a network, one of"),
    ):
        job = client.post("/jobs", json={**TRAIN, **changes}).json()["id"]
        attempt_job(settings, job, "me", run_kind)
        failed = client.get(f"/jobs/{job}").json()
        assert failed["state"] == "failed"
        assert message in failed["error"]["detail"], failed["error"]
        assert failed["progress"] is None
