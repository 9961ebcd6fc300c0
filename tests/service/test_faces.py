"""Scans to questions and finds to answers, without a server: units, thinning, and numbers that stay what they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from clouds import bumpy_cloud

from models.contract.bundle import read_bundle
from models.contract.symmetry import random_rotation
from models.contract.units import UNITS
from models.scans.cloud import Degenerate, Scan, TooBig
from models.scans.files import read_scan
from models.scans.levels import Face, find
from models.skeletons import face as face_skeleton
from service.inference.predictor import Predictor
from service.tasks.faces import answers
from service.tasks.faces import prepare as faces
from service.tasks.faces.prepare import (
    NoFace,
    Question,
    UnclearUnits,
    prepare,
    typical_radius,
    unit_of,
)

CLOUD = bumpy_cloud(3000)
SCAN = Scan(CLOUD, None)


@pytest.fixture(scope="module")
def bundle(bundles):
    return read_bundle(bundles / "face-shells")


@pytest.fixture(scope="module")
def found(bundle) -> tuple[Question, Face]:
    question = prepare(SCAN)
    return question, find(question.points, bundle.meta.task, Predictor(bundle).run)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", ["humface", "lee_perry_smith"])
def test_the_unit_of_a_real_scan_is_found_whatever_it_is(data_folder, name, unit):
    scan = read_scan((Path(data_folder) / "faces" / "raw_scans" / f"{name}.ply").read_bytes(), ".ply")
    scaled = Scan(scan.points * 0.001 / UNITS[unit], scan.triangles)
    question = prepare(scaled)
    assert (question.unit, question.inferred) == (unit, True)
    assert question.points == pytest.approx(prepare(scan).points, abs=1e-9)


@pytest.mark.parametrize("part", ["scan_mask", "front_mask", "narrow_mask"])
def test_the_unit_of_a_face_is_found_however_it_is_cropped(data_folder, part):
    with np.load(Path(data_folder) / "faces" / "ict_facekit" / "ict_facekit_light.npz") as model:
        points = model["mean"][model[part]].astype(float)
    for unit in UNITS:
        assert unit_of(points * 0.001 / UNITS[unit]) == unit


def test_no_size_is_that_of_a_face_in_two_units():
    low, high = faces.TYPICAL_M
    assert high / low < 10


@pytest.mark.parametrize("scale", [1e-4, 0.2, 5, 5000])
def test_a_scan_of_no_faces_size_wants_its_unit_said(scale):
    with pytest.raises(UnclearUnits, match=r"cm \(if in mm\): say its units"):
        prepare(Scan(CLOUD * scale, None))
    assert not prepare(Scan(CLOUD * scale, None), "cm").inferred


def test_the_size_stays_when_the_scan_is_turned_moved_or_has_points_far_away():
    radius, rng = typical_radius(CLOUD), np.random.default_rng(0)
    turned = CLOUD @ random_rotation(rng).T + [3, -7, 10]
    assert typical_radius(turned) == pytest.approx(radius, rel=1e-9)
    far = np.concatenate([CLOUD, rng.normal(scale=50, size=(60, 3))])
    assert typical_radius(far) == pytest.approx(radius, rel=0.1)


def test_a_cloud_is_taken_as_it_is_until_it_is_large(monkeypatch):
    assert np.array_equal(prepare(SCAN).points, CLOUD)
    monkeypatch.setattr(faces, "MOST_POINTS", 1500)
    thin = prepare(SCAN, heatmaps="full")
    assert thin.indices is not None
    assert thin.vertices is not None
    assert len(thin.indices) == 1500
    assert np.array_equal(thin.points, CLOUD[thin.indices])
    assert (np.diff(thin.indices) > 0).all()
    assert thin.uploaded == 3000
    assert np.array_equal(thin.vertices, CLOUD)


def test_a_mesh_without_any_area_is_refused():
    with pytest.raises(Degenerate, match="triangle with an area"):
        prepare(Scan(CLOUD, np.zeros((4, 3), int)))


def test_heatmaps_at_too_many_points_are_refused():
    cloud = np.resize(CLOUD, (faces.MOST_FULL + 1, 3))
    with pytest.raises(TooBig, match="at most 300000 points; 300001 came"):
        prepare(Scan(cloud, None), heatmaps="full")


@pytest.mark.parametrize("broken", ["landmarks", "confidence", "heatmaps"])
def test_an_answer_that_is_not_finite_is_no_face(found, broken):
    question, face = found
    numbers = {name: getattr(face, name) for name in ("landmarks", "confidence", "heatmaps")}
    numbers[broken] = numbers[broken] * np.nan
    with pytest.raises(NoFace, match="no finite answer"):
        faces.require_face(question, Face(**numbers, sampled=face.sampled, looks=1))


def test_json_is_made_of_plain_values(found, bundle):
    question, face = found
    answer = json.loads(answers.json_bytes(answers.document(question, face, bundle.meta, "points")))
    assert len(answer["landmarks"]) == 68
    assert np.abs(np.array(answer["landmarks"][5]["position"]) - face.landmarks[5]).max() <= 5.1e-10
    assert np.abs(np.array(answer["heatmaps"]["values"]) - face.heatmaps).max() <= 6e-7


@pytest.mark.parametrize(("unit", "decimals"), [("m", 9), ("cm", 7), ("mm", 6)])
def test_positions_are_written_to_a_nanometre(bundle, unit, decimals):
    question = prepare(Scan((CLOUD + np.pi) / UNITS[unit], None), unit)
    face = find(question.points, bundle.meta.task, Predictor(bundle).run)
    answer = json.loads(answers.json_bytes(answers.document(question, face, bundle.meta)))
    numbers = [x for landmark in answer["landmarks"] for x in landmark["position"]]
    assert all(round(x, decimals) == x for x in numbers)
    assert any(round(x, decimals - 1) != x for x in numbers)


def test_every_region_has_a_colour():
    assert set(answers.COLOURS) == set(face_skeleton.FACE_REGIONS)
