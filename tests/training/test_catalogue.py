"""Tests of the catalogue: runs from the package, from files and from installed packages, and the commands that train them."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from models.contract import extensions
from models.contract.extensions import VARIABLE, BadExtension
from models.contract.face_map import FaceMap
from models.contract.task import FaceLandmarks, HandForecast, PoseForecast, PoseLift
from training.catalogue import AmbiguousRun, UnknownRun, all_runs, command_of, find_run, get_run
from training.engine.run import Data, Network, Run, Task
from training.studies import STUDIES


def test_the_runs_have_unique_names_and_fingerprints():
    runs = all_runs()
    names = {"hands-eqmotion", "hands-reference-10-10", "hands-eqmotion-30-30", "face-se3unet", "poses-lift"}
    assert names <= set(runs)
    assert len({run.fingerprint for run in runs.values()}) == len(runs)
    assert all(get_run(name) == run and run.name == name for name, run in runs.items())
    for run in runs.values():
        assert isinstance(run.task, Task)
        assert isinstance(run.data, Data)
        assert isinstance(run.network, Network)
        if isinstance(run.task, HandForecast):
            window = run.data.window  # pyright: ignore
            assert (run.task.past, run.task.future, run.task.fps) == (window.past, window.future, window.fps)
        elif isinstance(run.task, FaceLandmarks | FaceMap):
            assert run.data.task == run.task  # pyright: ignore
        else:
            assert_data_fit_task(run)


def assert_data_fit_task(run: Run[Any, Any]) -> None:
    """Check that the data have the shape, order and rate of the run's task."""
    task, data = run.task, run.data
    if isinstance(task, PoseLift):
        options = (task.receptive, task.order, task.seen_order, task.confidence)
        assert options == (data.receptive, data.order, data.seen_order, data.with_confidence)
        assert data.fps in (None, task.fps)  # None: the recordings have the rate of the task
    elif isinstance(task, PoseForecast):
        options = (task.past, task.future, task.fps, task.box, task.order, task.confidence)
        assert options == (data.past, data.future, data.fps, data.box, data.order, data.with_confidence)
    else:
        measured = data.test_frames or data.frames  # a model may run on more frames than it was trained on
        assert (task.frames, task.tempo, task.turned) == (measured, data.tempo, data.turned)
        assert data.order in (None, task.order)


def test_data_that_do_not_fit_the_task_are_detected():
    for name, changed in (
        ("poses-lift", {"receptive": 9}),
        ("poses-forecast", {"fps": 30.0}),
        ("actions-hdm05", {"frames": 16}),
    ):
        run = get_run(name)
        with pytest.raises(AssertionError):
            assert_data_fit_task(replace(run, data=replace(run.data, **changed)))


def test_every_kind_of_task_with_a_run_has_a_study():
    assert set(STUDIES) == {run.task.kind for run in all_runs().values()}


def test_the_error_for_an_unknown_name_lists_the_known_names():
    with pytest.raises(UnknownRun, match=r"no run 'nobody'; there are .*hands-eqmotion, "):
        get_run("nobody")


# --- runs from outside the package ---

OWN = """
from dataclasses import replace
from training.catalogue import _own_runs
first = replace(_own_runs()[0], name="{stem}-first")
second = replace(first, name="{stem}-second", start=first)
{line}
"""


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a uniquely named file with two stages and a last line."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    written: list[str] = []

    def write(line: str, stem: str = "") -> Path:
        stem = stem or f"{tmp_path.name}_{len(written)}".replace("-", "_")
        written.append(stem)
        (tmp_path / f"{stem}.py").write_text(OWN.format(stem=stem, line=line))
        return tmp_path / f"{stem}.py"

    yield write
    for stem in written:
        sys.modules.pop(stem, None)


def test_a_run_in_a_file_is_found_by_path_and_then_by_name(run_file):
    path = run_file("RUN = second")
    run = find_run(str(path))
    assert run.name == f"{path.stem}-second"
    assert get_run(run.name) is run


def test_a_stage_of_a_run_in_a_file_is_found_by_path_and_name(run_file):
    path = run_file("RUN = second")
    assert find_run(f"{path}:{path.stem}-first").name == f"{path.stem}-first"
    with pytest.raises(UnknownRun, match="no run 'third'; there are"):
        find_run(f"{path}:third")


def test_a_file_with_several_runs_needs_a_name_unless_the_others_are_stages(run_file):
    assert find_run(str(run_file("RUNS = (first, second)"))).name.endswith("second")
    path = run_file("RUNS = (first, replace(first, name='another'))")
    with pytest.raises(
        UnknownRun, match=rf"has the runs {path.stem}-first, another; name one: .*{path.stem}\.py:another"
    ):
        find_run(str(path))


def test_a_file_without_runs_or_with_import_errors_is_refused(run_file, tmp_path: Path):
    with pytest.raises(UnknownRun, match=r"expected a RUN or RUNS in .*, got neither"):
        find_run(str(run_file("")))
    with pytest.raises(BadExtension, match="cannot be imported: ZeroDivisionError"):
        find_run(str(run_file("1 / 0")))
    with pytest.raises(BadExtension, match="expected a Python file"):
        find_run(str(tmp_path / "nothing.py"))
    with pytest.raises(BadExtension, match="cannot be imported as 'json'"):
        find_run(str(run_file("RUN = first", stem="json")))


def test_get_run_never_loads_a_file(run_file):
    """Requests reach `get_run` with untrusted names."""
    path = run_file("raise SystemExit('it ran')")
    with pytest.raises(UnknownRun):
        get_run(str(path))


@pytest.mark.parametrize("value", ["", ":RUN", ":RUNS"])
def test_an_installed_package_registers_runs_by_entry_point(run_file, monkeypatch: pytest.MonkeyPatch, value: str):
    path = run_file("RUN = second\nRUNS = (first, second)")
    monkeypatch.syspath_prepend(str(path.parent))
    points = {"chiron.runs": [EntryPoint("mine", path.stem + value, "chiron.runs")]}
    monkeypatch.setattr(extensions, "entry_points", lambda group: points.get(group, []))
    extensions._installed.cache_clear()
    try:
        assert f"{path.stem}-second" in all_runs()
    finally:
        extensions._installed.cache_clear()


def test_two_runs_with_the_same_name_are_refused(run_file):
    find_run(str(run_file("RUN = replace(first, name='hands-eqmotion', licence='MIT')")))
    with pytest.raises(AmbiguousRun, match="two runs have the name 'hands-eqmotion'"):
        all_runs()


# --- the command that reproduces a bundle ---


def test_the_command_lists_every_stage_seed_and_step_count():
    run = get_run("face-se3unet")
    assert command_of(run, "face-se3unet", 3, export=True) == (
        "python -m training run face-se3unet-base --seed 3 --steps 14000 && "
        "python -m training run face-se3unet-middle --seed 3 --steps 14000,3000 && "
        "python -m training run face-se3unet --seed 3 --steps 14000,3000,1200 && "
        "python -m training export face-se3unet --seed 3 --steps 14000,3000,1200"
    )


def test_the_command_lists_changed_options_and_the_file_of_a_run(run_file):
    path = run_file("RUN = second")
    changes = {"precision": "bf16-mixed", "validate_every": None}
    run = find_run(str(path)).with_options(5, **changes)
    first, second = command_of(run, str(path), 0, changes).split(" && ")
    assert first == f"python -m training run {path}:{path.stem}-first --seed 0 --steps 5 --precision bf16-mixed"
    assert second == f"python -m training run {path}:{path.stem}-second --seed 0 --steps 5,5 --precision bf16-mixed"
