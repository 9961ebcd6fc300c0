"""Tests of the OpenAPI document: it matches the decoders, is complete, and its examples run."""

import json
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import create_model

from models.contract.bundle import read_bundle
from models.scans.files import formats
from models.skeletons.body_orders import BODIES
from models.skeletons.hand import HANDS
from service.http.problems import KINDS, MEDIA_TYPE
from service.tasks.bodies.endpoint import ACTIONS, LIFT, POSES
from service.tasks.bodies.schemas import (
    ActionsJson,
    ActionsMsgpack,
    ActionsRequest,
    LiftJson,
    LiftMsgpack,
    LiftRequest,
    PosesJson,
    PosesMsgpack,
    PosesRequest,
)
from service.tasks.catalogue import ENDPOINTS
from service.tasks.faces import upload
from service.tasks.faces.schemas import FaceOptions
from service.tasks.hands.endpoint import HANDS as HAND_ENDPOINT
from service.tasks.hands.schemas import HandsAnswer, HandsJson, HandsRequest

from ..exchange import FACE_URL
from ..exchange import HANDS_URL as URL
from ..scans import NPZ, PLY

BODY_ENDPOINTS = (LIFT, POSES, ACTIONS)


def normalised(schema: Any, definitions: dict[str, Any]) -> Any:
    """Normalise a JSON schema: drop titles and descriptions, inline definitions, and sort choices."""
    if isinstance(schema, list):
        return [normalised(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return normalised(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    prose = ("title", "description", "examples", "$defs")
    normal = {key: normalised(value, definitions) for key, value in schema.items() if key not in prose}
    if "properties" in schema:
        normal["properties"] = {name: normalised(value, definitions) for name, value in schema["properties"].items()}
    if "prefixItems" in normal:
        normal.pop("items", None)  # redundant: msgspec repeats that there are no further items
    if "enum" in normal:
        normal.pop("type", None)  # redundant: pydantic repeats that the choices are strings
    if not normal.get("required", True):
        del normal["required"]  # msgspec writes an empty list for a struct without required fields
    for choices in ("anyOf", "enum", "required"):
        if choices in normal:
            normal[choices] = sorted(normal[choices], key=lambda choice: json.dumps(choice, sort_keys=True))
    return normal


def schema_of_msgspec(struct: Any = HandsJson) -> Any:
    (schema,), definitions = msgspec.json.schema_components([struct])
    return normalised(schema, definitions)


def schema_of_pydantic(model: Any = HandsRequest) -> Any:
    schema = model.model_json_schema()
    return normalised(schema, schema.get("$defs", {}))


@pytest.mark.parametrize(
    ("model", "struct"),
    [(HandsRequest, HandsJson), (LiftRequest, LiftJson), (PosesRequest, PosesJson), (ActionsRequest, ActionsJson)],
)
def test_the_published_schema_equals_the_schema_of_the_decoder(model, struct):
    assert schema_of_pydantic(model) == schema_of_msgspec(struct)


@pytest.mark.parametrize("struct", [LiftMsgpack, PosesMsgpack, ActionsMsgpack])
def test_messagepack_has_the_fields_of_json_with_shape_and_dtype(struct):
    json_struct = {LiftMsgpack: LiftJson, PosesMsgpack: PosesJson, ActionsMsgpack: ActionsJson}[struct]
    assert set(struct.__struct_fields__) == {*json_struct.__struct_fields__, "shape", "dtype"}


@pytest.mark.parametrize("change", [{"fps": (int, ...)}, {"hand": (str | None, None)}, {"more": (int | None, None)}])
def test_a_changed_schema_is_detected(change):
    assert schema_of_pydantic(create_model("Changed", __base__=HandsRequest, **change)) != schema_of_msgspec()


@pytest.fixture(scope="module")
def document(client) -> dict:
    return client.get("/openapi.json").json()


def operations(document: dict) -> list[tuple[str, str, dict]]:
    return [(path, method, op) for path, methods in document["paths"].items() for method, op in methods.items()]


def test_every_example_in_the_document_is_answered(client, document):
    ran = 0
    for path, method, operation in operations(document):
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                response = client.request(
                    method, path, content=json.dumps(example["value"]), headers={"content-type": media}
                )
                assert response.status_code == 200, (name, response.text)
                ran += 1
    assert ran == sum(len(endpoint.examples()) for endpoint in ENDPOINTS) >= 10


def test_every_get_request_is_answered_with_a_documented_status(client, document):
    for path, method, operation in operations(document):
        if method == "get":
            for value in ("hands-thirty", "face-shells", "lift-means", "nothing"):
                names = dict.fromkeys(re.findall(r"{(\w+)}", path), value)
                status = client.get(path.format(**names)).status_code
                assert str(status) in operation["responses"], path


def test_every_operation_has_a_description_and_tags(document):
    for path, _, operation in operations(document):
        assert operation["description"], path
        assert operation["tags"], path


def test_every_error_is_documented_as_a_problem(document):
    assert "HTTPValidationError" not in json.dumps(document)
    others = ("method-not-allowed", "wrong-state", "bundle-refused")
    others += ("malformed-http", "head-too-large")  # of connections, before there is a path
    others += ("dataset-exists", "dataset-not-ready", "disk-full", "range-not-satisfiable")
    statuses = {str(kind.status) for name, kind in KINDS.items() if name not in others}
    for path in (endpoint.path for endpoint in ENDPOINTS):
        responses = document["paths"][path]["post"]["responses"]
        assert statuses | {"200"} == set(responses)
        for status in statuses:
            schema = responses[status]["content"][MEDIA_TYPE]["schema"]
            assert schema == {"$ref": "#/components/schemas/ProblemDocument"}


def test_the_options_and_formats_of_a_scan_are_documented(document):
    operation = document["paths"][FACE_URL]["post"]
    options = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert tuple(options) == FaceOptions.__struct_fields__
    assert set(options["units"]["enum"]) == {"auto", "m", "cm", "mm", "in", "ft"}
    assert set(options["heatmaps"]["enum"]) == {"none", "points", "full"}
    content = operation["requestBody"]["content"]
    assert set(content) == set(upload.TYPES)
    assert next(iter(content)) == upload.FORM
    assert content[upload.FORM]["schema"] == {"$ref": "#/components/schemas/FaceForm"}
    fields = document["components"]["schemas"]["FaceForm"]["properties"]
    assert set(fields) == {"file", *options}
    assert not any("default" in field for field in fields.values()), (
        "a generated client would send it over the file's name"
    )
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json", NPZ, PLY, upload.OBJ, upload.CSV, upload.MRK, upload.FCSV
    }  # fmt: skip
    for suffix in formats():
        assert suffix in operation["description"]


def test_every_reference_in_the_document_can_be_resolved(document):
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    for name in (part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in names
    assert "#/$defs/" not in text


def test_the_example_of_a_model_is_answered(client):
    scan = client.get("/models/face-shells/example")
    assert client.post(FACE_URL, content=scan.content, headers={"content-type": PLY}).status_code == 200
    for name in ("hands-thirty", "hands-modes"):
        body = client.get(f"/models/{name}/example").json()
        answer = client.post(URL, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["name"] == name


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("lift-means", "/poses/lift"),
        ("lift-sure", "/poses/lift"),
        ("poses-onwards", "/forecast/poses"),
        ("poses-sure", "/forecast/poses"),
        ("actions-3d", "/actions/recognize"),
        ("actions-pairs", "/actions/recognize"),
    ],
)
def test_the_example_of_a_body_model_gets_the_stored_answer(client, bundles, name, path):
    answer = client.post(path, json=client.get(f"/models/{name}/example").json())
    assert answer.status_code == 200, answer.text
    body, bundle = answer.json(), read_bundle(bundles / name)
    assert body["model"]["name"] == name
    (expected,) = bundle.example()[1].values()
    if path == "/poses/lift":
        half = (len(body["poses"]) - len(expected[0])) // 2
        np.testing.assert_allclose(np.array(body["poses"])[half:-half], expected[0], atol=2e-4)
    elif path == "/actions/recognize":
        assert sum(class_["probability"] for class_ in body["classes"]) == pytest.approx(1, abs=1e-6)
    else:
        np.testing.assert_allclose((np.array(body["future"]) - 500) / 300, expected[0], atol=2e-4)


def test_an_answer_about_hands_matches_the_document(client, document):
    for example in HAND_ENDPOINT.examples().values():
        answer = client.post(URL, json=example["value"]).json()
        HandsAnswer.model_validate(answer, strict=False)
        assert set(answer) <= set(document["components"]["schemas"]["HandsAnswer"]["properties"])


@pytest.mark.parametrize("endpoint", BODY_ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_an_answer_about_bodies_matches_the_document(client, document, endpoint):
    for example in endpoint.examples().values():
        answer = client.post(endpoint.path, json=example["value"]).json()
        endpoint.answer.model_validate(answer, strict=False)
        assert set(answer) <= set(document["components"]["schemas"][endpoint.answer.__name__]["properties"])


def test_the_joint_orders_of_hands_and_bodies_are_listed(client):
    orders = client.get("/joints").json()
    assert set(orders) == {*HANDS, *BODIES}
    body = orders["penn-13"]
    assert (body["of"], len(body["joints"]), orders["mano"]["of"]) == ("body", 13, "hand")
    for joint, image in enumerate(body["mirror"]):
        assert {body["joints"][joint].split("_")[0], body["joints"][image].split("_")[0]} in (
            {"left", "right"},
            {"head"},
        )
