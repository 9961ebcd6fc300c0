"""Tests of chiron_client against a running server with the shipped models."""

import asyncio
import inspect
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from waiting import PATIENCE_S

from chiron_client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    JobFailed,
    NotFound,
    Problem,
    Retries,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from chiron_client.arrays import floats
from tests.service.processes import Stack, stack

pytestmark = pytest.mark.long(30)

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-for-tests"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("data"), ROOT / "bundles") as server:
        server.api()
        yield server


@pytest.fixture(scope="module")
def client(running: Stack) -> Iterator[Client]:
    with Client(running.url, timeout_s=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def hands(client: Client) -> dict[str, Any]:
    return client.example("hands-forecast")


@pytest.fixture(scope="module")
def past(hands: dict[str, Any]) -> np.ndarray:
    return np.array(hands["past"])


@pytest.fixture(scope="module")
def scan(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "scan.ply"
    path.write_bytes(client.example_scan("face-se3unet"))
    return path


def test_a_forecast_has_arrays_equal_to_those_of_json(client, running, past):
    forecast = client.forecast_hands(past, fps=30, at=[0.1, 0.5], spread=True, hypotheses=True)
    plain = running.post("/forecast/hands", {"past": past.tolist(), "fps": 30, "at": [0.1, 0.5], "spread": True})
    assert forecast.model.name == "hands-forecast"
    np.testing.assert_allclose(forecast.times, [0.1, 0.5])
    np.testing.assert_allclose(forecast.future, plain["future"], atol=1e-6)
    np.testing.assert_allclose(forecast.std.future, plain["std"]["future"], atol=1e-6)
    assert forecast.future.dtype == np.float64
    assert len(forecast.alternatives) + 1 == len(forecast.probabilities) > 1
    assert forecast.alternatives[0].future.shape == forecast.future.shape == (2, 42, 3)
    assert set(forecast.intervals) == {"0.68", "0.95"}
    assert forecast.expected_error[0].windows > 0


@pytest.mark.parametrize("values", [[[1.0, 2.0], None, [None, 3]], [None, [1, None], (2, 3)]])
def test_none_is_nan_at_every_depth(values):
    array = floats(values)
    assert (array.shape, array.dtype) == ((len(values), 2), np.float64)
    for row, value in zip(array, values, strict=True):
        expected = [np.nan] * 2 if value is None else [np.nan if number is None else number for number in value]
        np.testing.assert_array_equal(row, expected)
    with pytest.raises(ValueError, match="shape"):
        floats([[1, 2], [3]])


def test_hands_apart_in_float32_with_a_hand_that_was_never_seen(client, past):
    left = past[:, :21].astype(np.float32)
    alone = client.forecast_hands(left=left, fps=30, horizon=0.3)
    assert alone.left.dtype == np.float32
    assert alone.right is None
    both = client.forecast_hands(left=left, right=np.full_like(left, np.nan), fps=30, horizon=0.3)
    assert both.right is None
    np.testing.assert_allclose(both.left, alone.left, atol=1e-6)
    with pytest.raises(ValueError, match="one shape"):
        client.forecast_hands(left=left, right=left[1:], fps=30)


def test_a_frame_of_none_is_a_frame_in_which_nothing_was_seen(client, past):
    holes = past.copy()
    holes[12] = np.nan
    assert client.forecast_hands(holes, timestamps=np.arange(len(past)) / 30).filled_frames > 0


def test_a_batch_answers_in_order_and_has_the_problem_of_an_item(client, past):
    one = client.forecast_hands(past, fps=30, at=[0.2])
    batch = client.forecast_hands_batch(
        [past, past[:1], {"left": past[:, :21], "right": past[:, 21:]}], fps=30, at=[0.2]
    )
    np.testing.assert_allclose(batch.answers[0].future, one.future, atol=1e-6)
    np.testing.assert_allclose(batch.answers[2].left, one.future[:, :21], atol=1e-6)
    assert batch.answers[1] is None
    assert [(problem.index, problem.kind) for problem in batch.failed] == [(1, "too-few-frames")]
    with pytest.raises(InvalidRequest, match="too-few-frames"):
        batch.unwrap()


def test_a_scan_as_path_bytes_array_and_mesh_has_the_same_landmarks(client, scan):
    face = client.landmarks(scan, heatmaps=True)
    cloud: Any = trimesh.load(scan)
    points = np.asarray(cloud.vertices)
    for other in (str(scan), points, cloud):
        np.testing.assert_allclose(client.landmarks(other).positions, face.positions, atol=1e-5)
    from_bytes = client.landmarks(scan.read_bytes(), format="ply", units="m")
    np.testing.assert_array_equal(from_bytes.positions, face.positions)
    assert (face.units_inferred, from_bytes.units_inferred, face.units) == (True, False, "m")
    assert face.positions.shape == (68, 3)
    assert face.pose.shape == (4, 4)
    assert face.heatmaps.values.shape == (68, len(face.heatmaps.points))
    np.testing.assert_array_equal(
        face["nose_tip"] if "nose_tip" in face.names else face[face.names[30]], face.positions[30]
    )
    assert 0.06 < face.distances["outer_eye_corners"].value < 0.13
    with pytest.raises(ValueError, match="format"):
        client.landmarks(scan.read_bytes())


def test_landmarks_are_written_for_other_programs(client, scan):
    assert client.landmarks_file(scan, "csv").startswith(b"index,name,x,y,z")
    assert client.landmarks_file(scan, "ply", aligned=True).startswith(b"ply")
    assert client.landmarks_file(scan, "npz", heatmaps="full").startswith(b"PK")


def test_a_batch_of_scans_names_the_one_that_failed(client, scan):
    batch = client.landmarks_batch([scan, b"no mesh"], format="ply")
    assert batch.answers[0].positions.shape == (68, 3)
    assert [(problem.index, problem.kind) for problem in batch.failed] == [(1, "unreadable-scan")]


def test_bodies_are_lifted_forecast_and_recognised(client):
    example = client.example("poses-lift")
    keypoints = floats(example["keypoints"])
    assert np.isnan(keypoints).any(), "expected an example with keypoints that were not seen"
    options = {"joints": example["joints"], "image": tuple(example["image"]), "fps": example["fps"]}
    lifted = client.lift(keypoints, **options)
    assert lifted.poses.shape == (len(keypoints), len(lifted.names), 3)
    people = client.lift(persons=np.stack([keypoints, np.full_like(keypoints, np.nan)]), **options)
    np.testing.assert_allclose(people.persons[0].poses, lifted.poses, atol=1e-6)
    assert people.persons[1] is None
    assert people.lost[0].person == 1
    several = client.lift_batch([keypoints, keypoints[:5]], **options).unwrap()
    assert [len(one.poses) for one in several] == [len(keypoints), 5]

    example = client.example("poses-forecast")
    past = floats(example["past"])
    future = client.forecast_poses(past, joints=example["joints"], fps=example["fps"])
    assert future.future.shape == (len(future.times), past.shape[1], 2)
    (again,) = client.forecast_poses_batch([example["past"]], joints=example["joints"], fps=example["fps"]).unwrap()
    np.testing.assert_allclose(again.future, future.future, atol=1e-6)

    example = client.example("actions-hdm05")
    clip = floats(example["clip"])
    found = client.recognise(clip, joints=example["joints"], axes=example.get("axes", "y-up"), top=3)
    assert [len(found.classes), found.frames] == [3, len(clip)]
    (again,) = client.recognise_batch([clip], joints=example["joints"], axes=example.get("axes", "y-up")).unwrap()
    assert again.classes[0] == found.classes[0]


def test_models_orders_and_jobs_are_listed(client):
    models = client.models()
    assert models["hands-forecast"].licence == "Apache-2.0"
    assert models.defaults["hand-forecast"] in [model.name for model in models.models]
    with pytest.raises(KeyError):
        models["none"]
    assert len(client.joint_orders()["openxr"].joints) == 26
    assert client.jobs() == client.jobs(state="failed") == ()


def test_problems_are_typed_and_point_at_the_fault(client, past, running):
    with pytest.raises(InvalidRequest) as refused:
        client.forecast_hands(past, fps=1)
    assert (refused.value.kind, refused.value.status) == ("invalid-request", 422)
    assert refused.value.faults[0].pointer == "/fps"
    assert refused.value.request_id
    with pytest.raises(NotFound, match="unknown-job"):
        client.job("none")
    with pytest.raises(NotFound, match="unknown-model"):
        client.forecast_hands(past, fps=30, model="none")
    with pytest.raises(TooLarge):
        client.landmarks(np.zeros((3_000_000, 3)))
    with pytest.raises(Problem, match="implausible"):
        client.forecast_hands(past * 1000, fps=30)


def test_the_asynchronous_client_has_the_same_answers(client, running, past, scan):
    async def several() -> tuple[Any, ...]:
        async with AsyncClient(running.url, timeout_s=PATIENCE_S) as other:
            with pytest.raises(InvalidRequest):
                await other.forecast_hands(past, fps=1)
            return await asyncio.gather(
                other.forecast_hands(past, fps=30), other.landmarks(scan), other.models(), other.jobs()
            )

    forecast, face, models, jobs = asyncio.run(several())
    np.testing.assert_array_equal(forecast.future, client.forecast_hands(past, fps=30).future)
    np.testing.assert_array_equal(face.positions, client.landmarks(scan).positions)
    assert models.defaults == client.models().defaults
    assert jobs == ()


def test_both_clients_have_the_same_methods_with_signatures_and_docstrings():
    def public(type_: type) -> set[str]:
        return {name for name in vars(type_) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
    for name in public(Client):
        assert getattr(Client, name).__doc__, name
    assert list(inspect.signature(Client.forecast_hands).parameters) == ["self", "past", "left", "right", "options"]
    assert next(iter(inspect.signature(Client().forecast_hands).parameters)) == "past"


def test_a_stream_answers_each_frame_with_the_forecast_of_the_request(client, past):
    with client.hand_stream(fps=30, at=[0.05], spread=True) as stream:
        answers = iter(stream)
        answer = None
        for number, points in enumerate(past):
            stream.send(points[:21], points[21:], timestamp=number / 30)
            answer = next(answers)
            assert answer.number == number
        expected = client.forecast_hands(past, fps=30, at=[0.05])
        assert answer is not None
        np.testing.assert_allclose(answer.forecast.left, expected.future[:, :21], atol=1e-4)
        assert answer.forecast.times == pytest.approx([0.05])
        assert answer.forecast.std.left.shape == (1, 21)
        assert answer.timestamp == pytest.approx((len(past) - 1) / 30)
        stream.send(past[-1][:3], None, timestamp=9.0)
        assert next(answers).problem.kind == "wrong-shape"
        stream.close()
        assert list(answers) == []
    with client.hand_stream() as stream:
        assert stream.receive().problem.faults[0].pointer == "/fps"
        with pytest.raises(InvalidRequest, match="fps"):
            stream.receive()


def test_an_asynchronous_stream_sends_while_it_receives(running, past):
    async def follow() -> list[Any]:
        async with AsyncClient(running.url) as other, other.hand_stream(fps=30, at=[0.05], hands=["left"]) as stream:

            async def send() -> None:
                for points in past:
                    await stream.send(points[:21])
                    await asyncio.sleep(0.005)

            sending, answers = asyncio.create_task(send()), []
            async for answer in stream:
                answers.append(answer)
                if answer.number == len(past) - 1:
                    await stream.close()
            await sending
            return answers

    answers = asyncio.run(follow())
    assert answers[-1].forecast.left.shape == (1, 21, 3)
    assert answers[-1].forecast.right is None


def test_a_data_set_is_uploaded_and_a_failed_check_is_an_exception(client, tmp_path, running, capsys):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr("hands/splits.json", "{}")
    dataset = client.upload_dataset(tmp_path / "own.zip", "own")
    assert (dataset.state, dataset.source) == ("checking", "upload")
    assert [one.name for one in client.datasets()] == ["own"]
    with pytest.raises(Conflict, match="dataset-exists"):
        client.upload_dataset(tmp_path / "own.zip", "own")
    with pytest.raises(TimeoutError, match="no worker"):
        client.wait(dataset.job, timeout_s=0.1, every_s=0.05)
    assert "worker" in capsys.readouterr().err, "expected a progress bar that says what the job waits for"
    assert client.cancel(dataset.job).state == "cancelled"
    with pytest.raises(JobFailed, match="cancelled"):
        client.wait(dataset.job, progress=False)
    assert client.dataset("own").state == "refused"
    client.remove_dataset("own")
    assert client.datasets() == ()


def test_a_key_is_sent_and_a_limit_is_waited_for_up_to_a_cap(past, tmp_path):
    """The server takes three requests a minute: the fourth is told to wait, longer than the client wants to."""
    limits = {"CHIRON_API_KEYS": KEY, "CHIRON_REQUESTS_PER_MINUTE": "3", "CHIRON_BUNDLES": str(ROOT / "bundles")}
    with stack(tmp_path, ROOT / "bundles", **limits) as server:
        server.api()
        with Client(server.url) as nobody, pytest.raises(Unauthorized):
            nobody.models()
        with Client(server.url, key=KEY, retries=Retries(longest_s=0.5)) as client:
            assert client.forecast_hands(past, fps=30).future is not None
            with client.hand_stream(fps=30) as stream:
                stream.send(past[0][:21])
                assert stream.receive().number == 0
            client.models()
            with pytest.raises(TooManyRequests) as refused:
                client.models()
            assert (refused.value.retry_after or 0) > 0.5


def test_no_server_is_unreachable():
    with Client("http://127.0.0.1:9", retries=Retries(times=1)) as client, pytest.raises(Unreachable):
        client.models()
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable), client.hand_stream(fps=30):
        pass


def test_the_readme_of_the_package_runs(running, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "clients/python/README.md").read_text(), re.DOTALL)
    exec(code.replace("http://127.0.0.1:8000", running.url), {})
    assert capsys.readouterr().out.strip() == code.rpartition("# ")[2].strip()


def test_the_package_installs_from_its_folder_and_needs_nothing_of_this_repository(running, tmp_path):
    shutil.copytree(ROOT / "clients/python", tmp_path / "source")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", tmp_path, tmp_path / "source"], check=True, timeout=PATIENCE_S)
    (wheel,) = tmp_path.glob("chiron_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("chiron_client/")}
        archive.extractall(tmp_path / "site")
    package = ROOT / "clients/python/chiron_client"
    assert names == {f"chiron_client/{path.name}" for path in package.iterdir() if path.is_file()}
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from chiron_client import Client; "
        f"print(len(Client({running.url!r}).models().models)); "
        "assert not {'models', 'service', 'training', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=tmp_path,
        check=True,
    )
    assert int(done.stdout) == len(list((ROOT / "bundles").iterdir()))
