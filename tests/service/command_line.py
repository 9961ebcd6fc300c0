"""The `chiron` command in tests: in this process, or as a process of its own that lists its imports."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from service.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a process; its standard error also lists what it imported."""
    command = [sys.executable, "-X", "importtime", "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the names of the packages that a process imported."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def run(*arguments: object, code: int = 0, stdin: bytes | None = None) -> Result:
    """Run the command in this process; it must exit with the status `code`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


def complaint(*arguments: object, code: int, stdin: bytes | None = None) -> str:
    """Return the message of a command that fails: one line on standard error, and nothing on standard output."""
    result = run(*arguments, code=code, stdin=stdin)
    assert result.stdout == ""
    assert result.stderr.startswith("chiron: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()
