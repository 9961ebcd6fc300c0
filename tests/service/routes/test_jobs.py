"""Tests of /jobs and /workers without a real worker."""

import json

import pytest
from fastapi.testclient import TestClient
from waiting import until

from models.contract.spec import TrainSpec
from service.app import create_app
from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database, writing
from service.jobs.offers import OfferTable
from service.jobs.table import JobTable
from service.jobs.workers import WorkerTable
from service.settings import Settings

from ..exchange import problem_of

SPEC = {"kind": "train", "run": "hands-eqmotion", "steps": 10}


@pytest.fixture
def settings(tmp_path, bundles) -> Settings:
    return Settings(bundles=bundles, state=tmp_path / "state", lease_s=60)


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def table(client, settings):
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=60)
    engine.dispose()


def test_an_accepted_job_reports_that_no_worker_is_connected(client):
    answer = client.post("/jobs", json=SPEC)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    shown = client.get(answer.headers["location"]).json()
    assert shown["state"] == "queued"
    assert (
        shown["detail"]
        == "no worker of queue cpu is connected; start one with `chiron worker`, or with `docker compose up -d worker`"
    )
    assert TrainSpec.model_validate(shown["spec"]) == TrainSpec.model_validate(SPEC)
    assert client.get("/jobs").json()["jobs"] == [shown]


def test_a_repeated_request_with_an_idempotency_key_returns_the_same_job(client):
    first, again = (client.post("/jobs", json=SPEC, headers={"idempotency-key": "k"}) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.status_code == 202
    other = client.post("/jobs", json={**SPEC, "steps": 11}, headers={"idempotency-key": "k"})
    assert first.json()["id"] in problem_of(other, "key-reused")["detail"]
    assert len(client.get("/jobs").json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("body", "kind", "pointer"),
    [
        (b"{", "malformed-body", None),
        (b"\xff", "malformed-body", None),
        (b"", "malformed-body", None),
        (b"[" * 5000, "malformed-body", None),
        (b'"' + b"x" * 70_000 + b'"', "body-too-large", None),
        ([], "invalid-request", ""),
        ({}, "invalid-request", "/kind"),
        ({"kind": "dance"}, "invalid-request", "/kind"),
        ({**SPEC, "steps": 0}, "invalid-request", "/steps"),
        ({**SPEC, "steps": "10"}, "invalid-request", "/steps"),
        ({**SPEC, "steps": True}, "invalid-request", "/steps"),
        ({**SPEC, "stpes": 1}, "invalid-request", "/stpes"),
        ({**SPEC, "seeds": [2**40]}, "invalid-request", "/seeds/0"),
        ({**SPEC, "seeds": [1, 1]}, "invalid-request", "/seeds"),
        ({**SPEC, "seeds": []}, "invalid-request", "/seeds"),
        ({**SPEC, "dataset": "../etc"}, "invalid-request", "/dataset"),
        ({**SPEC, "devices": 17}, "invalid-request", "/devices"),
        ({"kind": "train"}, "invalid-request", "/run"),
        ({"kind": "evaluate", "run": "r", "split": "train"}, "invalid-request", "/split"),
        ({"kind": "benchmark"}, "invalid-request", "/table"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_invalid_job_is_refused_with_a_pointer_to_the_error(client, body, kind, pointer):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    problem = problem_of(client.post("/jobs", content=content, headers={"content-type": "application/json"}), kind)
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
    assert client.get("/jobs").json()["jobs"] == []


def test_other_media_types_and_malformed_keys_are_refused(client):
    problem_of(client.post("/jobs", content=b"x", headers={"content-type": "text/plain"}), "unsupported-media-type")
    answer = client.post("/jobs", json=SPEC, headers={"idempotency-key": "two words"})
    assert "Idempotency-Key" in problem_of(answer, "invalid-request")["detail"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/jobs/none", "unknown-job"),
        ("/jobs/none/events", "unknown-job"),
        ("/jobs/none/artifacts", "unknown-job"),
        ("/jobs/none/artifacts/x", "unknown-job"),
        ("/jobs?after=none", "unknown-job"),
        ("/jobs?limit=0", "invalid-request"),
        ("/jobs?limit=x", "invalid-request"),
        ("/jobs?state=lost", "invalid-request"),
    ],
)
def test_unknown_jobs_and_invalid_parameters_are_problems(client, path, kind):
    problem_of(client.get(path), kind)


def test_the_problem_names_an_invalid_parameter(client):
    (error,) = problem_of(client.get("/jobs?limit=500"), "invalid-request")["errors"]
    assert error["pointer"] == "?limit"


def test_jobs_are_listed_in_pages_and_can_be_filtered(client):
    jobs = [client.post("/jobs", json=SPEC).json()["id"] for _ in range(3)]
    client.post(f"/jobs/{jobs[0]}/cancel")
    first = client.get("/jobs?limit=2").json()
    assert [job["id"] for job in first["jobs"]] == jobs[:0:-1]
    last = client.get(f"/jobs?limit=2&after={first['next']}").json()
    assert [job["id"] for job in last["jobs"]] == jobs[:1]
    assert last["next"] is None
    assert client.get("/jobs?limit=1&state=queued").json()["next"] is not None
    assert client.get("/jobs?limit=2&state=queued").json()["next"] is None, "expected no empty last page"
    assert client.get(f"/jobs?limit=2&after={jobs[1]}").json() == last, "expected the id of a job to work as before"
    assert [job["id"] for job in client.get("/jobs?state=cancelled").json()["jobs"]] == jobs[:1]
    assert client.get("/jobs?kind=benchmark").json()["jobs"] == []


def test_a_job_can_be_cancelled_and_retried_if_its_state_allows(client):
    job = client.post("/jobs", json=SPEC).json()["id"]
    assert "is queued" in problem_of(client.post(f"/jobs/{job}/retry"), "wrong-state")["detail"]
    assert client.post(f"/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/jobs/{job}/retry").json()["state"] == "queued"
    for what in ("cancel", "retry"):
        problem_of(client.post(f"/jobs/none/{what}"), "unknown-job")


def test_a_job_shows_its_progress_artifacts_and_error(client, table, settings):
    job = client.post("/jobs", json=SPEC).json()["id"]
    workers = WorkerTable(table._engine, lease_s=60)
    workers.register("w", ("cpu",), "cpu")
    assert "not yet sent to the broker" in client.get(f"/jobs/{job}").json()["detail"]
    lease = table.claim(job, "w")
    folder = artifacts.begin(settings.jobs, job, lease.attempt)
    (folder / "runs" / "r").mkdir(parents=True)
    (folder / "runs" / "r" / "history.jsonl").write_text("{}\n")
    table.report(lease, ("progress", {"step": 3, "steps": 10, "eta_s": 7.0}))
    running = client.get(f"/jobs/{job}").json()
    assert (running["state"], running["worker"], running["attempt"]) == ("running", "w", 1)
    assert running["progress"]["eta_s"] == 7.0
    other = client.post("/jobs", json=SPEC).json()
    assert other["detail"] == "waits for one of 1 busy workers of queue cpu"
    assert client.get("/workers").json()["workers"] == [
        {"name": "w", "queues": ["cpu"], "device": "cpu", "started_at": workers.workers()[0].started_at,
         "stopping": False, "job": job, "failed_starts": 0, "problem": None}
    ]  # fmt: skip
    (artifact,) = client.get(f"/jobs/{job}/artifacts").json()["artifacts"]
    assert artifact["name"] == "runs/r/history.jsonl"
    assert client.get(artifact["url"]).text == "{}\n"
    for name in ("none", "../../jobs.db", "%2e%2e/%2e%2e/jobs.db", "runs"):
        answer = client.get(f"/jobs/{job}/artifacts/{name}")
        assert answer.status_code == 404, answer.text
    error = {"type": "ValueError", "detail": "no", "lines": ["one", "two"]}
    table.finish(lease, "failed", error=error)
    failed = client.get(f"/jobs/{job}").json()
    assert failed["detail"] == "ValueError: no"
    assert failed["error"] == error
    metrics = client.get("/metrics").text
    assert 'chiron_jobs{queue="cpu",state="failed"} 1.0' in metrics
    assert 'chiron_jobs{queue="cpu",state="queued"} 1.0' in metrics
    assert 'chiron_workers{queue="cpu"} 1.0' in metrics
    assert 'chiron_workers{queue="gpu"} 0.0' in metrics


def test_an_event_stream_resumes_after_the_last_event_and_ends_with_the_job(client, table):
    job = client.post("/jobs", json=SPEC).json()["id"]
    lease = table.claim(job, "w")
    table.report(lease, ("metrics", {"score": 1.5}))
    table.finish(lease, "succeeded", result={"model": "m"})
    text = client.get(f"/jobs/{job}/events").text
    ids = [line for line in text.splitlines() if line.startswith("id: ")]
    assert ids == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert 'event: metrics\ndata: {"at":' in text
    assert client.get(f"/jobs/{job}/events", headers={"last-event-id": "2"}).text == text[text.index("id: 3") :]
    for wrong in ("x", "-1", "9" * 40, b"\xd9\xa3"):
        problem_of(client.get(f"/jobs/{job}/events", headers={"last-event-id": wrong}), "invalid-request")


def test_models_are_served_while_the_job_table_is_damaged(tmp_path, bundles):
    (tmp_path / "jobs.db").write_bytes(b"no database" * 1000)
    settings = Settings(bundles=bundles, state=tmp_path)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 200
        for answer in (client.get("/jobs"), client.post("/jobs", json=SPEC), client.get("/workers")):
            assert "not a database" in problem_of(answer, "jobs-unavailable")["detail"]


def test_no_request_asks_a_database_that_is_known_not_to_answer(settings, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("the job table cannot be used: no answer")

    def jobs_are(problem: str) -> bool | None:
        return True if client.get("/readyz").json()["jobs"] == problem else None

    eager = settings.model_copy(update={"reconcile_s": 0.05})
    with TestClient(create_app(eager), raise_server_exceptions=False) as client:
        with monkeypatch.context() as patched:
            patched.setattr(JobTable, "expire", fail)
            until("the outage is noticed", lambda: jobs_are("the job table cannot be used: no answer"))
            patched.setattr(JobTable, "jobs", lambda *_, **__: pytest.fail("the database was asked"))
            assert "no answer" in problem_of(client.get("/jobs"), "jobs-unavailable")["detail"]
            assert client.get("/readyz").json()["status"] == "degraded"
        until("its end is noticed", lambda: jobs_are("ready"))
        assert client.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "expected a body, got none"),
        (b"\xef\xbb\xbf{}", "expected JSON without a byte order mark, got one"),
        (b"{}", "/kind: expected one of train, sweep, evaluate, benchmark, check, got none"),
        (b'{"kind": "dance"}', "benchmark, check, got 'dance'"),
        (b'{"kind": "train", "run": "r", "steps": 0}', "/steps: expected a number greater than or equal to 1, got 0"),
        (b'{"kind": "train", "run": "r", "learning_rate": NaN}', "/learning_rate: expected a finite number, got nan"),
        (
            b'{"kind": "train", "run": "r", "network": {"a": null}}',
            "/network/a: expected a number, true, false, or a word",
        ),
        (b'{"kind": "train", "run": "r", "stpes": 1}', "/stpes: there is no such field"),
    ],
)
def test_a_refused_job_says_what_was_expected_and_what_came(client, body, detail):
    answer = client.post("/jobs", content=body, headers={"content-type": "application/json"})
    assert detail in answer.json()["detail"]


def test_a_run_or_table_that_no_worker_offers_is_refused_with_the_offered_names(client, table):
    unknown = {"kind": "train", "run": "no-such-run"}
    assert client.post("/jobs", json=unknown).status_code == 202, (
        "expected acceptance before a worker has reported its names"
    )
    offers = OfferTable(table._engine)
    offers.publish("run", ["hands-eqmotion", "poses-lift"])
    offers.publish("table", ["hands"])
    for spec, pointer in (
        (unknown, "/run"),
        ({"kind": "evaluate", "run": "no-such-run"}, "/run"),
        ({"kind": "benchmark", "table": "no-such-table"}, "/table"),
    ):
        problem = problem_of(client.post("/jobs", json=spec), "invalid-request")
        assert problem["errors"][0]["pointer"] == pointer
        assert "there are hands" in problem["detail"]
    assert client.post("/jobs", json=SPEC).status_code == 202
    assert client.post("/jobs", json={"kind": "benchmark", "table": "hands"}).status_code == 202
    offered = {"run": ["hands-eqmotion", "poses-lift"], "table": ["hands"], "architecture": []}
    assert client.get("/workers").json()["offers"] == offered


def test_failed_starts_of_child_processes_are_visible_in_jobs_workers_and_metrics(client, table):
    job = client.post("/jobs", json=SPEC).json()["id"]
    workers = WorkerTable(table._engine, lease_s=60)
    workers.register("w", ("cpu",), "cpu", failed_starts=3, problem="there is no data folder /data")
    (worker,) = client.get("/workers").json()["workers"]
    assert (worker["failed_starts"], worker["problem"]) == (3, "there is no data folder /data")
    detail = client.get(f"/jobs/{job}").json()["detail"]
    assert "no worker of queue cpu can start a process for it; 3 starts in a row have failed" in detail
    metrics = client.get("/metrics").text
    assert 'chiron_worker_failed_starts{queue="cpu"} 3.0' in metrics
    assert 'chiron_worker_problems{queue="cpu"} 1.0' in metrics
    workers.register("w", ("cpu",), "cpu", problem="there is no data folder /data")
    detail = client.get(f"/jobs/{job}").json()["detail"]
    assert detail == "not yet sent to the broker; its worker reports: there is no data folder /data"


def test_models_are_served_while_the_job_table_has_a_newer_schema(tmp_path, bundles):
    settings = Settings(bundles=bundles, state=tmp_path)
    engine = open_database(settings.database)
    with writing(engine) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    engine.dispose()
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert "newer than this program" in ready.json()["jobs"]
        assert "newer than this program" in problem_of(client.get("/jobs"), "jobs-unavailable")["detail"]
        assert client.get("/models").status_code == 200


def test_removing_a_finished_job_deletes_its_artifacts(client, table, settings):
    job = client.post("/jobs", json=SPEC).json()["id"]
    assert "cancel it first" in problem_of(client.delete(f"/jobs/{job}"), "wrong-state")["detail"]
    lease = table.claim(job, "w")
    folder = artifacts.begin(settings.jobs, job, lease.attempt)
    (folder / "table.md").write_text("| a table |")
    table.finish(lease, "succeeded", result={})
    assert client.delete(f"/jobs/{job}").status_code == 204
    problem_of(client.get(f"/jobs/{job}"), "unknown-job")
    problem_of(client.delete(f"/jobs/{job}"), "unknown-job")
    assert not folder.exists()


def test_jobs_are_refused_while_the_disk_has_little_space(settings, bundles):
    full = settings.model_copy(update={"min_free_bytes": 1 << 60})
    with TestClient(create_app(full)) as client:
        assert (
            "expected 1152921504606846976 free bytes"
            in problem_of(client.post("/jobs", json=SPEC), "disk-full")["detail"]
        )
        metrics = client.get("/metrics").text
    (free,) = [line for line in metrics.splitlines() if line.startswith("chiron_disk_free_bytes")]
    assert 0 < float(free.split()[1]) < 1 << 60
