"""The table of readers, with one line for each module."""

from importlib import import_module

from benchmarks.fuzz.harness import Reader

MODULES = (  # each has READERS, a mapping of names to readers
    "benchmarks.fuzz.scan_readers",
    "benchmarks.fuzz.request_readers",
    "benchmarks.fuzz.file_readers",
    "benchmarks.fuzz.data_readers",
    "benchmarks.fuzz.release_readers",
)


def readers() -> dict[str, Reader]:
    """Return every reader by name."""
    return {name: reader for module in MODULES for name, reader in import_module(module).READERS.items()}
