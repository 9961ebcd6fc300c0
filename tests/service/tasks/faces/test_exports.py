"""Tests of answers of POST /landmarks/face for other programs: 3D Slicer, Blender, viewers and tables, and an aligned copy of the scan."""

import csv
import json

import numpy as np
import pytest

from models.contract.symmetry import random_rotation
from models.scans.files import read_scan
from models.skeletons.face import FACE68, FACE_REGIONS
from service.tasks.faces.upload import CSV, FCSV, MRK, OBJ

from ...exchange import CLOUD, NPY, npy
from ...scans import PLY, arrays, ask, ply, post, triangles_of


def test_a_slicer_point_list_has_named_landmarks_in_the_scans_coordinates(client):
    expected = arrays(client, npy(1000 * CLOUD + 50), NPY)
    document = json.loads(post(client, npy(1000 * CLOUD + 50), NPY, MRK).content)
    (markup,) = document["markups"]
    assert document["@schema"].endswith("markups-schema-v1.0.0.json#")
    assert (markup["type"], markup["coordinateSystem"]) == ("Fiducial", "LPS")
    assert [point["label"] for point in markup["controlPoints"]] == list(FACE68.joints)
    assert np.array_equal([point["position"] for point in markup["controlPoints"]], expected["landmarks"])
    head, *rows = post(client, npy(1000 * CLOUD + 50), NPY, FCSV).text.split("\n# ")
    columns, *table = rows[1].strip().splitlines()
    assert head == "# Markups fiducial file version = 4.11"
    assert rows[0] == "CoordinateSystem = LPS"
    names = columns.removeprefix("columns = ").split(",")
    points = list(csv.DictReader(table, names))
    assert [point["label"] for point in points] == list(FACE68.joints)
    assert np.array_equal([[float(point[axis]) for axis in "xyz"] for point in points], expected["landmarks"])
    assert all(point.keys() == set(names) for point in points)


def test_an_obj_answer_has_a_vertex_for_each_landmark_and_an_edge_for_each_bone(client):
    body = post(client, npy(1000 * CLOUD + 50), NPY, OBJ).text
    assert np.array_equal(
        read_scan(body.encode(), ".obj").points, arrays(client, npy(1000 * CLOUD + 50), NPY)["landmarks"]
    )
    lines = [line.split() for line in body.splitlines()]
    edges = [(int(line[1]) - 1, int(line[2]) - 1) for line in lines if line[0] == "l"]
    assert sorted(edges) == sorted(FACE68.bones)
    assert [line[1] for line in lines if line[0] == "g"] == list(FACE_REGIONS)
    assert "# lengths in mm" in body


@pytest.mark.parametrize("triangles", [None, triangles_of(CLOUD)], ids=["cloud", "mesh"])
def test_an_aligned_copy_is_the_scan_in_the_frame_of_the_head(client, triangles):
    turn, scale = random_rotation(np.random.default_rng(5)), 1000
    body = ply(scale * CLOUD @ turn.T + 400, triangles)
    response = post(client, body, "model/ply", PLY, aligned="true")
    assert response.headers["content-disposition"] == 'attachment; filename="aligned.ply"'
    copy, pose = read_scan(response.content, ".ply"), np.array(ask(client, body, "model/ply")["pose"])
    assert np.abs(copy.points @ pose[:3, :3].T + pose[:3, 3] - (scale * CLOUD @ turn.T + 400)).max() < 1e-3
    assert np.array_equal(np.array(copy.triangles), np.array(triangles))
    again = np.array(ask(client, response.content, "model/ply", units="mm")["pose"])
    assert np.abs(again - np.eye(4)).max() < 0.05


def test_an_aligned_copy_has_no_points_without_a_measurement(client):
    body = npy(np.concatenate([CLOUD, np.full((5, 3), np.nan)]))
    assert len(read_scan(post(client, body, NPY, PLY, aligned="true").content, ".ply").points) == len(CLOUD)


def test_a_csv_answer_has_the_landmarks_of_the_npz_answer(client):
    rows = list(csv.DictReader(post(client, npy(CLOUD), NPY, CSV).text.splitlines()))
    expected = arrays(client, npy(CLOUD), NPY)["landmarks"]
    assert np.array_equal([[float(row[axis]) for axis in "xyz"] for row in rows], expected)


def test_a_ply_answer_is_a_readable_coloured_cloud_with_edges(client):
    body = post(client, npy(1000 * CLOUD + 5000), NPY, PLY).content
    expected = arrays(client, npy(1000 * CLOUD + 5000), NPY)
    scan = read_scan(body, ".ply")
    assert np.array_equal(scan.points, expected["landmarks"])
    header, _, rest = body.decode().partition("end_header\n")
    assert f"element edge {len(FACE68.bones)}" in header
    assert "comment lengths in mm" in header
    rows = [line.split() for line in rest.splitlines()]
    assert [int(row[6]) for row in rows[:68]] == list(range(68))
    for column in (7, 8):
        assert [float(row[column]) for row in rows[:68]] == pytest.approx(expected["confidence"].tolist(), rel=1e-5)
    assert [(int(a), int(b)) for a, b in rows[68:]] == list(FACE68.bones)
    assert len({tuple(row[3:6]) for row in rows[:68]}) == len(FACE_REGIONS)
