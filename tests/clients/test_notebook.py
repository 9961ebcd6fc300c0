"""Tests of the notebooks: they are stored without outputs, and run from the first cell to the last against a server."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from waiting import PATIENCE_S

from tests.service.processes import stack

pytestmark = pytest.mark.long(30)

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
RUN = "import sys, nbclient, nbformat; book = nbformat.read(sys.argv[1], 4); nbclient.NotebookClient(book).execute(); "
RUN += "nbformat.write(book, sys.argv[1])"


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws(path, tmp_path):
    with stack(tmp_path, ROOT / "bundles") as server:
        server.api()
        copy = tmp_path / path.name
        copy.write_text(path.read_text().replace("http://127.0.0.1:8000", server.url))
        places = os.pathsep.join([str(ROOT / "clients/python"), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            "PYTHONPATH": places,
            "IPYTHONDIR": str(tmp_path),
            "JUPYTER_RUNTIME_DIR": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN, copy],
            cwd=path.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    outputs = [output for cell in nbformat.read(copy, 4).cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs), "expected a plot"
    (errors,) = (output["text"] for output in outputs if " mm, hands-hold: " in output.get("text", ""))
    model, hold = (float(part.rpartition(": ")[2].removesuffix(" mm")) for part in errors.strip().split(", "))
    assert model < hold, "expected the model to be nearer to the truth than its floor on the recording of the page"
