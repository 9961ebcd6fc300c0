"""A fuzzer for all readers of untrusted files: `python -m benchmarks.fuzz`."""
