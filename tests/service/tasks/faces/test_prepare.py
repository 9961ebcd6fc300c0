"""Tests of the preparation of scans and the encoding of answers without a server: units, thinning, and precision."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clouds import bumpy_cloud

from models.contract.bundle import read_bundle
from models.contract.symmetry import random_rotation
from models.scans.cloud import Degenerate, TooBig
from models.scans.files import read_scan
from models.scans.levels import MESH_POINTS, Face
from models.scans.plausible_faces import TYPICAL_M, typical_radius
from models.skeletons import face as face_skeleton
from models.skeletons.units import METRIC, UNITS
from service.http.problems import Problem
from service.inference.predictor import Predictor
from service.tasks.endpoint import Body, Limits, run
from service.tasks.faces import answers, meshes, prepare
from service.tasks.faces.endpoint import FACE
from service.tasks.faces.prepare import FoundFace, NoFace, PreparedScan, UnclearUnits, unit_of
from service.tasks.faces.schemas import FaceOptions
from service.tasks.faces.upload import Upload

from ...exchange import npy
from ...scans import ply, triangles_of

CLOUD = bumpy_cloud(3000)
LIMITS = Limits(1 << 30, points=5_000_000)


@pytest.fixture(scope="module")
def bundle(bundles):
    return read_bundle(bundles / "face-shells")


@pytest.fixture(scope="module")
def prepare_scan(bundle):
    """Return a function that prepares points, or the bytes of a file, with options of a request."""

    def call(data: np.ndarray | bytes, suffix: str = ".npy", **options: Any) -> PreparedScan:
        body = npy(data) if isinstance(data, np.ndarray) else data
        return prepare.prepare(Upload(body, suffix, FaceOptions(**options)), bundle.meta, LIMITS)

    return call


@pytest.fixture(scope="module")
def find_face(bundle) -> Callable[..., FoundFace]:
    """Return a function that finds a face on points with options of a request."""

    def call(points: np.ndarray, **options: Any) -> FoundFace:
        body = Body(npy(points), FACE.reads()[".npy"], "application/json", options, suffix=".npy")
        return run(FACE, body, lambda _: (bundle.meta, Predictor(bundle).run), LIMITS)[0]

    return call


@pytest.mark.parametrize("unit", METRIC)
@pytest.mark.parametrize("name", ["humface", "lee_perry_smith"])
def test_the_unit_of_a_real_scan_is_inferred(data_folder, prepare_scan, name, unit):
    data = (Path(data_folder) / "faces" / "raw_scans" / f"{name}.ply").read_bytes()
    scan = read_scan(data, ".ply")
    scaled = prepare_scan(ply(scan.points * 0.001 / UNITS[unit], scan.triangles), ".ply")
    assert scaled.unit == unit
    assert scaled.points == pytest.approx(prepare_scan(data, ".ply").points, abs=1e-9)


@pytest.mark.parametrize("part", ["scan_mask", "front_mask", "narrow_mask"])
def test_the_unit_of_a_cropped_face_is_inferred(data_folder, part):
    with np.load(Path(data_folder) / "faces" / "ict_facekit" / "ict_facekit_light.npz") as model:
        points = model["mean"][model[part]].astype(float)
    for unit in METRIC:
        assert unit_of(points * 0.001 / UNITS[unit]) == unit


def test_no_size_fits_two_metric_units():
    low, high = TYPICAL_M
    assert high / low < 10


@pytest.mark.parametrize("scale", [1e-4, 0.2, 5, 5000])
def test_a_scan_that_fits_no_unit_needs_a_stated_one(prepare_scan, scale):
    with pytest.raises(UnclearUnits, match=r"m if in cm, .* if in ft; say its units"):
        prepare_scan(CLOUD * scale)
    assert prepare_scan(CLOUD * scale, units="cm").unit == "cm"


def test_the_size_of_a_scan_is_invariant_to_motion_and_distant_points():
    radius, rng = typical_radius(CLOUD), np.random.default_rng(0)
    turned = CLOUD @ random_rotation(rng).T + [3, -7, 10]
    assert typical_radius(turned) == pytest.approx(radius, rel=1e-9)
    far = np.concatenate([CLOUD, rng.normal(scale=50, size=(60, 3))])
    assert typical_radius(far) == pytest.approx(radius, rel=0.1)


def test_only_large_clouds_are_thinned(prepare_scan, monkeypatch):
    assert np.array_equal(prepare_scan(CLOUD).points, CLOUD)
    monkeypatch.setattr(prepare, "MOST_POINTS", 1500)
    thin = prepare_scan(CLOUD, heatmaps="full")
    assert thin.indices is not None
    assert thin.whole is not None
    assert len(thin.indices) == 1500
    assert np.array_equal(thin.points, CLOUD[thin.indices])
    assert (np.diff(thin.indices) > 0).all()
    assert thin.vertices == 3000
    assert np.array_equal(thin.whole.points, CLOUD)


def test_the_complete_scan_is_kept_only_for_full_heatmaps(prepare_scan):
    assert prepare_scan(CLOUD).whole is None
    assert prepare_scan(CLOUD, heatmaps="points").whole is None


def test_a_mesh_of_more_than_a_head_is_sampled_as_finely_as_a_cloud(prepare_scan):
    for scale, count in ((1, MESH_POINTS), (10, prepare.MOST_POINTS)):
        scan = prepare_scan(ply(scale * CLOUD, triangles_of(CLOUD)), ".ply", units="m")
        assert len(scan.points) == len(scan.normals) == count


def test_a_mesh_without_any_area_is_refused(prepare_scan):
    with pytest.raises(Degenerate, match="expected a mesh with an area"):
        prepare_scan(ply(CLOUD, np.zeros((4, 3), int)), ".ply")


def test_heatmaps_at_too_many_points_are_refused(prepare_scan):
    cloud = np.resize(CLOUD, (prepare.MOST_FULL + 1, 3))
    with pytest.raises(TooBig, match="expected at most 300000 points for heatmaps at every point, got 300001"):
        prepare_scan(cloud, heatmaps="full")


@pytest.mark.parametrize("broken", ["landmarks", "confidence", "heatmaps"])
def test_an_answer_with_nan_is_not_a_face(find_face, broken):
    face = find_face(CLOUD)
    numbers = {name: getattr(face.face, name) for name in ("landmarks", "confidence", "heatmaps")}
    numbers[broken] = numbers[broken] * np.nan
    with pytest.raises(NoFace, match="no finite answer"):
        prepare.require_face(face.scan, Face(**numbers, sampled=face.face.sampled, looks=1))


def test_an_inferred_unit_needs_a_confident_network(find_face, monkeypatch):
    mean_confidence = float(find_face(CLOUD).face.confidence.mean())
    monkeypatch.setattr(prepare, "CONFIDENT", mean_confidence * 1.001)
    with pytest.raises(
        Problem, match=r"mean confidence of at least .* in m, which the size of the scan suggests"
    ) as caught:
        find_face(CLOUD)
    assert caught.value.kind == "unclear-units"
    with pytest.raises(Problem, match="mean confidence of at least") as caught:
        find_face(CLOUD, units="m")
    assert caught.value.kind == "no-face"


def test_json_rounds_values_to_their_precision(find_face, bundle):
    face = find_face(CLOUD, heatmaps="points")
    answer = json.loads(answers.encode(face, bundle.meta, "application/json").content)
    assert len(answer["landmarks"]) == 68
    assert np.abs(np.array(answer["landmarks"][5]["position"]) - face.face.landmarks[5]).max() <= 5.1e-10
    assert np.abs(np.array(answer["heatmaps"]["values"]) - face.face.heatmaps).max() <= 6e-7


@pytest.mark.parametrize(("unit", "decimals"), [("m", 9), ("cm", 7), ("mm", 6), ("in", 7), ("ft", 8)])
def test_positions_are_written_to_a_nanometre(find_face, bundle, unit, decimals):
    face = find_face((CLOUD + np.pi) / UNITS[unit], units=unit)
    answer = json.loads(answers.encode(face, bundle.meta, "application/json").content)
    numbers = [x for landmark in answer["landmarks"] for x in landmark["position"]]
    assert all(round(x, decimals) == x for x in numbers)
    assert any(round(x, decimals - 1) != x for x in numbers)


def test_every_region_has_a_colour():
    assert set(meshes.COLOURS) == set(face_skeleton.FACE_REGIONS)
