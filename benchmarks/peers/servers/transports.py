"""The least that a server of the Open Inference Protocol can do, over gRPC or HTTP and without a model: zeros as the outputs.

    EXAMPLE=example.npz PORT=8000 python transports.py {grpc,http} {octets,tensors}

`octets` answers any body with the bytes of the outputs. `tensors` reads the protocol's messages into arrays, and writes the outputs as
messages: protobuf over gRPC, JSON with binary tensors after it over HTTP. Both run on uvloop.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from math import prod

import msgspec
import numpy as np
import uvloop

METHOD = ("inference.GRPCInferenceService", "ModelInfer")
PATH = "/v2/models/{}/infer"
LENGTH = "inference-header-content-length"
Arrays = dict[str, np.ndarray]


def example(prefix: str) -> Arrays:
    """Return the inputs ("in_") or the outputs ("out_") of the file that EXAMPLE names, all float32."""
    with np.load(os.environ["EXAMPLE"]) as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def joined(arrays: Arrays) -> bytes:
    """Return the bytes of all arrays, one after another."""
    return b"".join([array.tobytes() for array in arrays.values()])


def packed(key: str, arrays: Arrays, further: dict) -> tuple[bytes, int]:
    """Return JSON about arrays, followed by their bytes, and the length of the JSON."""
    described = [
        {"name": name, "datatype": "FP32", "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
        for name, array in arrays.items()
    ]
    head = msgspec.json.encode({key: described, **further})
    return head + joined(arrays), len(head)


def unpacked(body: bytes, length: int) -> Arrays:
    """Return the inputs of a request over HTTP."""
    arrays, start = {}, length
    for given in msgspec.json.decode(body[:length])["inputs"]:
        count = prod(given["shape"])
        arrays[given["name"]] = np.frombuffer(body, "<f4", count, start).reshape(given["shape"])
        start += 4 * count
    return arrays


async def serve_grpc(port: int, form: str, outputs: Arrays) -> None:
    """Answer ModelInfer on a port."""
    import grpc.aio

    if form == "octets":
        read = write = None

        async def answer(request: bytes, context: object) -> bytes:
            return joined(outputs)
    else:
        from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

        read, write = ModelInferRequest.FromString, ModelInferResponse.SerializeToString

        async def answer(request: ModelInferRequest, context: object) -> ModelInferResponse:
            for given, raw in zip(request.inputs, request.raw_input_contents, strict=True):
                np.frombuffer(raw, "<f4").reshape(given.shape)
            result = ModelInferResponse(model_name=request.model_name, model_version="1")
            for name, array in outputs.items():
                result.outputs.add(name=name, datatype="FP32", shape=array.shape)
                result.raw_output_contents.append(array.tobytes())
            return result

    service, method = METHOD
    handler = grpc.unary_unary_rpc_method_handler(answer, read, write)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def application(form: str, outputs: Arrays) -> Callable:
    """Return the ASGI function that answers every POST."""

    async def answer(scope: dict, receive: Callable, send: Callable) -> None:
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body, headers = b"".join(parts), [(b"content-type", b"application/octet-stream")]
        if form == "octets":
            content = joined(outputs)
        else:
            unpacked(body, int(dict(scope["headers"])[LENGTH.encode()]))
            content, length = packed("outputs", outputs, {"model_name": "echo", "model_version": "1"})
            headers.append((LENGTH.encode(), b"%d" % length))
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return answer


if __name__ == "__main__":
    transport, form = sys.argv[1:]
    port, outputs = int(os.environ["PORT"]), {name: np.zeros_like(array) for name, array in example("out_").items()}
    if transport == "grpc":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        asyncio.run(serve_grpc(port, form, outputs))
    else:
        import uvicorn

        uvicorn.run(application(form, outputs), port=port, log_level="error", access_log=False, lifespan="off")
