"""Tests of /openapi.json by what it is for: three generators make clients from it, and those call a running server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from waiting import PATIENCE_S, get, post

from .processes import Stack, stack

pytestmark = pytest.mark.long(40)

ROOT = Path(__file__).resolve().parents[2]
ONLY_BINARY = ("application/msgpack", "application/x-npy", "application/x-npz")  # forms that clients of numbers use
NPM = ("openapi-typescript@7.13.0", "typescript@5.9.3", "openapi-fetch@0.17.0", "@types/node@20.19.43")
EXAMPLES = {"hands": "hands-forecast", "lift": "poses-lift", "poses": "poses-forecast", "actions": "actions-hdm05"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a server with the shipped models and an empty job table."""
    with stack(tmp_path_factory.mktemp("data"), ROOT / "bundles") as server:
        server.api()
        yield server


@pytest.fixture(scope="module")
def document(running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(get(f"{running.url}/openapi.json").content)
    return path


@pytest.fixture(scope="module")
def examples(running: Stack) -> dict[str, Any]:
    return {task: get(f"{running.url}/models/{model}/example").json() for task, model in EXAMPLES.items()}


def generate(*command: object) -> str:
    """Run a generator; return what it printed."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd="/tmp"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def operation_ids(document: Path) -> list[str]:
    paths = json.loads(document.read_text())["paths"]
    return [operation["operationId"] for methods in paths.values() for operation in methods.values()]


def test_operation_ids_are_short_unique_and_stable(document):
    names = operation_ids(document)
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 24
    tasks = {"forecast_hands", "landmarks_face", "poses_lift", "forecast_poses", "actions_recognize"}
    assert {*tasks, *(f"{name}_batch" for name in tasks), "submit_job", "list_jobs", "list_models"} <= set(names)


def test_no_parameter_of_the_query_has_a_default_that_a_client_would_send_with_json(document):
    paths = json.loads(document.read_text())["paths"]
    tasks = [path["post"] for path in paths.values() if "post" in path and "requestBody" in path["post"]]
    parameters = [parameter for operation in tasks for parameter in operation.get("parameters", ())]
    assert len(parameters) > 20
    for parameter in parameters:
        assert "default" not in parameter["schema"], parameter
        assert "anyOf" not in parameter["schema"], parameter


@pytest.fixture(scope="module")
def python_client(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Generate the client of openapi-python-client and import it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.json").write_text(
        json.dumps({"post_hooks": [], "content_type_overrides": {"application/zip": "application/octet-stream"}})
    )
    said = generate(
        sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none",
        "--output-path", folder / "generated_chiron", "--config", folder / "config.json",
    )  # fmt: skip
    warnings = [line for line in said.splitlines() if line.startswith(("Unsupported", "Unable", "Cannot", "Invalid"))]
    assert all(line.startswith("Unsupported content type") for line in warnings), said
    sys.path.insert(0, str(folder))
    import generated_chiron  # pyright: ignore[reportMissingImports] - made a moment ago

    yield generated_chiron
    sys.path.remove(str(folder))


def modules(*names: str) -> SimpleNamespace:
    """Return the modules of operations by their ids."""
    imported = {name: __import__(f"generated_chiron.api.{name}", fromlist=["sync"]) for name in names}
    return SimpleNamespace(**{name.rpartition(".")[2]: module for name, module in imported.items()})


def test_openapi_python_client_makes_a_module_of_every_operation(document, python_client):
    folder = Path(python_client.__file__).parent
    assert {path.stem for path in folder.glob("api/*/[a-z]*.py")} == set(operation_ids(document))


def test_a_client_of_openapi_python_client_calls_every_task(running, python_client, examples):
    with python_client.Client(base_url=running.url, timeout=PATIENCE_S) as client:
        call_every_task(running, client, examples)


def call_every_task(running: Stack, client: Any, examples: dict[str, Any]) -> None:
    models = __import__("generated_chiron.models", fromlist=["*"])
    types = __import__("generated_chiron.types", fromlist=["*"])
    api = modules(
        "forecast.forecast_hands", "forecast.forecast_hands_batch", "landmarks.landmarks_face", "landmarks.landmarks_face_batch",
        "poses.poses_lift", "forecast.forecast_poses", "actions.actions_recognize", "models.list_models", "models.get_model_example",
        "jobs.list_jobs", "jobs.get_job", "datasets.list_datasets", "operation.get_readiness", "operation.explain_problem",
    )  # fmt: skip
    request = models.HandsRequest.from_dict(examples["hands"])
    request.at, request.spread = [0.1, 0.5], True
    forecast = api.forecast_hands.sync(client=client, body=request)
    assert [len(forecast.times), len(forecast.future), forecast.units.value] == [2, 2, "m"]
    batch = models.HandsRequestBatch(items=[request, models.HandsRequest(fps=30, past=[])])
    several = api.forecast_hands_batch.sync(client=client, body=batch)
    assert several.answers[0].future == forecast.future
    assert [several.failed[0].index, several.failed[0].type_] == [1, "/problems/too-few-frames"]
    with (running.folder / "scan.ply").open("w+b") as file:
        file.write(get(f"{running.url}/models/face-se3unet/example").content)
        file.seek(0)
        upload = types.File(payload=file, file_name="scan.ply")
        face = api.landmarks_face.sync(client=client, body=models.FaceForm(file=upload))
        assert len(face.landmarks) == 68
        file.seek(0)
        raw = api.landmarks_face.sync(
            client=client, body=upload, filename="scan.ply", units=models.LandmarksFaceUnits.M
        )
        assert [landmark.position for landmark in raw.landmarks] == [landmark.position for landmark in face.landmarks]
        file.seek(0)
        faces = api.landmarks_face_batch.sync(client=client, body=models.FaceBatchForm(file=[upload]))
        assert faces.answers[0].landmarks == face.landmarks
    lifted = api.poses_lift.sync(client=client, body=models.LiftRequest.from_dict(examples["lift"]))
    assert len(lifted.poses[0]) == len(lifted.names)
    poses = api.forecast_poses.sync(client=client, body=models.PosesRequest.from_dict(examples["poses"]))
    assert len(poses.future) == len(poses.times)
    actions = api.actions_recognize.sync(client=client, body=models.ActionsRequest.from_dict(examples["actions"]))
    assert sum(one.probability for one in actions.classes) <= 1
    assert "hands-forecast" in [model.name for model in api.list_models.sync(client=client).models]
    example = api.get_model_example.sync(client=client, name="hands-forecast")
    assert example.to_dict() == examples["hands"]
    assert api.list_jobs.sync(client=client).jobs == []
    assert api.list_datasets.sync(client=client).datasets == []
    assert api.get_readiness.sync(client=client).jobs == "ready"
    assert api.explain_problem.sync(client=client, kind="no-face").status == 422
    assert api.get_job.sync(client=client, id="none").type_ == "/problems/unknown-job"


def test_models_of_datamodel_code_generator_write_requests_and_read_answers(running, document, examples, tmp_path):
    target = tmp_path / "generated_models.py"
    generate(
        sys.executable, "-m", "datamodel_code_generator", "--input", document, "--input-file-type", "openapi",
        "--output", target, "--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin",
    )  # fmt: skip
    sys.modules["generated_models"] = ModuleType("generated_models")
    made = vars(sys.modules["generated_models"])
    exec(compile(target.read_text(), target, "exec"), made)
    tasks = {
        "hands": ("/forecast/hands", "HandsRequest", "HandsAnswer"),
        "lift": ("/poses/lift", "LiftRequest", "LiftAnswer"),
        "poses": ("/forecast/poses", "PosesRequest", "PosesAnswer"),
        "actions": ("/actions/recognize", "ActionsRequest", "ActionsAnswer"),
    }
    for task, (path, request, answer) in tasks.items():
        body = made[request].model_validate(examples[task]).model_dump_json(exclude_unset=True)
        response = post(running.url + path, content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200, response.text
        made[answer].model_validate_json(response.content)
    refused = post(f"{running.url}/forecast/hands", json={"fps": 1})
    assert made["ProblemDocument"].model_validate_json(refused.content).status == 422
    scan = get(f"{running.url}/models/face-se3unet/example").content
    face = post(f"{running.url}/landmarks/face", files={"file": ("scan.ply", scan)})
    assert len(made["FaceAnswer"].model_validate_json(face.content).landmarks) == 68
    made["JobPage"].model_validate_json(get(f"{running.url}/jobs").content)
    made["ModelList"].model_validate_json(get(f"{running.url}/models").content)


USAGE = """
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

const [, , baseUrl, scan] = process.argv;
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: baseUrl! });
const { data: example } = await client.GET("/models/{name}/example", { params: { path: { name: "hands-forecast" } } });
const body = { ...(example as components["schemas"]["HandsRequest"]), at: [0.1, 0.5] };
const { data, error } = await client.POST("/forecast/hands", { body });
if (error) throw new Error(error.detail);
const times: number[] = data.times;
const refused = await client.POST("/forecast/hands", { body: { fps: 1 } });
const status: number | undefined = refused.error?.status;
const file = new Blob([new Uint8Array(await readFile(scan!))]);
const form = new FormData();
form.append("file", file, "scan.ply");
const face = await client.POST("/landmarks/face", {
  body: { file: "" },
  bodySerializer: () => form,
});
const landmarks: number | undefined = face.data?.landmarks.length;
const { data: page } = await client.GET("/jobs", { params: { query: { limit: 5 } } });
const { data: models } = await client.GET("/models");
// @ts-expect-error a field of another type is refused by the compiler
const wrong: components["schemas"]["HandsRequest"] = { fps: "thirty" };
console.log(JSON.stringify({ times, status, landmarks, jobs: page?.jobs.length, models: models!.models.length > 0, wrong: wrong.fps }));
"""


def test_types_of_openapi_typescript_compile_and_call_the_server(running, document, tmp_path):
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("no node and npm on this machine, which run openapi-typescript and the compiler")
    (tmp_path / "package.json").write_text('{"name": "usage", "private": true, "type": "module"}')
    install = [npm, "install", "--prefix", tmp_path, "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    got = subprocess.run([*install, *NPM], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if got.returncode:
        pytest.skip(f"npm cannot install openapi-typescript here: {got.stderr[-200:]}")
    binaries = tmp_path / "node_modules/.bin"
    generate(
        binaries / "openapi-typescript", document, "-o", tmp_path / "schema.d.ts", "--default-non-nullable", "false"
    )
    (tmp_path / "usage.ts").write_text(USAGE)
    options = ["--module", "nodenext", "--target", "es2022", "--strict", "--skipLibCheck", "--types", "node"]
    generate(binaries / "tsc", *options, "--typeRoots", tmp_path / "node_modules/@types", tmp_path / "usage.ts")
    (tmp_path / "scan.ply").write_bytes(get(f"{running.url}/models/face-se3unet/example").content)
    printed = json.loads(generate(node, tmp_path / "usage.js", running.url, tmp_path / "scan.ply"))
    assert printed == {
        "times": [0.1, 0.5], "status": 422, "landmarks": 68, "jobs": 0, "models": True, "wrong": "thirty"
    }  # fmt: skip
