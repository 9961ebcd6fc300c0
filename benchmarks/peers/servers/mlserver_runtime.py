"""The graph as a runtime of MLServer, which is asked and answers in the Open Inference Protocol's JSON."""

import numpy as np
from graph import Graph
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Forecaster(MLModel):
    """The graph as MLServer's model."""

    async def load(self) -> bool:
        """Open the graph."""
        self.graph = Graph()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the first input, a batch of one past, with a batch of one forecast."""
        past = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        output = NumpyCodec.encode_output("future", self.graph(past[0])[None])
        return InferenceResponse(model_name=self.name, outputs=[output])
