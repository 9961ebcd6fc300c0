"""Scans: file formats, point sampling, and the tensors of a landmark network."""
