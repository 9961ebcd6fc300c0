"""Tests of the page of a picture: formats, and matplotlib as an optional dependency."""

import subprocess
import sys
from pathlib import Path

import pytest
from faces import synthetic_face
from laws import hand_motion

from models.pictures.faces import draw_face
from models.pictures.hands import draw_hands
from models.pictures.page import NoMatplotlib, UnknownFormat


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".PNG"])
def test_every_format_can_be_written(tmp_path: Path, suffix: str):
    path = tmp_path / f"strip{suffix}"
    clip = hand_motion(20, 21, batch=1)[0]
    draw_hands(clip[:10], None, clip[10:], 30.0, path)
    assert path.stat().st_size > 2000


def test_an_unknown_format_is_refused_before_drawing(tmp_path: Path):
    cloud, landmarks = synthetic_face()
    with pytest.raises(UnknownFormat, match=r"\.png.*scan\.gif"):
        draw_face(cloud, landmarks, tmp_path / "scan.gif")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NoMatplotlib, match=r"chiron\[plot\]"):
        draw_face(*synthetic_face(), tmp_path / "scan.png")


def test_matplotlib_is_not_loaded_until_something_is_drawn():
    code = "import models.pictures.page, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[3])


def test_pictures_leave_no_figure_open(tmp_path: Path):
    import matplotlib.pyplot as plt

    clip = hand_motion(20, 21, batch=1)[0]
    draw_hands(clip[:10], None, clip[10:], 30.0, tmp_path / "strip.png")
    assert plt.get_fignums() == []
