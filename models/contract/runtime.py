"""ONNX Runtime with its telemetry disabled; import it from here only.

From 1.29 on, its Linux builds store a device id in the home folder and send usage reports unless this environment variable is set before
the import.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
