"""The parts of /openapi.json that FastAPI cannot derive: bodies that a route reads itself, and the problem document."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from service.http import negotiation
from service.http.problems import ProblemDocument, documented
from service.http.security import is_open, scope_of

BINARY = {"schema": {"type": "string", "format": "binary"}}


def operation(
    request: type[BaseModel],
    examples: dict[str, dict[str, Any]],
    options: tuple[str, ...],
    with_query: tuple[str, ...] = (negotiation.NPY,),
) -> dict[str, Any]:
    """Describe a request as JSON, MessagePack or .npy; with `with_query`, the `options` are parameters of the query."""
    schema = request.model_json_schema()
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema["properties"][name],
         "description": f"with {' or '.join(with_query)} only, in place of the field of the same name"}
        for name in options
    ]  # fmt: skip
    for parameter in parameters:
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": False}  # 1920,1080
    content = {
        negotiation.JSON: {"schema": schema, "examples": examples},
        negotiation.MSGPACK: BINARY,
        negotiation.NPY: BINARY,
    }
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def publish(app: FastAPI) -> None:
    """Complete /openapi.json by what no route states itself: the problem document, the keys, and the errors of every operation."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        own = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        if schemas.pop("HTTPValidationError", None):
            del schemas["ValidationError"]
            schemas |= own.pop("$defs") | {"ProblemDocument": own}
            for operation in (op for path in document["paths"].values() for op in path.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]  # the parameters of a path are text, which is always valid
        _add_security(document)
        return document

    app.openapi = openapi


def _add_security(document: dict[str, Any]) -> None:
    """Add the two ways to send a key, and 401, 403 and 429 to the operations that may answer with them."""
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "X-API-Key: KEY"},
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            refusals = documented("forbidden")
            if not is_open(path):
                scope = scope_of(method.upper(), path)
                operation["security"] = [{"bearer": []}, {"header": []}, {}]  # none where the server has no keys
                operation["x-chiron-scope"] = scope or "any"
                refusals = documented("unauthorized", "forbidden", "too-many-requests")
            for status, response in refusals.items():
                operation["responses"].setdefault(str(status), response)
