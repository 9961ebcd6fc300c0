"""Tests of the fuzzer, and a short run of it on every reader; `python -m benchmarks.fuzz` is the long run."""

import time

import pytest

from benchmarks.fuzz.harness import Reader, fuzz
from benchmarks.fuzz.table import readers

pytestmark = pytest.mark.long(30)

INPUTS = 60


@pytest.mark.parametrize("name", readers())
@pytest.mark.filterwarnings("default")
def test_a_damaged_file_raises_a_declared_error_within_limits_of_time_and_memory(name: str):
    report = fuzz(readers()[name], INPUTS)
    assert report.inputs == INPUTS
    assert not report.faults, report.faults[0]


def test_a_reader_that_raises_another_error_is_reported():
    def read(data: bytes) -> None:
        if data != b"12345":
            raise ValueError("wrong") if len(data) > 4 else KeyError("undeclared")

    report = fuzz(Reader(read, lambda: [b"12345"], (ValueError,)), 200)
    assert {fault.kind for fault in report.faults} == {"error"}
    assert all(len(fault.data) <= 4 and "undeclared" in fault.detail for fault in report.faults)


def test_a_reader_that_allocates_an_announced_size_is_reported():
    def read(data: bytes) -> None:
        bytearray(min(int.from_bytes(data[:4], "little"), 1 << 26))

    report = fuzz(Reader(read, lambda: [b"\1\0\0\0abcdefgh"], ()), 60)
    assert "memory" in {fault.kind for fault in report.faults}


def test_a_reader_whose_time_grows_faster_than_its_file_is_reported():
    def read(data: bytes) -> None:
        end = time.process_time() + (len(data) / (1 << 18)) ** 2 * 0.5
        while time.process_time() < end:
            pass

    report = fuzz(Reader(read, lambda: [b"12345678"], ()), 100)
    assert "time" in {fault.kind for fault in report.faults}


def test_a_refused_seed_fails_the_run():
    def read(data: bytes) -> None:
        raise ValueError("never")

    with pytest.raises(AssertionError, match="expected every seed to be read"):
        fuzz(Reader(read, lambda: [b"1"], (ValueError,)), 10)
