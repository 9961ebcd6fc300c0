"""FastAPI as its tutorial shows it: pydantic in and out, a plain function as the endpoint."""

import os

import numpy as np
import uvicorn
from fastapi import FastAPI
from graph import Graph
from pydantic import BaseModel


class Clip(BaseModel):
    """The body of a request."""

    past: list[list[tuple[float, float, float]]]


class Forecast(BaseModel):
    """The body of an answer."""

    future: list[list[tuple[float, float, float]]]


app, graph = FastAPI(), Graph()


@app.post("/forecast")
def forecast(clip: Clip) -> Forecast:
    """Answer a clip with the forecast."""
    return Forecast(future=graph(np.array(clip.past, np.float32)).tolist())


uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)
