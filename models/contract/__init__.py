"""The contract between training and serving: tasks, tensors, symmetries, bundles, job specifications and ONNX Runtime."""
