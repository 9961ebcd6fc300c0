"""The graph that every peer serves: `GRAPH` names the ONNX file, and inputs beyond the past are ones."""

import os

import numpy as np
import onnxruntime


class Graph:
    """An ONNX graph on one thread; calls from several threads run at once."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["GRAPH"], options, providers=["CPUExecutionProvider"])
        self.further = [one.name for one in self.session.get_inputs() if one.name != "past"]

    def __call__(self, past: np.ndarray) -> np.ndarray:
        """Return the most likely forecast (frames, nodes, 3) for a past of that form, float32, in metres."""
        seen = np.ones(past.shape[:2], np.float32)
        inputs = {"past": past[None], **dict.fromkeys(self.further, seen[None])}
        return self.session.run(["future"], inputs)[0][0, 0]
