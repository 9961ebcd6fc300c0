"""Tests of the check of a data folder: it reads every file, and its error names the malformed file."""

import io
import json
import os
import pickle
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from body_files import human36m_motion, write_kinetics, write_mat, write_nw_ucla, write_three_subjects
from meshes import face_of, write_obj

from training.catalogue import all_runs
from training.check import PARTS, check
from training.data import reading
from training.data.reading import MalformedData
from training.data.splits import SPLITS
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.readers.nw_ucla import read_nw_ucla
from training.tasks.bodies.readers.penn_action import read_penn
from training.tasks.faces.facescape import TOPOLOGIES, split_of
from training.tasks.hands import check as hands_check

CREATED = Path(tempfile.gettempdir()) / f"chiron-ran-{os.getpid()}"  # a folder that a hostile pickle would create
TZIONAS, JHMDB, ICT = (
    "hands/tzionas/tzionas.npz",
    "body/jhmdb/jhmdb_gt609.npz",
    "faces/ict_facekit/ict_facekit_light.npz",
)


def total(counts: dict[str, Any], part: str, source: str) -> int:
    return sum(counts[part][source].values())


def test_all_recordings_of_the_real_folder_are_read(data_folder: Path):
    counts = check(data_folder)
    assert list(counts) == ["hands", "faces", "body"]
    assert counts["hands"]["tzionas"] == {"train": 14, "validation": 2, "test": 3}
    assert counts["hands"]["assembly101_sample"] == {"train": 0, "validation": 0, "test": 5}
    assert total(counts, "hands", "humoto") == 49
    assert counts["faces"]["ict_facekit"] == {"train": 1_000_000, "validation": 100_000, "test": 100_000}
    assert [total(counts, "faces", name) for name in ("facefuns", "humface", "lee_perry_smith")] == [7, 1, 1]
    assert {source: total(counts, "body", source) for source in counts["body"]} == {
        "hdm05_11": 232, "cmu_9act": 96, "reactidle": 22, "bandai_namco": 734, "jhmdb": 609, "penn_action": 2326, "nw_ucla": 1484,
    }  # fmt: skip


def test_the_check_can_be_stopped(data_folder: Path):
    calls = []

    def stop() -> bool:
        calls.append(time.monotonic())
        return len(calls) == 3

    assert check(data_folder, stop) == {}
    assert len(calls) == 3


# --- the parts that a run reads ---


@pytest.mark.parametrize("name", ["hands-eqmotion", "face-se3unet", "poses-lift", "poses-forecast", "actions-hdm05"])
def test_a_run_reads_the_part_that_it_declares(data_folder: Path, name: str):
    (part,) = all_runs()[name].parts
    batches = all_runs()[name].data.load(data_folder)
    assert getattr(batches, "folder", data_folder / "faces") == data_folder / part


def test_all_parts_that_runs_read_are_checked():
    read = {name: run.parts for name, run in all_runs().items()}
    assert set().union(*read.values()) == set(PARTS)
    assert read["face-se3unet-facescape"] == ("faces", "facescape")
    assert read["lift-human36m-chiral"] == read["actions-kinetics-plain"] == ("body",)


# --- published data sets ---


def test_body_data_sets_are_read_in_their_published_form(tmp_path: Path, data_folder: Path):
    body = tmp_path / "all/body"
    (body / "human36m").mkdir(parents=True)
    write_three_subjects(body / "human36m", human36m_motion(data_folder))
    (body / "penn_action").mkdir()
    for clip in read_penn(data_folder / "body/penn_action")[:4]:
        write_mat(body / "penn_action/labels", clip)
    sequences: list[BodyClip] = read_nw_ucla(data_folder / "body/nw_ucla")
    (body / "nw_ucla").mkdir()
    for clip in sequences[::150]:
        write_nw_ucla(body / "nw_ucla", clip)
    counts = check(tmp_path / "all")["body"]
    assert counts["human36m gt"] == {"train": 12, "validation": 12, "test": 12}  # three clips for each of four cameras
    assert sum(counts["penn_action"].values()) == 4
    assert sum(counts["nw_ucla"].values()) == len(sequences[::150])
    arrays = dict(np.load(body / "human36m/data_2d_h36m_gt.npz", allow_pickle=True))
    arrays["positions_2d"].item()["S1"]["Walking"][0][5:9] = np.inf
    np.savez(body / "human36m/data_2d_h36m_gt.npz", **arrays)
    assert sum(check(tmp_path / "all")["body"]["human36m gt"].values()) == 36, (
        "expected infinite keypoints to be missing"
    )
    (body / "human36m/data_2d_h36m_gt.npz").unlink()
    with pytest.raises(MalformedData, match=r"body/human36m/data_2d_h36m_cpn_ft_h36m_dbb\.npz"):
        check(tmp_path / "all")


def test_kinetics_is_read_clip_by_clip_and_its_pickle_is_not_run(tmp_path: Path):
    folder = write_kinetics(tmp_path / "all/body/kinetics")
    assert check(tmp_path / "all")["body"]["kinetics"] == {"train": 3, "validation": 0, "test": 1}
    (folder / "kinetics_train/v2.json").write_text('{"data": [')
    with pytest.raises(MalformedData, match=r"^body/kinetics/kinetics_train/v2\.json: expected a Kinetics"):
        check(tmp_path / "all")
    shutil.rmtree(folder)
    folder.mkdir()
    np.save(folder / "val_data.npy", np.zeros((1, 3, 300, 18, 2), np.float32))
    (folder / "val_label.pkl").write_bytes(pickle.dumps(CreatesFolder(tmp_path / "created")))
    with pytest.raises(MalformedData, match=r"^body/kinetics/val_label\.pkl asks for posix\.mkdir"):
        check(tmp_path / "all")
    assert not (tmp_path / "created").exists()


class CreatesFolder:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def test_facescape_is_checked_mesh_by_mesh(tmp_path: Path):
    points, quads = face_of(next(iter(TOPOLOGIES)))
    meshes = []
    for split in SPLITS:
        subject = next(subject for subject in range(1, 848) if split_of(subject) == split)
        meshes.append(tmp_path / "facescape" / str(subject) / "models_reg" / "1_neutral.obj")
        write_obj(meshes[-1], points, quads)
    assert check(tmp_path) == {"facescape": {"facescape": {"train": 1, "validation": 1, "test": 1}}}
    meshes[1].write_text(meshes[1].read_text().replace("v ", "v nan ", 1))
    with pytest.raises(MalformedData, match=rf"^facescape/{meshes[1].parts[-3]}/models_reg/1_neutral\.obj: "):
        check(tmp_path)
    meshes[1].unlink()
    with pytest.raises(MalformedData, match="no meshes of these expressions in the split validation"):
        check(tmp_path)


# --- malformed files ---


@pytest.fixture
def small_folder(tmp_path: Path, data_folder: Path) -> Path:
    """Copy real hands of one source, real bodies of one source, and the face model."""
    folder = tmp_path / "some"
    for name in (TZIONAS, JHMDB, ICT, "faces/ict_facekit/expression_presets.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_folder / name, folder / name)
    splits = json.loads((data_folder / "hands/splits.json").read_text())
    (folder / "hands/splits.json").write_text(json.dumps({"tzionas": splits["tzionas"]}))
    return folder


def changed(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change one array of a .npz and keep the others unchanged."""
    packed = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == f"{name}.npy":
                buffer = io.BytesIO()
                np.save(buffer, change(np.load(io.BytesIO(content))), allow_pickle=True)
                content = buffer.getvalue()
            new.writestr(member.filename, content)


def all_nan(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.nan)


def objects(array: np.ndarray) -> np.ndarray:
    return np.array([CreatesFolder(CREATED)] * len(array), dtype=object)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SPLITS_JSON = "hands/splits.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: truncated(f / TZIONAS), rf"^{TZIONAS}: BadZipFile"),
        (lambda f: truncated(f / JHMDB), rf"^{JHMDB} is no \.npz"),
        (lambda f: truncated(f / ICT), rf"^{ICT}: BadZipFile"),
        (lambda f: changed(f / TZIONAS, "label", objects), rf"^{TZIONAS}, array label\.npy asks for posix\.mkdir"),
        (lambda f: changed(f / JHMDB, "xy_norm", objects), rf"^{JHMDB}, array xy_norm\.npy asks for posix\.mkdir"),
        (lambda f: changed(f / ICT, "mean", objects), rf"^{ICT}, array mean\.npy asks for posix\.mkdir"),
        (lambda f: changed(f / TZIONAS, "joints", all_nan), rf"^{TZIONAS}: ValueError: .* expected finite coordinates"),
        (lambda f: changed(f / TZIONAS, "valid", np.zeros_like), rf"^{TZIONAS}: ValueError: .* expected a hand"),
        (lambda f: changed(f / TZIONAS, "timestamp", all_nan), rf"^{TZIONAS}: WrongClip: expected finite times"),
        (lambda f: changed(f / JHMDB, "xy_norm", all_nan), rf"^{JHMDB}: ValueError: expected a visible joint in at least one of its 609"),
        (lambda f: changed(f / JHMDB, "action", lambda a: a + 99), rf"^{JHMDB}: IndexError"),
        (lambda f: changed(f / ICT, "exp_basis", all_nan), rf"^{ICT}: ValueError: expected finite numbers in exp_basis"),
        (lambda f: changed(f / ICT, "scan_mask", np.zeros_like), rf"^{ICT}: "),
        (lambda f: changed(f / ICT, "triangles", lambda a: a + 9), rf"^{ICT}: ValueError: expected triangles below "),
        (lambda f: changed(f / ICT, "exp_names", lambda a: a[::-1].astype("<U3")), rf"^{ICT}: "),
        (lambda f: (f / ICT).with_name("expression_presets.json").unlink(), "No such file.* 'faces/ict_facekit/expression_"),
        (lambda f: (f / SPLITS_JSON).unlink(), rf"^expected {SPLITS_JSON} with .* got no file"),
        (lambda f: (f / SPLITS_JSON).write_text("{"), rf"^{SPLITS_JSON}: JSONDecodeError"),
        (lambda f: (f / SPLITS_JSON).write_bytes(b" " * 2**24 + b"{}"), rf"^{SPLITS_JSON}: ValueError: .* got 16,777,218 or more"),
        (lambda f: (f / SPLITS_JSON).write_text("{}"), r"^hands has no recordings"),
        (lambda f: (f / SPLITS_JSON).write_text('{"../tzionas": {}}'), rf"^{SPLITS_JSON}: expected the name of a folder for a source"),
        (lambda f: (f / SPLITS_JSON).write_text('{"tzionas": {"train": []}}'), "tzionas has no split 'validation'; it has train"),
        (lambda f: (f / JHMDB).unlink(), rf"^no file {JHMDB}"),
        (lambda f: (f / JHMDB).parent.rename(f / "body/own"), r"^expected hdm05_11, .* or kinetics in body, got own$"),
        (lambda f: (f / ICT).parent.rename(f / "faces/own"), r"^expected ict_facekit, .* in faces, got own$"),
        (lambda f: (f / "faces/raw_scans").mkdir(), "No such file.* 'faces/raw_scans/humface.ply'"),
        (lambda f: (f / "notes.txt").symlink_to("/etc/passwd"), r"^notes\.txt: .* symbolic link"),
        (lambda f: (f / "body/more").symlink_to(f / "hands"), r"^body/more: .* symbolic link"),
        (lambda f: (f / "faces").rename(f / "scans"), None),
    ],
)  # fmt: skip
def test_the_error_for_malformed_data_names_the_file(small_folder: Path, change, message: str | None):
    change(small_folder)
    if message is None:
        assert list(check(small_folder)) == ["hands", "body"], "expected files that no run reads to be ignored"
        return
    with pytest.raises(MalformedData, match=message):
        check(small_folder)
    assert not CREATED.exists()


def test_the_error_for_a_folder_without_known_parts_lists_its_content(tmp_path: Path):
    with pytest.raises(
        MalformedData,
        match=r"^expected hands, faces, facescape or body in the data folder, or dataset\.json beside recordings or scans, got nothing$",
    ):
        check(tmp_path)
    (tmp_path / "own/hands").mkdir(parents=True)
    (tmp_path / "README.md").touch()
    with pytest.raises(MalformedData, match=r"got README\.md, own$"):
        check(tmp_path)
    with pytest.raises(MalformedData, match="got no folder"):
        check(tmp_path / "none")


def test_a_bomb_is_not_unpacked(small_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100_000)
    with pytest.raises(MalformedData, match=rf"^{TZIONAS}: ValueError: expected at most 100,000 bytes, got"):
        check(small_folder)


def test_a_bomb_of_a_mat_file_is_not_unpacked(tmp_path: Path):
    labels = tmp_path / "body/penn_action/labels"
    labels.mkdir(parents=True)
    clip = dict.fromkeys(("x", "y", "visibility"), np.ones((3, 13))) | {"train": 1, "action": "bowl"}
    for number, change in enumerate(({}, {"x": np.zeros((200_000, 13))})):
        scipy.io.savemat(labels / f"{number:04d}.mat", clip | change, do_compression=True)
    assert (labels / "0001.mat").stat().st_size < 50_000
    with pytest.raises(
        MalformedData,
        match=r"^body/penn_action/labels/0001\.mat: ValueError: expected at most 16,777,216 bytes, got 16,777,2\d\d or more",
    ):
        check(tmp_path)
    (labels / "0001.mat").unlink()
    assert check(tmp_path)["body"]["penn_action"] == {"train": 1, "validation": 0, "test": 0}


def test_an_error_unrelated_to_the_data_is_not_reported_as_malformed_data(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    class OutOfTime(Exception):
        """An error like a worker's time limit."""

    def late(*_: object) -> None:
        raise OutOfTime

    monkeypatch.setattr(hands_check, "any_present", late)
    with pytest.raises(OutOfTime):
        check(small_folder)
