"""ONNX Runtime as it is used here, whence everybody imports it: without its reports.

From 1.29 on its builds for Linux keep an id of the device in the home and send out how they are used, unless the environment says no
before it is loaded.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
