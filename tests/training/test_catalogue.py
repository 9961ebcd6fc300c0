"""The catalogue: every run by its name, from the package, from files and from installed packages."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from models.contract import extensions
from models.contract.extensions import VARIABLE, BadExtension
from models.contract.task import FaceLandmarks, HandForecast, PoseForecast, PoseLift
from training.catalogue import AmbiguousRun, UnknownRun, all_runs, command_of, find_run, get_run
from training.engine.run import Data, Network, Run, Task
from training.studies import STUDIES


def test_the_runs_have_the_names_they_are_found_by_and_fingerprints_of_their_own():
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
        elif isinstance(run.task, FaceLandmarks):
            assert run.data.task == run.task  # pyright: ignore
        else:
            must_be_of_one_kind(run)


def must_be_of_one_kind(run: Run[Any, Any]) -> None:
    """Require data that give what the task of bodies asks for."""
    task, data = run.task, run.data
    if isinstance(task, PoseLift):
        options = (task.receptive, task.order, task.seen_order, task.confidence)
        assert options == (data.receptive, data.order, data.seen_order, data.with_confidence)
        assert data.fps in (None, task.fps)  # None: filmed at the rate of the task
    elif isinstance(task, PoseForecast):
        options = (task.past, task.future, task.fps, task.box, task.order, task.confidence)
        assert options == (data.past, data.future, data.fps, data.box, data.order, data.with_confidence)
    else:
        measured = data.test_frames or data.frames  # of a model that runs on more frames than it was trained on
        assert (task.frames, task.tempo, task.turned) == (measured, data.tempo, data.turned)
        assert data.order in (None, task.order)


def test_the_check_of_runs_on_bodies_finds_data_that_do_not_fit():
    for name, changed in (
        ("poses-lift", {"receptive": 9}),
        ("poses-forecast", {"fps": 30.0}),
        ("actions-hdm05", {"frames": 16}),
    ):
        run = get_run(name)
        with pytest.raises(AssertionError):
            must_be_of_one_kind(replace(run, data=replace(run.data, **changed)))


def test_every_kind_of_task_that_has_a_run_has_a_study():
    assert set(STUDIES) == {run.task.kind for run in all_runs().values()}


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(UnknownRun, match=r"no run 'nobody'; there are .*hands-eqmotion, "):
        get_run("nobody")


# --- from outside ---

OWN = """
from dataclasses import replace
from training.catalogue import _own_runs
first = replace(_own_runs()[0], name="{stem}-first")
second = replace(first, name="{stem}-second", start=first)
{line}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a file with two stages and a last line, which is imported under a name of its own."""
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


def test_a_run_in_a_file_is_found_by_its_path_and_afterwards_by_its_name(own):
    path = own("RUN = second")
    run = find_run(str(path))
    assert run.name == f"{path.stem}-second"
    assert get_run(run.name) is run


def test_a_stage_of_a_run_in_a_file_is_found_by_path_and_name(own):
    path = own("RUN = second")
    assert find_run(f"{path}:{path.stem}-first").name == f"{path.stem}-first"
    with pytest.raises(UnknownRun, match="no run 'third'; there are"):
        find_run(f"{path}:third")


def test_a_file_of_several_runs_is_the_last_if_the_others_are_its_stages_and_else_needs_a_name(own):
    assert find_run(str(own("RUNS = (first, second)"))).name.endswith("second")
    path = own("RUNS = (first, replace(first, name='another'))")
    with pytest.raises(
        UnknownRun, match=rf"has the runs {path.stem}-first, another; name one: .*{path.stem}\.py:another"
    ):
        find_run(str(path))


def test_a_file_without_a_run_or_that_cannot_be_imported_is_refused(own, tmp_path: Path):
    with pytest.raises(UnknownRun, match=r"expected a RUN or RUNS in .*, got neither"):
        find_run(str(own("")))
    with pytest.raises(BadExtension, match="cannot be imported: ZeroDivisionError"):
        find_run(str(own("1 / 0")))
    with pytest.raises(BadExtension, match="expected a Python file"):
        find_run(str(tmp_path / "nothing.py"))
    with pytest.raises(BadExtension, match="cannot be imported as 'json'"):
        find_run(str(own("RUN = first", stem="json")))


def test_a_path_is_never_taken_for_a_name(own):
    """A request names runs with `get_run`: it must not load files."""
    path = own("raise SystemExit('it ran')")
    with pytest.raises(UnknownRun):
        get_run(str(path))


@pytest.mark.parametrize("value", ["", ":RUN", ":RUNS"])
def test_an_installed_package_registers_runs_by_entry_point(own, monkeypatch: pytest.MonkeyPatch, value: str):
    path = own("RUN = second\nRUNS = (first, second)")
    monkeypatch.syspath_prepend(str(path.parent))
    points = {"chiron.runs": [EntryPoint("mine", path.stem + value, "chiron.runs")]}
    monkeypatch.setattr(extensions, "entry_points", lambda group: points.get(group, []))
    extensions._installed.cache_clear()
    try:
        assert f"{path.stem}-second" in all_runs()
    finally:
        extensions._installed.cache_clear()


def test_two_runs_of_one_name_are_refused(own):
    find_run(str(own("RUN = replace(first, name='hands-eqmotion', licence='MIT')")))
    with pytest.raises(AmbiguousRun, match="two runs have the name 'hands-eqmotion'"):
        all_runs()


# --- the command that makes a bundle ---


def test_the_command_lists_every_stage_seed_and_step_count():
    run = get_run("face-se3unet")
    assert command_of(run, "face-se3unet", 3, export=True) == (
        "python -m training run face-se3unet-base --seed 3 --steps 14000 && "
        "python -m training run face-se3unet --seed 3 --steps 14000,3000 && "
        "python -m training export face-se3unet --seed 3 --steps 14000,3000"
    )


def test_the_command_lists_changed_options_and_the_file_of_a_run(own):
    path = own("RUN = second")
    changes = {"precision": "bf16-mixed", "validate_every": None}
    run = find_run(str(path)).with_options(5, **changes)
    first, second = command_of(run, str(path), 0, changes).split(" && ")
    assert first == f"python -m training run {path}:{path.stem}-first --seed 0 --steps 5 --precision bf16-mixed"
    assert second == f"python -m training run {path}:{path.stem}-second --seed 0 --steps 5,5 --precision bf16-mixed"
