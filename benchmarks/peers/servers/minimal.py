"""The least that a server of this graph can do: msgspec decodes, two threads compute, orjson encodes.

It checks, converts, limits and measures nothing: it stands for what HTTP and Python cost by themselves.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from graph import Graph


class Clip(msgspec.Struct):
    """The body of a request."""

    past: list[list[tuple[float, float, float]]]


app, graph, pool = FastAPI(), Graph(), ThreadPoolExecutor(2)
decoder = msgspec.json.Decoder(Clip)


@app.post("/forecast")
async def forecast(request: Request) -> Response:
    """Answer a clip in JSON with the forecast in JSON."""
    past = np.array(decoder.decode(await request.body()).past, np.float32)
    future = await asyncio.get_running_loop().run_in_executor(pool, graph, past)
    body = orjson.dumps({"future": future}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@app.post("/octets")
async def octets(request: Request) -> Response:
    """Answer the float32 coordinates of 42 joints with those of the forecast."""
    past = np.frombuffer(await request.body(), "<f4").reshape(-1, 42, 3)
    future = await asyncio.get_running_loop().run_in_executor(pool, graph, past)
    return Response(future.tobytes(), media_type="application/octet-stream")


uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)
