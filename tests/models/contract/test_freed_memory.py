"""Tests of the memory that a process keeps after it has freed it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from pathlib import Path
from models.contract import freed_memory

def resident():
    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[1])

freed_memory.{function}()
before = resident()
blocks = [b"x" * 2**20 for _ in range(32)]
del blocks[::2]  # every block is beside one that is in use
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
@pytest.mark.parametrize(("function", "held"), [("keep_freed_memory", 32), ("return_freed_memory", 16)])
def test_freed_blocks_of_a_mebibyte_are_kept_or_returned(function: str, held: int):
    command = [sys.executable, "-c", PROGRAM.format(function=function)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert abs(int(printed) - held) <= 2
