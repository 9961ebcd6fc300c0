"""Tests of `chiron landmarks`: its output equals the service's answers."""

import csv
import gzip
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from models.scans.files import read_scan
from models.skeletons.face import FACE68

from ...command_line import CHECKOUT, complaint, imported, process, run
from ...exchange import CLOUD
from ...scans import ply, triangles_of


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.ply"
    path.write_bytes(ply(1000 * CLOUD))
    return path


def test_landmarks_and_a_picture_of_a_real_scan_need_no_torch(data_folder: Path, tmp_path: Path):
    humface = data_folder / "faces" / "raw_scans" / "humface.ply"
    result = process(
        *(
            "landmarks",
            humface,
            "-o",
            tmp_path / "landmarks.json",
            "--plot",
            tmp_path / "scan.png",
            "--aligned",
            tmp_path / "aligned.ply",
            "--model",
            "face-se3unet",
            "--bundles",
            CHECKOUT / "bundles",
        )
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert not {"torch", "training"} & imported(result)
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads((tmp_path / "landmarks.json").read_text())
    assert answer["units"] == "mm"
    assert len(answer["landmarks"]) == 68
    nose = np.array(answer["landmarks"][30]["position"]) - np.array(answer["pose"])[:3, 3]
    aligned = read_scan((tmp_path / "aligned.ply").read_bytes(), ".ply")
    distance = np.linalg.norm(aligned.points - nose @ np.array(answer["pose"])[:3, :3], axis=1).min()
    assert distance < 3, "the nose is on the copy, too"


def test_matplotlib_is_imported_only_for_a_picture(bundles: Path, scan: Path):
    result = process("landmarks", scan, "--bundles", bundles)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["landmarks"]) == 68
    assert "matplotlib" not in imported(result)


def test_the_answer_is_printed_as_json_by_default(client, bundles: Path, scan: Path):
    printed = run("landmarks", scan, "--bundles", bundles).stdout
    answer = client.post("/landmarks/face", content=scan.read_bytes(), headers={"content-type": "model/ply"})
    assert json.loads(printed) == answer.json()


def test_every_format_has_the_same_landmarks(bundles: Path, scan: Path, tmp_path: Path):
    for suffix in ("json", "csv", "npz", "ply", "obj", "mrk.json", "fcsv"):
        run("landmarks", scan, "-o", tmp_path / f"landmarks.{suffix}", "--bundles", bundles)
    answer = json.loads((tmp_path / "landmarks.json").read_text())
    expected = np.array([landmark["position"] for landmark in answer["landmarks"]])
    with np.load(tmp_path / "landmarks.npz") as arrays:
        np.testing.assert_allclose(arrays["landmarks"], expected, atol=1e-6)
    cloud = read_scan((tmp_path / "landmarks.ply").read_bytes(), ".ply").points
    np.testing.assert_allclose(cloud, expected, atol=1e-6)
    vertices = read_scan((tmp_path / "landmarks.obj").read_bytes(), ".obj").points
    np.testing.assert_allclose(vertices, expected, atol=1e-6)
    rows = list(csv.DictReader((tmp_path / "landmarks.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == list(FACE68.joints)
    assert [int(row["index"]) for row in rows] == list(range(68))
    np.testing.assert_allclose([[float(row[axis]) for axis in "xyz"] for row in rows], expected, atol=1e-6)
    (markup,) = json.loads((tmp_path / "landmarks.mrk.json").read_text())["markups"]
    np.testing.assert_allclose([point["position"] for point in markup["controlPoints"]], expected, atol=1e-6)
    fiducials = [line.split(",") for line in (tmp_path / "landmarks.fcsv").read_text().splitlines()[3:]]
    np.testing.assert_allclose([[float(x) for x in row[1:4]] for row in fiducials], expected, atol=1e-6)
    sure = [landmark["confidence"] for landmark in answer["landmarks"]]
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], sure, atol=1e-5)


def test_the_answer_has_the_requested_units_and_heatmaps(bundles: Path, scan: Path, tmp_path: Path):
    with_heatmaps = json.loads(run("landmarks", scan, "--heatmaps", "points", "--bundles", bundles).stdout)
    assert with_heatmaps["units_inferred"]
    assert np.shape(with_heatmaps["heatmaps"]["values"]) == (68, 1024)
    stated = json.loads(run("landmarks", scan, "--units", "mm", "--bundles", bundles).stdout)
    assert not stated["units_inferred"]
    run("landmarks", scan, "-o", tmp_path / "full.npz", "--heatmaps", "full", "--bundles", bundles)
    with np.load(tmp_path / "full.npz") as arrays:
        assert arrays["full_heatmaps"].shape == (68, len(CLOUD))


def test_a_failed_scan_does_not_stop_the_others(bundles: Path, tmp_path: Path):
    names = ("one.ply", "two.xyz", "three.obj")
    (tmp_path / "one.ply").write_bytes(ply(CLOUD))
    (tmp_path / "broken.ply").write_bytes(ply(CLOUD)[:-7])
    (tmp_path / "two.xyz").write_text("\n".join(" ".join(map(str, row)) for row in 100 * CLOUD))
    faces = "\n".join(f"f {a} {b} {c}" for a, b, c in triangles_of(CLOUD) + 1)
    (tmp_path / "three.obj").write_text("\n".join(f"v {x} {y} {z}" for x, y, z in CLOUD) + f"\n{faces}\n")
    paths = [tmp_path / name for name in (names[0], "broken.ply", "missing.ply", *names[1:])]
    result = run("landmarks", *paths, "-o", f"{tmp_path / 'out'}/", "--bundles", bundles, code=1)
    assert result.stdout == ""
    bar, *sentences = result.stderr.split("chiron: ")
    assert "5/5" in bar
    assert sentences[0] == "2 of 5 files failed\n"
    assert [sentence.partition(":")[0] for sentence in sentences[1:]] == [str(paths[1]), str(paths[2])]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.json", "three.json", "two.json"]
    units = {path.stem: json.loads(path.read_text())["units"] for path in (tmp_path / "out").iterdir()}
    assert units == {"one": "m", "two": "cm", "three": "m"}


def test_each_of_several_scans_gets_a_picture(bundles: Path, tmp_path: Path):
    paths = [tmp_path / name for name in ("one.ply", "two.ply")]
    for path in paths:
        path.write_bytes(ply(CLOUD))
    (tmp_path / "out").mkdir()
    options = ("-o", tmp_path / "out", "--plot", f"{tmp_path / 'pictures'}/", "--to", "csv")
    run("landmarks", *paths, *options, "--bundles", bundles)
    assert (tmp_path / "out" / "one.csv").read_text() == (tmp_path / "out" / "two.csv").read_text()
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["one.png", "two.png"]


def test_slicer_point_lists_in_a_folder_have_the_full_suffix(bundles: Path, scan: Path, tmp_path: Path):
    run("landmarks", scan, "-o", f"{tmp_path / 'out'}/", "--to", "mrk.json", "--bundles", bundles)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan.mrk.json"]
    assert "markups" in json.loads((tmp_path / "out" / "scan.mrk.json").read_text())


def test_the_answer_to_one_scan_can_be_written_to_a_folder(bundles: Path, scan: Path, tmp_path: Path):
    run("landmarks", scan, "-o", f"{tmp_path / 'new' / 'out'}/", "--bundles", bundles)
    assert (tmp_path / "new" / "out" / "scan.json").is_file()


USAGE_ERRORS: dict[str, tuple[list[str], str]] = {
    "heatmaps in a table": (["scan.ply", "-o", "out.csv", "--heatmaps", "points"], "as .json or .npz for --heatmaps points, got .csv"),
    "all heatmaps in JSON": (["scan.ply", "--heatmaps", "full"], "as .npz for --heatmaps full, got .json"),
    "standard input of no format": (["-"], "expected --format with the format of the scan on standard input"),
    "an unknown format": (["scan.ply", "--format", "docx"], "expected --format of the input to be one of ply, obj"),
    "a copy of another form": (["scan.ply", "--aligned", "out.obj"], "expected an aligned copy ending in .ply"),
    "a copy over the answer": (["scan.ply", "-o", "a.ply", "--aligned", "a.ply"], "expected different files"),
    "no such model": (["scan.ply", "--model", "face-other"], "no face-landmarks model 'face-other'"),
}  # fmt: skip
FILE_ERRORS: dict[str, tuple[list[str], str]] = {
    "no such scan": (["nothing.ply"], "nothing.ply: No such file"),
    "no scan": (["empty.ply"], "empty.ply: expected a .ply file, got an empty one"),
    "a format that is not read": (["notes.docx"], "got .docx; or give its --format"),
    "no size of a face": (["far.xyz"], "say its units"),
    "no face": (["scan.ply", "--units", "m"], "confidence"),
}


@pytest.mark.parametrize("name", [*USAGE_ERRORS, *FILE_ERRORS])
def test_a_failed_command_prints_one_line_and_writes_no_files(
    bundles: Path, scan: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    arguments, message = (USAGE_ERRORS | FILE_ERRORS)[name]
    monkeypatch.chdir(scan.parent)
    Path("empty.ply").touch()
    Path("notes.docx").write_text("no scan")
    Path("far.xyz").write_text("\n".join(" ".join(map(str, row)) for row in 1e6 * CLOUD))
    before = {path: path.read_bytes() for path in Path().iterdir()}
    code = 2 if name in USAGE_ERRORS else 1
    assert message in complaint("landmarks", *arguments, "--bundles", bundles, code=code)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_scan_on_standard_input_gets_the_answer_of_its_file(bundles: Path, scan: Path):
    options = ["--bundles", bundles]
    piped = run("landmarks", "-", "--format", "ply", *options, stdin=scan.read_bytes())
    assert piped.stdout == run("landmarks", scan, *options).stdout


def test_the_format_of_a_scan_can_be_given_as_an_option(bundles: Path, scan: Path, tmp_path: Path):
    for name in ("scan.dat", "scan.txt", "scan"):
        (tmp_path / name).write_bytes(scan.read_bytes())
        result = run("landmarks", tmp_path / name, "--format", "PLY", "--bundles", bundles)
        assert result.stdout == run("landmarks", scan, "--bundles", bundles).stdout


def test_many_scans_get_an_aligned_copy_each_beside_their_answers(bundles: Path, tmp_path: Path):
    for name in ("one.ply", "two.ply"):
        (tmp_path / name).write_bytes(ply(CLOUD))
    out = f"{tmp_path / 'out'}/"
    run(
        "landmarks",
        tmp_path / "one.ply",
        tmp_path / "two.ply",
        "-o",
        out,
        "--aligned",
        out,
        "--to",
        "ply",
        "--bundles",
        bundles,
    )
    names = ["one.aligned.ply", "one.ply", "two.aligned.ply", "two.ply"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert len(read_scan((tmp_path / "out" / "one.aligned.ply").read_bytes(), ".ply").points) == len(CLOUD)


def test_a_compressed_scan_is_named_and_answered_like_the_scan_in_it(bundles: Path, scan: Path, tmp_path: Path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "scan.ply.gz").write_bytes(gzip.compress(scan.read_bytes()))
    run("landmarks", tmp_path / "packed", "-o", f"{tmp_path / 'out'}/", "--bundles", bundles)
    printed = run("landmarks", scan, "--bundles", bundles).stdout
    assert json.loads((tmp_path / "out" / "scan.json").read_text()) == json.loads(printed)


def test_a_folder_stands_for_its_scans(bundles: Path, tmp_path: Path):
    (tmp_path / "scans").mkdir()
    for name in ("one.ply", "two.ply"):
        (tmp_path / "scans" / name).write_bytes(ply(CLOUD))
    (tmp_path / "scans" / "notes.docx").write_text("no scan")
    run("landmarks", tmp_path / "scans", "-o", f"{tmp_path / 'out'}/", "--bundles", bundles)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.json", "two.json"]


def test_without_matplotlib_a_picture_is_refused_early(
    bundles: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    options = ("-o", tmp_path / "out.json", "--plot", tmp_path / "scan.png", "--bundles", bundles)
    assert "pip install 'chiron[plot]'" in complaint("landmarks", scan, *options, code=2)
    assert not (tmp_path / "out.json").exists()
    run("landmarks", scan, "-o", tmp_path / "out.json", "--bundles", bundles)


def test_missing_or_broken_bundles_are_reported_on_one_line(bundles: Path, scan: Path, tmp_path: Path):
    assert "no folder" in complaint("landmarks", scan, "--bundles", tmp_path / "none", code=2)
    broken = tmp_path / "bundles" / "face-shells"
    shutil.copytree(bundles / "face-shells", broken)
    (broken / "model.onnx").write_bytes(b"another graph")
    for options in ([], ["--model", "face-shells"]):
        assert "checksum" in complaint("landmarks", scan, "--bundles", tmp_path / "bundles", *options, code=2)
    assert "no face-landmarks model" in complaint("landmarks", scan, "--bundles", CHECKOUT / "docs", code=2)


def test_a_model_that_does_not_repeat_its_example_is_not_used(bundles: Path, scan: Path, tmp_path: Path):
    lying = tmp_path / "bundles" / "face-shells"
    shutil.copytree(bundles / "face-shells", lying)
    with np.load(lying / "example.npz") as arrays:
        example = dict(arrays)
    example["out_landmarks"] = example["out_landmarks"] + 0.001
    np.savez(lying / "example.npz", allow_pickle=False, **example)
    meta = json.loads((lying / "bundle.json").read_text())
    content = (lying / "example.npz").read_bytes()
    meta["files"]["example.npz"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (lying / "bundle.json").write_text(json.dumps(meta))
    assert "example" in complaint("landmarks", scan, "--bundles", tmp_path / "bundles", code=2)
