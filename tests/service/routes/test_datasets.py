"""Tests of /datasets: registration, upload, checks and removal."""

import io
import json
import os
import shutil
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from fastapi.testclient import TestClient
from waiting import PATIENCE_S

from models.contract.spec import TrainSpec
from service.app import create_app
from service.jobs import archives
from service.jobs.database import open_database
from service.jobs.datasets import DatasetTable, UnknownDataset
from service.jobs.table import JobTable
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.settings import Settings

from ..exchange import problem_of

ZIP = {"content-type": "application/zip"}
MAX_BYTES = 3_000_000


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def settings(tmp_path, root, bundles, data_folder) -> Settings:
    state = tmp_path / "state"
    return Settings(
        bundles=bundles, state=state, data=data_folder, data_root=root, max_dataset_bytes=MAX_BYTES, lease_s=60
    )


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def files(data: Path) -> dict[str, bytes]:
    """Return the files of a data set of hands with the recordings of tzionas."""
    splits = json.loads((data / "hands" / "splits.json").read_text())
    return {
        "hands/splits.json": json.dumps({"tzionas": splits["tzionas"]}).encode(),
        "hands/tzionas/tzionas.npz": (data / "hands" / "tzionas" / "tzionas.npz").read_bytes(),
        "README.md": b"a part of the real data",
    }


def zipped(content: dict[str, bytes], **changes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = changes.get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def uploads(settings: Settings) -> list[Path]:
    return list(settings.datasets.iterdir())


def checked(client: TestClient, settings: Settings, name: str) -> Any:
    """Run a worker's check of a data set; return the data set."""
    attempt_job(settings, client.get(f"/datasets/{name}").json()["job"], "me", run_kind)
    return client.get(f"/datasets/{name}").json()


def test_an_uploaded_data_set_can_be_used_after_its_check(client, settings, data_folder):
    answer = client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == "/datasets/own"
    assert (answer.json()["state"], answer.json()["source"]) == ("checking", "upload")
    spec = {"kind": "train", "run": "hands-eqmotion", "dataset": "own"}
    assert "checking" in problem_of(client.post("/jobs", json=spec), "dataset-not-ready")["detail"]
    ready = checked(client, settings, "own")
    assert ready["state"] == "ready", ready
    assert set(ready["counts"]["hands"]) == {"tzionas"}
    assert ready["counts"]["hands"]["tzionas"]["train"] > 0
    assert client.get("/datasets").json()["datasets"] == [ready]
    assert client.post("/jobs", json=spec).status_code == 202
    problem_of(client.post("/jobs", json={**spec, "dataset": "none"}), "unknown-dataset")
    again = client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
    problem_of(again, "dataset-exists")
    assert len(uploads(settings)) == 1, "expected no partial upload"


def test_only_folders_below_the_allowed_root_can_be_registered(client, settings, root, data_folder, tmp_path):
    for name, content in files(data_folder).items():
        (root / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / name).write_bytes(content)
    (root / "out").symlink_to(tmp_path)
    (root / "linked").mkdir()
    (root / "linked" / "passwd.txt").symlink_to("/etc/passwd")
    (root / "file.txt").write_text("x")
    for folder in ("../state", "/etc", "out", "linked", "none", "file.txt", "mine/../..", "a\0b", "x" * 5000):
        problem_of(client.post("/datasets", json={"name": "mine", "folder": folder}), "folder-refused")
    assert client.get("/datasets").json()["datasets"] == []
    assert client.post("/datasets", json={"name": "mine", "folder": "mine"}).json()["source"] == "folder"
    ready = checked(client, settings, "mine")
    assert ready["state"] == "ready", ready
    assert str(root) not in json.dumps(ready)
    problem_of(client.post("/datasets", json={"name": "mine", "folder": "mine"}), "dataset-exists")


def test_no_folder_can_be_registered_without_an_allowed_root(settings):
    with TestClient(create_app(settings.model_copy(update={"data_root": None}))) as client:
        answer = client.post("/datasets", json={"name": "a", "folder": "."})
        assert "CHIRON_DATA_ROOT" in problem_of(answer, "folder-refused")["detail"]


PICKLE = b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."


def objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **dict.fromkeys(("joints", "valid", "timestamp", "seq_start", "seq_name", "label"),
                                     np.array([{"a": 1}], dtype=object)))  # fmt: skip
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hands/splits.json": b"{"}, "JSONDecodeError"),
        ({"hands/splits.json": b"[1]"}, "hands/splits.json"),
        ({"hands/splits.json": b'{"other": {"train": []}}'}, "no file"),
        ({"hands/splits.json": b'{"tzionas": {"train": ["nobody"]}}'}, "nobody"),
        ({"hands/tzionas/tzionas.npz": b"PK no npz"}, ""),
        ({"hands/tzionas/tzionas.npz": objects()}, "expected numbers or text, got objects"),
        ({"hands/splits.json": None}, "hands/splits.json"),
    ],
    ids=["no json", "a list", "another source", "unknown recordings", "no npz", "objects", "no splits"],
)
def test_an_unreadable_data_set_is_refused_with_the_reason(client, settings, data_folder, change, message):
    content = {name: data for name, data in (files(data_folder) | change).items() if data is not None}
    assert client.post("/datasets?name=own", content=zipped(content), headers=ZIP).status_code == 202
    refused = checked(client, settings, "own")
    assert refused["state"] == "refused"
    job = client.get(f"/jobs/{refused['job']}").json()
    assert message in f"{job['error']['type']}: {refused['reason']}"
    spec = TrainSpec(run="hands-eqmotion", dataset="own").model_dump(mode="json")
    assert "refused" in problem_of(client.post("/jobs", json=spec), "dataset-not-ready")["detail"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a complete .zip"),
        (b"PK\x03\x04", "not a complete .zip"),
        (zipped({}), "at least one file"),
        (zipped({"../evil.txt": b"x"}), "not a plain relative path"),
        (zipped({"/etc/evil.txt": b"x"}), "not a plain relative path"),
        (zipped({"a\\..\\evil.txt": b"x"}), "not a plain relative path"),
        (zipped({"C:evil.txt": b"x"}), "not a plain relative path"),
        (zipped({"a\nb.txt": b"x"}), "not a plain relative path"),
        (zipped({"link.txt": b"/etc/passwd"}, **{"link.txt": stat.S_IFLNK | 0o777}), "a link"),
        (zipped({"a.pkl": PICKLE}), "pickles are never accepted"),
        (zipped({"body/kinetics/val_label.pkl": PICKLE}), "pickles are never accepted"),
        (zipped({"a.txt": b"", "a.txt/b.txt": b"x"}), "inside another file"),
        (zipped({"/".join("a" * 9) + "/b.txt": b"x"}), "8 levels of folders"),
        (zipped({"x" * 300 + ".txt": b"x"}), "at most 200 bytes"),
        (zipped({"zeros.txt": bytes(2_000_000)}), "the limit is 500 times"),
        (zipped({"zeros.txt": bytes(4_000_000)}), "at most 3000000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_with_unsafe_entries_is_refused_and_leaves_no_files(client, settings, tmp_path, content, message):
    problem = problem_of(client.post("/datasets?name=own", content=content, headers=ZIP), "archive-refused")
    assert message in problem["detail"]
    assert list(settings.datasets.iterdir()) == []
    assert client.get("/datasets").json()["datasets"] == []
    assert not any(path.name.startswith("evil") for path in tmp_path.rglob("*"))


def test_oversized_uploads_and_invalid_names_are_refused(client):
    problem_of(client.post("/datasets?name=own", content=b"x" * (MAX_BYTES + 1), headers=ZIP), "body-too-large")
    for name in ("", "../a", "A", "a" * 65, "a b"):
        problem_of(client.post("/datasets", params={"name": name}, content=b"x", headers=ZIP), "invalid-request")
        problem_of(client.post("/datasets", json={"name": name, "folder": "."}), "invalid-request")
    for body in (b"{", b"[]", b'{"name": 1, "folder": "."}', b'{"name": "a", "folder": ".", "more": 1}'):
        answer = client.post("/datasets", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.json()["type"] in ("/problems/malformed-body", "/problems/invalid-request")
    problem_of(client.post("/datasets", content=b"x", headers={"content-type": "text/csv"}), "unsupported-media-type")
    problem_of(client.get("/datasets/none"), "unknown-dataset")


def test_a_full_disk_is_reported_and_leaves_no_files(client, settings, data_folder, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "unpack", full)
    answer = client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
    assert "No space" in problem_of(answer, "disk-full")["detail"]
    assert list(settings.datasets.iterdir()) == []
    shutil.rmtree(settings.datasets)


def test_an_upload_is_refused_early_if_the_disk_has_little_space(settings, data_folder):
    full = settings.model_copy(update={"min_free_bytes": 1 << 60})
    with TestClient(create_app(full)) as client:
        answer = client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
        assert "chiron prune" in problem_of(answer, "disk-full")["detail"]
        assert not settings.datasets.exists()


def test_data_sets_of_faces_and_bodies_can_be_uploaded(settings, data_folder, tmp_path):
    content = {
        path.relative_to(data_folder).as_posix(): path.read_bytes()
        for folder in ("faces/raw_scans", "faces/facefuns_composites", "body/jhmdb", "body/cameras")
        for path in (data_folder / folder).iterdir()
    }
    clip = dict.fromkeys(("x", "y", "visibility"), np.ones((3, 13))) | {"train": 1, "action": "bowl"}
    scipy.io.savemat(tmp_path / "0001.mat", clip)
    content["body/penn_action/labels/0001.mat"] = (tmp_path / "0001.mat").read_bytes()
    content["facescape/1/models_reg/1_neutral.obj"] = b"v 0 0 0"
    settings = settings.model_copy(update={"max_dataset_bytes": 1 << 25})
    with TestClient(create_app(settings)) as client:
        assert client.post("/datasets?name=all", content=zipped(content), headers=ZIP).status_code == 202
        (folder,) = uploads(settings)
        shutil.rmtree(folder / "facescape")  # too small to be a data set of FaceScape
        counts = checked(client, settings, "all")["counts"]
    assert sum(counts["faces"]["facefuns"].values()) == 7
    assert sum(counts["body"]["jhmdb"].values()) == 609
    assert counts["body"]["penn_action"] == {"train": 1, "validation": 0, "test": 0}


# --- removal ---


def registered(client: TestClient, settings: Settings, root: Path, data: Path) -> None:
    """Upload the data set `own`, register the folder `mine`, and check both."""
    for name, content in files(data).items():
        (root / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / name).write_bytes(content)
    client.post("/datasets", json={"name": "mine", "folder": "mine"})
    client.post("/datasets?name=own", content=zipped(files(data)), headers=ZIP)
    assert {checked(client, settings, name)["state"] for name in ("mine", "own")} == {"ready"}


def test_removal_deletes_an_upload_and_keeps_a_registered_folder(client, settings, root, data_folder):
    registered(client, settings, root, data_folder)
    before = sorted(path for path in root.rglob("*"))
    checks = [client.get(f"/datasets/{name}").json()["job"] for name in ("mine", "own")]
    for name in ("mine", "own"):
        answer = client.delete(f"/datasets/{name}")
        assert (answer.status_code, answer.content) == (204, b"")
        problem_of(client.get(f"/datasets/{name}"), "unknown-dataset")
        problem_of(client.delete(f"/datasets/{name}"), "unknown-dataset")
    assert client.get("/datasets").json()["datasets"] == []
    assert uploads(settings) == []
    assert sorted(path for path in root.rglob("*")) == before
    for job in checks:
        assert client.get(f"/jobs/{job}").json()["state"] == "succeeded", "expected finished jobs to be kept"
    assert client.post("/datasets", json={"name": "own", "folder": "mine"}).status_code == 202, (
        "expected the name to be available again"
    )
    problem_of(client.delete("/datasets/none"), "unknown-dataset")


def test_the_name_of_a_removed_data_set_can_be_used_again(client, settings, data_folder):
    for splits in (b"{", files(data_folder)["hands/splits.json"]):
        content = files(data_folder) | {"hands/splits.json": splits}
        assert client.post("/datasets?name=own", content=zipped(content), headers=ZIP).status_code == 202
        if checked(client, settings, "own")["state"] == "refused":
            assert client.delete("/datasets/own").status_code == 204
    assert client.get("/datasets/own").json()["state"] == "ready"


def test_a_data_set_in_use_cannot_be_removed(client, settings, root, data_folder):
    client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
    detail = problem_of(client.delete("/datasets/own"), "wrong-state")["detail"]
    assert "the check job" in detail
    assert "queued" in detail
    checked(client, settings, "own")
    table = JobTable(open_database(settings.database), lease_s=60)
    train = client.post("/jobs", json={"kind": "train", "run": "hands-eqmotion", "seeds": [3], "dataset": "own"}).json()
    problem_of(client.delete("/datasets/own"), "wrong-state")
    lease = table.claim(train["id"], "me")
    assert lease is not None
    assert f"{train['id']}, which is running" in problem_of(client.delete("/datasets/own"), "wrong-state")["detail"]
    client.post(f"/jobs/{train['id']}/cancel")
    assert "cancelling" in problem_of(client.delete("/datasets/own"), "wrong-state")["detail"]
    table.finish(lease, "succeeded", result={})
    for more in ({"job": train["id"]}, {}, {"dataset": "own", "seeds": [3, 4]}):
        spec = {"kind": "evaluate", "run": "hands-eqmotion", "seeds": [3]} | more
        measured = client.post("/jobs", json=spec).json()
        assert "the evaluate job" in problem_of(client.delete("/datasets/own"), "wrong-state")["detail"], more
        client.post(f"/jobs/{measured['id']}/cancel")
    for spec in ({"kind": "evaluate", "run": "hands-eqmotion", "seeds": [5]}, {"kind": "train", "run": "poses-lift"}):
        assert client.post("/jobs", json=spec).status_code == 202
    assert client.delete("/datasets/own").status_code == 204, "expected jobs on other data sets to be irrelevant"
    job = client.get(f"/jobs/{train['id']}").json()
    assert (job["state"], job["spec"]["dataset"]) == ("succeeded", "own")


def test_a_job_never_uses_a_later_data_set_of_the_same_name(client, settings, root, data_folder):
    registered(client, settings, root, data_folder)
    job = client.post("/jobs", json={"kind": "train", "run": "hands-eqmotion", "dataset": "own"}).json()
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete("/datasets/own").status_code == 204
    assert client.post(f"/jobs/{job['id']}/retry").status_code == 200
    attempt_job(settings, job["id"], "me", run_kind)
    failed = client.get(f"/jobs/{job['id']}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["type"] == "UnknownDataset"
    assert failed["error"]["detail"] == "no data set 'own'; there are mine"
    assert client.post("/datasets", json={"name": "own", "folder": "mine"}).status_code == 202
    engine = open_database(settings.database)
    table = DatasetTable(engine, JobTable(engine, lease_s=60))
    requested_at = JobTable(engine, lease_s=60).get(job["id"]).created_at
    with pytest.raises(UnknownDataset, match="'own' of this job was removed"):
        table.get("own", requested_at=requested_at)
    assert table.get("mine", requested_at=requested_at).state == "ready"


def test_leftover_files_of_a_crash_are_deleted_at_the_next_start(settings, root, data_folder):
    with TestClient(create_app(settings)) as client:
        registered(client, settings, root, data_folder)
        engine = open_database(settings.database)
        DatasetTable(engine, JobTable(engine, lease_s=60)).remove("own")  # and the process crashed here
        (left,) = uploads(settings)
        assert client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP).status_code == 202
    leftovers = [left, *(settings.datasets / name for name in (f".{'a' * 32}.zip", f".own.{'b' * 32}.part"))]
    leftovers[1].write_bytes(b"PK")
    (leftovers[2] / "hands").mkdir(parents=True)
    young, others = settings.datasets / f".{'c' * 32}.zip", settings.datasets / "of-the-operator"
    young.touch()
    others.mkdir()
    for path in uploads(settings):
        if path != young:
            os.utime(path, (1, 1))
    with TestClient(create_app(settings)) as client:
        eventually(lambda: not any(path.exists() for path in leftovers))
        assert checked(client, settings, "own")["state"] == "ready"
    assert len(uploads(settings)) == 3, "expected the data set, an upload in progress, and an unrelated folder"


def eventually(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_folder_of_uploads_cannot_be_registered(client, settings, data_folder):
    client.post("/datasets?name=own", content=zipped(files(data_folder)), headers=ZIP)
    (upload,) = uploads(settings)
    inside = settings.model_copy(update={"data_root": settings.state})
    with TestClient(create_app(inside)) as client:
        for folder in (".", "datasets", f"datasets/{upload.name}", f"datasets/{upload.name}/hands"):
            answer = client.post("/datasets", json={"name": "again", "folder": folder})
            assert "overlaps the folder of uploads" in problem_of(answer, "folder-refused")["detail"]


def test_removal_requires_a_key(settings):
    with TestClient(create_app(settings.model_copy(update={"api_keys": ("key",)}))) as client:
        problem_of(client.delete("/datasets/own"), "unauthorized")
        problem_of(client.delete("/datasets/own", headers={"x-api-key": "key"}), "unknown-dataset")
