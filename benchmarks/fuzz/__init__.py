"""A fuzzer for every reader of files from outside: `python -m benchmarks.fuzz`."""
