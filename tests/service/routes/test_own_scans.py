"""Tests of the way from uploaded scans of one's own to a model: upload, check, train, publish."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from own_scans import as_mesh, face, write_scans
from waiting import until

from service.app import create_app
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.settings import Settings

from ..exchange import problem_of

TRAIN = {"kind": "train", "run": "faces-own", "dataset": "scans", "steps": 1, "device": "cpu"}


@pytest.fixture
def settings(tmp_path: Path, bundles: Path) -> Settings:
    (tmp_path / "data").mkdir()
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
    answer = client.post(
        f"/datasets?name={name}", content=buffer.getvalue(), headers={"content-type": "application/zip"}
    )
    assert answer.status_code == 202, answer.text
    attempt_job(settings, answer.json()["job"], "me", run_kind)
    return client.get(f"/datasets/{name}").json()


def test_uploaded_scans_become_a_version_of_a_model(client: TestClient, settings: Settings, tmp_path: Path):
    ready = upload(client, settings, write_scans(tmp_path / "clinic"), "scans")
    assert ready["state"] == "ready", ready
    assert ready["counts"] == {"faces": {"clinic": {"train": 4, "validation": 1, "test": 1}}}
    job = client.post("/jobs", json=TRAIN).json()["id"]
    attempt_job(settings, job, "me", run_kind)
    done = client.get(f"/jobs/{job}").json()
    assert done["state"] == "succeeded", done["error"]
    assert done["result"]["model"] == "face-clinic"
    version = done["result"]["version"]
    assert client.post(f"/models/face-clinic/versions/{version}/promote").status_code == 200
    until("the model", lambda: client.get("/models/face-clinic").status_code == 200)
    described = client.get("/models/face-clinic").json()
    assert (described["licence"], [one["name"] for one in described["trained_on"]]) == ("CC0-1.0", ["clinic"])


def test_wrong_scans_are_refused_with_the_file_and_wrong_jobs_at_once(
    client: TestClient, settings: Settings, tmp_path: Path
):
    folder = write_scans(tmp_path / "clinic")
    points, _ = face(7)
    (folder / "new.obj").write_text(as_mesh(points))
    refused = upload(client, settings, folder, "scans")
    assert refused["state"] == "refused"
    assert refused["reason"] == "new.obj: expected new.csv or new.mrk.json beside it, got neither"
    problem_of(client.post("/jobs", json=TRAIN), "dataset-not-ready")
    spec = {name: value for name, value in TRAIN.items() if name != "dataset"}
    for base, message in (("hands-unsure", "expected a model of the task face-landmarks"), ("none", "none")):
        assert message in str(problem_of(client.post("/jobs", json={**TRAIN, "base": base}), "invalid-request"))
    assert "expected a dataset for faces-own" in str(problem_of(client.post("/jobs", json=spec), "invalid-request"))
