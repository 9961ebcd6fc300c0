"""Tests of the check of scans of one's own: it reads every scan, and says what is wrong with each before a step is taken."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_scans import DECLARED, as_markups, as_mesh, as_rows, face, write_scans

from models.skeletons.face import FACE68
from training.__main__ import main
from training.check import check, parts_read
from training.data.reading import MalformedData
from training.tasks.faces.own.landmarks import read_markups, read_table
from training.tasks.faces.own.sets import Declaration, read_set, scans_in, splits_of

POINTS, LANDMARKS = face()
NAMES = list(FACE68.joints)
SHUFFLED = np.random.default_rng(0).permutation(68)


def table(header: str, rows: Any) -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode()


@pytest.mark.parametrize(
    "content",
    [
        as_rows(LANDMARKS).encode(),
        as_rows(LANDMARKS, ";").encode(),
        b"\xef\xbb\xbfX,Y,Z\r\n" + as_rows(LANDMARKS).replace("\n", "\r\n").encode(),
        table("name,x,y,z", [(NAMES[i], *LANDMARKS[i]) for i in SHUFFLED]),
        table("confidence,z,y,x,index", [(0.9, *LANDMARKS[i][::-1], i + 1) for i in SHUFFLED]),
        table("# from a program", [(i, *LANDMARKS[i]) for i in SHUFFLED]),
        table("landmark,x,y,z", [(f"F-{i}", *LANDMARKS[i]) for i in range(68)]),
    ],
    ids=["bare", "semicolons", "header", "names", "numbers", "numbers without header", "other names"],
)
def test_landmarks_are_read_from_tables(content: bytes):
    np.testing.assert_allclose(read_table(content), LANDMARKS, atol=1e-5)


def test_landmarks_of_slicer_are_read_in_its_coordinate_systems():
    np.testing.assert_allclose(read_markups(as_markups(LANDMARKS).encode()), LANDMARKS)
    np.testing.assert_allclose(read_markups(as_markups(LANDMARKS * [-1, -1, 1], "RAS").encode()), LANDMARKS)
    named = as_markups(LANDMARKS[SHUFFLED], labels=[NAMES[i] for i in SHUFFLED])
    np.testing.assert_allclose(read_markups(named.encode()), LANDMARKS)
    numbered = as_markups(LANDMARKS, labels=[f"F_{i}" for i in range(68)])
    np.testing.assert_allclose(read_markups(numbered.encode()), LANDMARKS)


def test_scans_are_counted_by_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_scans(tmp_path / "clinic")
    counts = check(folder)
    assert counts == {"faces": {"clinic": {"train": 4, "validation": 1, "test": 1}}}
    assert parts_read(folder, counts) == (".",)
    main(["check", str(folder)])
    assert capsys.readouterr().out == "faces clinic: 4 train, 1 validation, 1 test\n"


def test_scans_in_a_folder_are_of_one_person_and_stay_in_one_split(tmp_path: Path):
    folder = write_scans(tmp_path / "clinic", 12)
    for number in range(12):
        (folder / f"person-{number // 4}").mkdir(exist_ok=True)
        for path in folder.glob(f"p{number}.*"):
            path.rename(folder / f"person-{number // 4}" / path.name)
    scans, _ = scans_in(folder)
    assert len(scans) == 12
    drawn = splits_of(Declaration.model_validate(DECLARED), scans)
    assert len({(scan.person, drawn[scan.name]) for scan in scans}) == 3
    assert sorted(set(drawn.values())) == ["test", "train", "validation"]
    notes: list[str] = []
    given = {"train": ["person-0", "*/p8.obj"], "validation": ["person-1"], "test": ["*/p9.xyz", "*/p1?.*"]}
    (folder / "dataset.json").write_text(json.dumps({**DECLARED, "splits": given}))
    assert check(folder, note=notes.append)["faces"]["clinic"] == {"train": 5, "validation": 4, "test": 3}
    assert notes == ["person-2: scans of one folder are in test and in train"]


def test_a_scan_may_be_compressed_and_notes_are_no_scans(tmp_path: Path):
    folder = write_scans(tmp_path / "clinic")
    (folder / "p0.obj.gz").write_bytes(gzip.compress((folder / "p0.obj").read_bytes()))
    (folder / "p0.obj").unlink()
    (folder / "README.txt").write_text("1 2 3\n")
    assert sum(check(folder)["faces"]["clinic"].values()) == 6


def test_the_digest_covers_scans_landmarks_and_splits_and_neither_licence_nor_name(tmp_path: Path):
    first = read_set(write_scans(tmp_path / "a")).sha256
    assert first == read_set(write_scans(tmp_path / "b", name="other", licence="MIT")).sha256
    assert first != read_set(write_scans(tmp_path / "c", splits={"seed": 1})).sha256
    (tmp_path / "b/p0.csv").write_text(as_rows(LANDMARKS + 0.1))
    assert first != read_set(tmp_path / "b").sha256


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"units": "m"}, r"p0\.obj: expected landmarks that span 5 cm to 40 cm, got 14\d m on a scan .*units=mm would fit"),
        ({"units": "furlong"}, "units: expected a unit of length"),
        ({"joints": "ibug68"}, "joints: there is no such field"),
        ({"attribution": ""}, "attribution: expected at least 1 character, got 0"),
        ({"splits": {"train": ["p0.obj"], "dev": ["p1.xyz"]}}, "splits: expected the splits train, validation, test, got 'dev'"),
        ({"splits": {"train": ["p0*"], "validation": ["p1*"], "test": ["p2*"]}}, r"dataset\.json: p3\.xyz is in no split"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(MalformedData, match=message):
        check(write_scans(tmp_path / "clinic", **declared))


HOLE = as_rows(LANDMARKS).replace("\n", "\n,,\n", 1).rsplit("\n", 2)[0]
AWAY = LANDMARKS + np.array([0, 0, 45.0]) * (np.arange(68) == NAMES.index("chin"))[:, None]
UNPLACED = as_markups(LANDMARKS).replace('"defined"', '"undefined"', 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p0.csv", as_rows(LANDMARKS[:-1]), r"p0\.obj: expected 68 landmarks, got 67"),
        ("p0.csv", HOLE.replace(",,", "nan,0,0"), r"p0\.obj: expected finite x, y and z of right_jaw_2, got nan, 0, 0"),
        ("p0.csv", "x,y\n1,2\n", r"p0\.obj: expected x, y and z, or a name and these, .* got 2 columns"),
        ("p0.csv", table("name,x,y,z", [("chin", *p) for p in LANDMARKS]).decode(), "expected each landmark once, got chin twice"),
        ("p0.csv", as_rows(AWAY), r"p0\.obj: expected landmarks within 3 cm of the scan, got 1 farther away, chin the farthest at"),
        ("p0.csv", as_rows(LANDMARKS[list(FACE68.mirror)]), r"p0\.obj: .* either left and right are exchanged, or the scan is mirrored"),
        ("p0.csv", as_rows(LANDMARKS[SHUFFLED]), r"p0\.obj: expected landmarks in ibug68 order, got .* which are neighbours"),
        ("p1.mrk.json", as_markups(LANDMARKS, "IJK"), r"p1\.xyz: expected the coordinateSystem LPS or RAS, got 'IJK'"),
        ("p1.mrk.json", as_markups(LANDMARKS).replace('"LPS"', "[1]"), r"p1\.xyz: expected the coordinateSystem LPS or RAS, got '\[1\]'"),
        ("p1.mrk.json", UNPLACED, r"p1\.xyz: landmark 0: expected a point that was placed, got none"),
        ("p1.mrk.json", "{}", r"p1\.xyz: expected markups with one list of control points, got 0 lists"),
        ("p1.csv", as_rows(LANDMARKS), r"p1\.xyz: expected p1\.csv or p1\.mrk\.json beside it, got p1\.csv, p1\.mrk\.json"),
        ("new.obj", as_mesh(POINTS), r"new\.obj: expected new\.csv or new\.mrk\.json beside it, got neither"),
        ("new.csv", as_rows(LANDMARKS), r"new\.csv: expected a scan beside the landmarks, got none"),
        ("p0.xyz", as_rows(POINTS, " "), r"p0: expected one scan of this name, got p0\.obj, p0\.xyz"),
        ("p1.xyz", as_rows(POINTS[:1000], " "), r"p1\.xyz: expected a cloud of at least 1024 points, got 1000"),
        ("p0.obj", "v 0 0\n", r"p0\.obj: "),
    ],
)  # fmt: skip
def test_a_wrong_scan_is_named(name: str, content: str, message: str, tmp_path: Path):
    folder = write_scans(tmp_path / "clinic")
    (folder / name).write_text(content)
    with pytest.raises(MalformedData, match=message):
        check(folder)


def test_a_face_that_is_too_small_is_named(tmp_path: Path):
    folder = write_scans(tmp_path / "clinic")
    (folder / "p0.obj").write_text(as_mesh(0.6 * POINTS))
    (folder / "p0.csv").write_text(as_rows(0.6 * LANDMARKS))
    message = r"p0\.obj: expected outer eye corners at a distance of 6\.2 cm to 13 cm, got 5\.\d+ cm read in mm"
    with pytest.raises(MalformedData, match=message):
        check(folder)


def test_the_same_scan_twice_is_refused(tmp_path: Path):
    folder = write_scans(tmp_path / "clinic")
    for suffix in ("obj", "csv"):
        shutil.copy(folder / f"p0.{suffix}", folder / f"q.{suffix}")
    with pytest.raises(MalformedData, match=r"q\.obj: expected another scan than p0\.obj, got the same file"):
        check(folder)


def test_a_mesh_that_is_inside_out_is_doubtful(tmp_path: Path):
    folder, notes = write_scans(tmp_path / "clinic"), list[str]()
    check(folder, note=notes.append)
    assert notes == []
    turned = [
        " ".join(line.split()[:1] + line.split()[:0:-1]) if line[0] == "f" else line
        for line in as_mesh(POINTS).split("\n")[:-1]
    ]
    (folder / "p0.obj").write_text("\n".join(turned) + "\n")
    check(folder, note=notes.append)
    assert notes == ["p0.obj: the triangles around the face are seen from behind: the mesh is mirrored, or inside out"]
