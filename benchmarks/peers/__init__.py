"""Chiron beside other servers of the same ONNX graph."""
