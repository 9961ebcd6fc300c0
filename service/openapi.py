"""What FastAPI cannot see of a route that reads its own body: the forms that the body may have, and parameters."""

from typing import Any

from pydantic import BaseModel

from service import wire

BINARY = {"schema": {"type": "string", "format": "binary"}}


def operation(
    request: type[BaseModel], examples: dict[str, dict[str, Any]], options: tuple[str, ...]
) -> dict[str, Any]:
    """The request as JSON, MessagePack or .npy; with the last `options` stand in the query."""
    schema = request.model_json_schema()
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema["properties"][name],
         "description": f"with {wire.NPY} only, where it stands for the field of the same name"}
        for name in options
    ]  # fmt: skip
    for parameter in parameters:
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": False}  # 1920,1080
    content = {wire.JSON: {"schema": schema, "examples": examples}, wire.MSGPACK: BINARY, wire.NPY: BINARY}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}
