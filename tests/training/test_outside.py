"""Tests of extensions outside the package: a forecaster, a loss, a data set and a scan format, from training to serving.

The extension files are in tests/training/outside; tests copy them into a temporary folder.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from laws import hand_motion

from models.contract import extensions
from models.contract.bundle import read_bundle
from models.contract.extensions import VARIABLE
from models.scans.cloud import Unreadable
from models.scans.files import formats, read_scan
from service.app import create_app
from service.settings import Settings
from training.__main__ import main
from training.catalogue import get_run
from training.tasks.hands.sources import hand_source

CHECKOUT = Path(__file__).resolve().parents[2]
OUTSIDE = Path(__file__).parent / "outside"
FILES = ("my_forecaster.py", "my_data.py", "my_format.py")
MOST_LINES = {"my_forecaster.py": 33, "my_data.py": 8, "my_format.py": 8}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copy the files into a folder; forget the imported modules afterwards."""
    for name in FILES:
        shutil.copy(OUTSIDE / name, tmp_path / name)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a data folder with recordings of the data set `lab`."""
    folder = tmp_path / "data" / "hands" / "lab"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train-a", "train-b", "validation-a", "test-a", "test-b")):
        np.save(folder / f"{name}.npy", hand_motion(30, 42, batch=1, seed=seed)[0].reshape(30, 2, 21, 3))
    return tmp_path / "data"


def hash_of_package() -> str:
    """Return a hash over all files of the package."""
    files = (path for folder in ("models", "training", "service") for path in sorted((CHECKOUT / folder).rglob("*.py")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_extensions_given_by_path_work_from_training_to_serving_without_changes_to_the_package(
    outside: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = hash_of_package()
    monkeypatch.setenv(VARIABLE, str(outside / "my_data.py"))
    run, bundles = str(outside / "my_forecaster.py"), tmp_path / "bundles"
    common = ["--data", str(data), "--out", str(tmp_path / "out")]
    main([*common, "run", run, "--device", "cpu"])
    main([*common, "evaluate", run])
    assert "hands-mix" in capsys.readouterr().out
    main([*common, "export", run, "--bundle", str(bundles / "hands-mix")])
    meta = read_bundle(bundles / "hands-mix").meta
    assert [(source.name, source.licence, source.recordings) for source in meta.trained_on] == [("lab", "CC0-1.0", 2)]
    assert f"python -m training export {run}:hands-mix --seed 0 --steps 6" in meta.command

    past = moving_hands(6, hands=2, seed=9)
    with TestClient(create_app(Settings(bundles=bundles, state=tmp_path / "state")), "http://localhost") as client:
        answer = client.post("/forecast/hands", json={"past": past.tolist(), "fps": 30})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["name"] == "hands-mix"
    assert np.shape(answer.json()["future"]) == (6, 42, 3)
    assert hash_of_package() == before


def test_several_processes_train_with_extensions(outside: Path, data: Path, tmp_path: Path, monkeypatch):
    """Every rank is a new process that finds the files through CHIRON_EXTENSIONS."""
    monkeypatch.setenv(VARIABLE, str(outside / "my_data.py"))
    arguments = ["--data", str(data), "--out", str(tmp_path / "out"), "run", str(outside / "my_forecaster.py")]
    main([*arguments, "--device", "cpu", "--devices", "2"])
    assert len(list((tmp_path / "out" / "hands-mix").glob("*/best.ckpt"))) == 1


def test_a_scan_format_can_be_given_by_path(outside: Path, monkeypatch: pytest.MonkeyPatch):
    assert ".lab" not in formats()
    monkeypatch.setenv(VARIABLE, str(outside / "my_format.py"))
    points = np.random.default_rng(0).normal(size=(30, 3))
    np.testing.assert_array_equal(read_scan(points.tobytes(), ".lab").points, points)
    with pytest.raises(Unreadable, match="whole points"):
        read_scan(points.tobytes()[:-1], ".lab")


def test_an_installed_package_registers_all_extensions_by_entry_point(outside: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder looks like an installed package: modules, and a dist-info with entry points."""
    info = outside / "my_package-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 0.1\n")
    groups = {"runs": "my_forecaster:RUN", "sources": "my_data", "scan_formats": "my_format:SCAN_FORMAT"}
    (info / "entry_points.txt").write_text("".join(f"[chiron.{kind}]\nmine = {at}\n" for kind, at in groups.items()))
    monkeypatch.syspath_prepend(str(outside))
    extensions._installed.cache_clear()
    try:
        assert get_run("hands-mix").licence == "MIT"
        assert hand_source("lab").licence == "CC0-1.0"
        assert ".lab" in formats()
    finally:
        extensions._installed.cache_clear()


def test_a_listed_file_is_loaded_by_every_process(outside: Path):
    environment = os.environ | {VARIABLE: str(outside / "my_forecaster.py"), "PYTHONPATH": str(CHECKOUT)}
    listed = subprocess.run(
        [sys.executable, "-m", "training", "list"], env=environment, capture_output=True, text=True, check=True
    )
    assert "hands-mix " in listed.stdout


@pytest.mark.parametrize("name", FILES)
def test_an_extension_takes_few_lines(name: str):
    lines = lines_of_code((OUTSIDE / name).read_text())
    assert lines <= MOST_LINES[name], f"expected at most {MOST_LINES[name]} lines of code in {name}, got {lines}"


def lines_of_code(source: str) -> int:
    """Return the number of lines that are neither blank nor part of a docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented) and ast.get_docstring(node)]
    docstrings = {line for node in nodes for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}
    return sum(bool(line.strip()) and at not in docstrings for at, line in enumerate(source.splitlines(), 1))
