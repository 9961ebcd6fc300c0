"""Helpers that run the `chiron` command, in this process or in a subprocess that lists its imports."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from service.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a subprocess; its standard error also lists its imports."""
    command = [sys.executable, "-X", "importtime", "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def imported(process_result: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the names of the packages that a subprocess imported."""
    lines = [line for line in process_result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def run(*arguments: object, code: int = 0, stdin: bytes | None = None) -> Result:
    """Run the command in this process; check that its exit status is `code`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


def complaint(*arguments: object, code: int, stdin: bytes | None = None) -> str:
    """Run a command that must fail; return its message, the only line on standard error, and check that standard output is empty."""
    result = run(*arguments, code=code, stdin=stdin)
    assert result.stdout == ""
    assert result.stderr.startswith("chiron: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()
