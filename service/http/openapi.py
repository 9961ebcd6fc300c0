"""The parts of /openapi.json that FastAPI cannot derive: bodies that a route reads itself, and the problem document.

Generators of clients read the document, so each operation has a short and stable id, each object a name, and no parameter of the query a
default: a generated client sends defaults, and most requests may have no query.
"""

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.http import negotiation
from service.http.problems import ProblemDocument, documented
from service.http.security import is_open, scope_of

BINARY = {"schema": {"type": "string", "format": "binary"}}
REFERENCE = "#/components/schemas/{model}"


def operation_id(route: APIRoute) -> str:
    """Return the id of a route's operation: the name of its function or of its endpoint."""
    return route.name


def operation(
    request: type[BaseModel],
    examples: dict[str, dict[str, Any]],
    options: tuple[str, ...],
    with_query: tuple[str, ...] = (negotiation.NPY,),
) -> dict[str, Any]:
    """Describe a request as JSON, MessagePack or .npy; with `with_query`, the `options` are parameters of the query."""
    schema = request.model_json_schema()
    note = f"with {' or '.join(with_query)} only, in place of the field of the same name"
    parameters = [query_parameter(name, schema["properties"][name], note) for name in options]
    content = {
        negotiation.JSON: {"schema": schema, "examples": examples},
        negotiation.MSGPACK: BINARY,
        negotiation.NPY: BINARY,
    }
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def query_parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return an optional parameter of the query for a field of this schema, without its default and without null."""
    schema = {key: value for key, value in schema.items() if key not in ("default", "title", "description")}
    if choices := [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]:
        (choice,) = choices
        schema |= choice
    listed = {"style": "form", "explode": False} if schema.get("type") == "array" else {}  # 1920,1080
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description, **listed}


def publish(app: FastAPI, root_path: str) -> None:
    """Complete /openapi.json by what no route states itself: problems, keys, names of bodies, and the server."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = generate()
        own = ProblemDocument.model_json_schema(ref_template=REFERENCE)
        schemas = document["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        schemas |= own.pop("$defs") | {"ProblemDocument": own}
        for operation in _operations(document):
            operation["summary"] = re.split(r"[.:;]\s", f"{operation['description']} ", maxsplit=1)[0]
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]  # the parameters of a path are text, which is always valid
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["schema"] = _named(content["schema"], schemas)
        _add_security(document)
        document["servers"] = [{"url": root_path or "/"}]
        return document

    app.openapi = openapi


def _operations(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return (operation for path in document["paths"].values() for operation in path.values())


def _named(schema: Any, schemas: dict[str, Any]) -> Any:
    """Return the schema with references in place of objects with properties, which become `schemas` under their titles."""
    if isinstance(schema, list):
        return [_named(item, schemas) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _named(value, schemas) for key, value in schema.items()}
    if schema.get("type") != "object" or "properties" not in schema:
        return copy
    schemas.setdefault(schema["title"], copy)
    return {"$ref": REFERENCE.format(model=schema["title"])}


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
