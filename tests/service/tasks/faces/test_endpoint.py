"""Tests of POST /landmarks/face: formats of scans and answers, units, heatmaps, symmetry, and independence of batches."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from clouds import bumpy_cloud
from fastapi.testclient import TestClient

from models.contract.symmetry import random_rotation
from models.scans.head import distances, head_pose
from models.skeletons.face import FACE68, FACE_REGIONS
from service.app import create_app
from service.settings import Settings
from service.tasks.faces import answers, prepare
from service.tasks.faces.schemas import FaceAnswer
from service.tasks.faces.upload import CSV, FCSV, MRK, OBJ

from ...conftest import ASIDE_M
from ...exchange import CLOUD, NPY, npy, problem_of
from ...exchange import FACE_URL as URL
from ...scans import NPZ, OCTETS, PLY, arrays, ask, npz, obj, ply, post, text, triangles_of


def positions(answer: dict) -> np.ndarray:
    return np.array([landmark["position"] for landmark in answer["landmarks"]])


def offsets(points: np.ndarray) -> np.ndarray:
    """Return the network's offset of each landmark: ASIDE_M metres in the direction of the point farthest from the centroid."""
    apart = points - points.mean(axis=0)
    first = apart[np.linalg.norm(apart, axis=1).argmax()]
    return ASIDE_M[:, None] * first / np.linalg.norm(first)


@pytest.fixture(scope="module")
def landmarked(client) -> dict:
    return ask(client, npy(CLOUD), NPY)


def test_landmarks_have_names_and_confidences_with_their_meaning(client, landmarked):
    assert [landmark["name"] for landmark in landmarked["landmarks"]] == list(FACE68.joints)
    assert [landmark["index"] for landmark in landmarked["landmarks"]] == list(range(68))
    assert all(0 < landmark["confidence"] < 1 for landmark in landmarked["landmarks"])
    assert landmarked["confidence"] == {
        "within": 0.003,
        "meaning": "the probability that a landmark is within 0.003 m of the true one",
    }
    assert landmarked["regions"] == {region: list(landmarks) for region, landmarks in FACE_REGIONS.items()}
    listed = client.get("/models/face-shells").json()
    assert landmarked["model"] == {"name": "face-shells", "version": listed["version"]}
    assert [(m["split"], m["value"]) for m in landmarked["expected_error"]] == [("test", 12.5)]
    assert (landmarked["points"], landmarked["triangles"], landmarked["sampled"], landmarked["looks"]) == (
        3000,
        0,
        1024,
        1,
    )
    FaceAnswer.model_validate(landmarked)


def test_the_landmarks_match_a_reference_implementation_of_the_network(landmarked):
    """The reference averages all points, weighted by their distance from the centroid; the service samples 1024 of them."""
    apart = CLOUD - CLOUD.mean(axis=0)
    beside = np.linalg.norm(apart, axis=1)[:, None] - np.linspace(0.05, 0.12, 68)
    weights = np.exp(-0.5 * (beside / 0.004) ** 2)
    expected = CLOUD.mean(axis=0) + (weights / weights.sum(axis=0)).T @ apart + offsets(CLOUD)
    assert np.linalg.norm(positions(landmarked) - expected, axis=1).mean() < 0.01


def test_the_order_of_landmarks_is_served(client):
    order = client.get("/landmarks").json()["ibug68"]
    assert order["landmarks"][8] == "chin"
    assert [36, 37] in order["edges"]
    assert order["regions"]["jaw"] == list(range(17))


SCANS: dict[str, tuple[bytes, str, dict[str, str]]] = {  # one cloud in every format: body, media type, query
    "npy": (npy(CLOUD), NPY, {}),
    "big-endian npy": (npy(CLOUD.astype(">f8")), NPY, {}),
    "npz": (npz(points=CLOUD), NPZ, {}),
    "ply": (ply(CLOUD), "model/ply", {}),
    "ply by format": (ply(CLOUD), OCTETS, {"format": "ply"}),
    "ply by format with a dot": (ply(CLOUD), OCTETS, {"format": ".PLY"}),
    "ply by filename": (ply(CLOUD), OCTETS, {"filename": "C:\\scans\\my scan.2.PLY"}),
    "format before filename": (ply(CLOUD), OCTETS, {"filename": "scan.obj", "format": "ply"}),
    "both say so": (ply(CLOUD), "model/vnd.ply; charset=binary", {"filename": "scan.ply"}),
    "ply.gz by filename": (gzip.compress(ply(CLOUD)), OCTETS, {"filename": "scan.PLY.GZ"}),
    "ply.gz by format": (gzip.compress(ply(CLOUD)), "application/gzip", {"format": "ply.gz"}),
    "ply.gz by its content": (gzip.compress(ply(CLOUD)), "model/ply", {}),
    "text": (text(CLOUD), "text/plain; charset=utf-8", {}),
    "xyz": (text(CLOUD), OCTETS, {"filename": "scan.xyz"}),
    "csv": (b"x,y,z\n" + text(CLOUD, ","), "text/csv", {}),
    "csv called txt": (b"x,y,z\n" + text(CLOUD, ","), "text/csv", {"filename": "scan.txt"}),
}


@pytest.mark.parametrize("form", SCANS)
def test_a_cloud_gets_the_same_answer_in_every_format(client, landmarked, form):
    body, media, query = SCANS[form]
    assert ask(client, body, media, **query) == landmarked


def test_a_scan_can_be_uploaded_in_a_form(client, landmarked):
    packed = gzip.compress(ply(CLOUD))
    for name, media, body in (
        ("scan.ply", "application/x-what", ply(CLOUD)),
        ("scan", "model/ply", ply(CLOUD)),
        ("scan.ply", "model/obj", ply(CLOUD)),
        ("scan.ply.gz", "application/gzip", packed),
    ):
        response = client.post(URL, files={"anything": (name, body, media)})
        assert response.status_code == 200, response.text
        assert response.json() == landmarked


def test_options_can_be_form_fields(client):
    response = client.post(
        URL,
        data={"units": "cm", "model": "face-shells", "heatmaps": "points", "format": "ply"},
        files={"file": ("scan.dat", ply(100 * CLOUD), OCTETS)},
    )
    assert response.status_code == 200, response.text
    assert response.json()["units"] == "cm"
    assert response.json()["heatmaps"]
    mixed = client.post(URL, params={"units": "cm"}, data={"format": "ply"}, files={"file": ("x", ply(100 * CLOUD))})
    assert mixed.json()["landmarks"] == response.json()["landmarks"]


def test_a_field_of_a_form_that_is_left_blank_is_left_out(client):
    blank = {"units": "cm", "model": "", "heatmaps": "", "aligned": "", "filename": "", "format": ""}
    response = client.post(URL, data=blank, files={"file": ("scan.ply", ply(100 * CLOUD))})
    assert response.status_code == 200, response.text
    refused = client.post(URL, data={"other": ""}, files={"file": ("scan.ply", ply(100 * CLOUD))})
    assert problem_of(refused, "invalid-request")


@pytest.mark.parametrize("form", ["ply", "obj", "npz"])
def test_a_mesh_is_sampled_on_its_surface_in_every_format(client, form):
    triangles = triangles_of(CLOUD)
    body = {"ply": lambda: ply(CLOUD, triangles), "obj": lambda: obj(CLOUD, triangles)}.get(
        form, lambda: npz(vertices=CLOUD, faces=triangles)
    )()
    answer = ask(client, body, format=form)
    assert (answer["points"], answer["triangles"], answer["sampled"]) == (3000, len(triangles), 1024)
    assert positions(answer) == pytest.approx(positions(ask(client, ply(CLOUD, triangles), format="ply")), abs=1e-9)
    assert arrays(client, body, format=form, heatmaps="points").keys() >= {"sampled_points", "heatmaps"}
    assert "sampled_indices" not in arrays(client, body, format=form, heatmaps="points"), (
        "expected samples on the surface"
    )


@pytest.mark.parametrize(("units", "scale"), [("m", 1), ("cm", 100), ("mm", 1000)])
def test_the_unit_is_inferred_from_the_size_and_used_in_the_answer(client, landmarked, units, scale):
    answer = ask(client, npy(CLOUD * scale), NPY)
    assert (answer["units"], answer["units_inferred"]) == (units, True)
    assert positions(answer) / scale == pytest.approx(positions(landmarked), abs=1e-8)
    assert answer["confidence"]["within"] == pytest.approx(0.003 * scale)
    stated = ask(client, npy(CLOUD * scale), NPY, units=units)
    assert (stated.pop("units_inferred"), answer.pop("units_inferred")) == (False, True)
    assert stated == answer


def test_a_stated_unit_is_used_where_none_can_be_inferred(client):
    answer = ask(client, npy(0.35 * CLOUD), NPY, units="m")
    assert (answer["units"], answer["units_inferred"]) == ("m", False)


def test_sampled_heatmaps_come_with_their_points(client, landmarked):
    answer = ask(client, npy(CLOUD), NPY, heatmaps="points")
    heatmaps = answer.pop("heatmaps")
    assert answer == landmarked
    values, points, indices = (np.array(heatmaps[name]) for name in ("values", "points", "indices"))
    assert values.shape == (68, 1024)
    assert np.abs(points - CLOUD[indices]).max() < 1e-9
    FaceAnswer.model_validate({**answer, "heatmaps": heatmaps})
    high = values.max(axis=1) > 0.5
    means = values[high] @ points / values[high].sum(axis=1, keepdims=True) + offsets(points)[high]
    assert np.abs(means - positions(landmarked)[high]).max() < 1e-5, (
        "expected landmarks that are the means over their heatmaps"
    )


def test_an_npz_answer_has_unrounded_arrays(client, landmarked):
    plain = arrays(client, npy(CLOUD), NPY)
    measured = {"pose", "distances", "distance_names", "distance_uncertainties", "warnings"}
    assert set(plain) == {"landmarks", "confidence", "seen", "names", "model", "version", "units"} | measured
    assert (plain["landmarks"].dtype, plain["confidence"].dtype) == (np.float64, np.float32)
    assert plain["names"].tolist() == list(FACE68.joints)
    assert str(plain["units"]) == "m"
    assert np.abs(plain["landmarks"] - positions(landmarked)).max() <= 5.1e-10
    with_points = arrays(client, npy(CLOUD), NPY, heatmaps="points")
    assert set(with_points) - set(plain) == {"sampled_points", "sampled_indices", "heatmaps"}
    assert np.array_equal(with_points["sampled_points"], CLOUD[with_points["sampled_indices"]])
    assert (with_points["heatmaps"].dtype, with_points["heatmaps"].shape) == (np.float32, (68, 1024))


def test_the_pose_and_distances_match_the_landmarks_in_the_scans_unit(client, landmarked):
    answer = ask(client, npy(1000 * CLOUD), NPY)
    pose, landmarks = np.array(answer["pose"]), positions(answer)
    assert np.abs(pose - head_pose(landmarks)).max() < 1e-5
    assert np.array(landmarked["pose"])[:3, 3] == pytest.approx(pose[:3, 3] / 1000, abs=1e-8)
    assert np.array(landmarked["pose"])[:3, :3] == pytest.approx(pose[:3, :3], abs=1e-7)
    expected = distances(landmarks, np.array([landmark["confidence"] for landmark in answer["landmarks"]]), 3.0)
    assert list(answer["distances"]) == list(expected)
    for name, distance in expected.items():
        assert answer["distances"][name]["value"] == pytest.approx(distance.value, abs=1e-5)
        assert answer["distances"][name]["uncertainty"] == pytest.approx(distance.uncertainty, rel=1e-4)
    raw = arrays(client, npy(1000 * CLOUD), NPY)
    assert raw["distance_names"].tolist() == list(expected)
    assert raw["distances"] == pytest.approx([distance.value for distance in expected.values()], abs=1e-5)
    assert raw["pose"] == pytest.approx(pose, abs=1e-5)


@pytest.mark.parametrize(("units", "metres"), [("in", 0.0254), ("ft", 0.3048)])
def test_inches_and_feet_can_be_stated(client, landmarked, units, metres):
    answer = ask(client, npy(CLOUD / metres), NPY, units=units)
    assert (answer["units"], answer["units_inferred"]) == (units, False)
    assert positions(answer) * metres == pytest.approx(positions(landmarked), abs=1e-8)
    assert answer["confidence"]["within"] == pytest.approx(0.003 / metres, abs=1e-7)


def test_headers_of_other_formats_have_the_fields_of_json(client):
    for accept in (NPZ, PLY, OBJ, CSV, MRK, FCSV):
        headers = post(client, npy(CLOUD), NPY, accept).headers
        assert headers["x-chiron-model"] == "face-shells"
        assert headers["x-chiron-units"] == "m"
        assert headers["x-chiron-model-version"]
        assert "landmarks." in headers["content-disposition"]


@pytest.mark.parametrize("triangles", [None, triangles_of(CLOUD)])
def test_full_heatmaps_interpolate_the_sampled_ones(client, triangles):
    full = arrays(client, ply(CLOUD, triangles), format="ply", heatmaps="full")
    assert (full["full_heatmaps"].dtype, full["full_heatmaps"].shape) == (np.float32, (68, 3000))
    if triangles is None:
        at_sampled = full["full_heatmaps"][:, full["sampled_indices"]]
        assert np.abs(at_sampled - full["heatmaps"]).max() < 1e-5
    for point in (0, 1234, 2999):  # reference implementation
        squares = np.square(full["sampled_points"] - CLOUD[point]).sum(axis=1)
        near = np.argsort(squares)[:3]
        weights = 1 / np.maximum(squares[near], 1e-20)
        expected = full["heatmaps"][:, near] @ (weights / weights.sum())
        assert np.abs(full["full_heatmaps"][:, point] - expected).max() < 1e-5


def test_interpolating_full_heatmaps_in_chunks_gives_the_same_values(client, monkeypatch):
    unchunked = arrays(client, npy(CLOUD), NPY, heatmaps="full")["full_heatmaps"]
    monkeypatch.setattr(answers, "CHUNK", 700)
    assert np.array_equal(arrays(client, npy(CLOUD), NPY, heatmaps="full")["full_heatmaps"], unchunked)


@pytest.mark.parametrize(
    ("accept", "media"),
    [("*/*", "application/json"), ("model/*", PLY), ("text/html, application/x-npz;q=0.3", NPZ)],
)
def test_accept_chooses_the_format_of_the_answer(client, accept, media):
    response = client.post(URL, content=npy(CLOUD), headers={"content-type": NPY, "accept": accept})
    assert response.headers["content-type"] == media


def test_the_example_of_the_model_can_be_posted(client):
    example = client.get("/models/face-shells/example")
    assert example.headers["content-type"] == PLY
    answer = ask(client, example.content, PLY)
    assert answer["units"] == "m"
    assert answer["points"] == answer["sampled"] == 1024


def test_a_large_cloud_is_thinned_deterministically(client, monkeypatch):
    monkeypatch.setattr(prepare, "MOST_POINTS", 2000)
    thin = arrays(client, npy(CLOUD), NPY, heatmaps="full")
    assert np.array_equal(thin["sampled_points"], CLOUD[thin["sampled_indices"]])
    assert thin["sampled_indices"].max() > 2000
    assert thin["full_heatmaps"].shape == (68, 3000)
    again = arrays(client, npy(CLOUD @ random_rotation(np.random.default_rng(0)).T), NPY, heatmaps="points")
    assert np.array_equal(again["sampled_indices"], thin["sampled_indices"])


def test_points_far_from_the_face_cause_a_second_look(client):
    body = np.concatenate([CLOUD, bumpy_cloud(2000, seed=3) * 1.4 + [0, -0.28, -0.05]])
    answer = ask(client, npy(body), NPY, heatmaps="points")
    assert answer["looks"] == 2
    nose = positions(answer)[list(FACE_REGIONS["nose_base"])].mean(axis=0)
    assert np.linalg.norm(np.array(answer["heatmaps"]["points"]) - nose, axis=1).max() < 0.35


def test_landmarks_of_a_moved_scan_are_the_moved_landmarks(client):
    """Within 10 m, positions agree to a micrometre, heatmaps to 1e-5, and the sampled points are equal; units are inferred."""
    straight = arrays(client, npy(1000 * CLOUD), NPY, heatmaps="full")
    rng = np.random.default_rng(5)
    for body_of, media in ((npy, NPY), (lambda points: npz(points=points), NPZ), (ply, "model/ply")):
        for _ in range(3):
            turn, offset = random_rotation(rng), rng.uniform(-10_000, 10_000, 3)
            turned = arrays(client, body_of(1000 * CLOUD @ turn.T + offset), media, heatmaps="full")
            assert np.abs(turned["landmarks"] - (straight["landmarks"] @ turn.T + offset)).max() <= 1e-3
            assert np.array_equal(turned["sampled_indices"], straight["sampled_indices"])
            for name in ("heatmaps", "full_heatmaps", "confidence"):
                assert np.abs(turned[name] - straight[name]).max() <= 1e-5


def test_float32_coordinates_ten_metres_away_break_the_symmetry(client):
    """Control for the test of moved scans: float32 is exact to 0.5 um at ten metres."""
    straight = arrays(client, npy(CLOUD), NPY)["landmarks"]
    offset = np.array([9.7, -8.3, 9.1])
    moved = arrays(client, npy((CLOUD + offset).astype(np.float32)), NPY)["landmarks"]
    assert np.abs(moved - (straight + offset)).max() > 1e-8


def test_an_answer_does_not_depend_on_the_rest_of_its_batch(bundles):
    settings = Settings(bundles=bundles, slots=1, max_batch=8, deadline_s=60)
    bodies = [npy(bumpy_cloud(2000 + 10 * seed, seed=seed)) for seed in range(16)]
    with TestClient(create_app(settings)) as client:
        alone = [ask(client, body, NPY) for body in bodies]
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda body: ask(client, body, NPY), bodies))
    for one, other in zip(alone, together, strict=True):
        assert np.abs(positions(one) - positions(other)).max() <= 1e-7


def test_json_is_exact_to_a_nanometre_at_ten_metres(client):
    offset = 10.0
    answer = positions(ask(client, npy(CLOUD + offset), NPY))
    exact = arrays(client, npy(CLOUD + offset), NPY)["landmarks"]
    assert np.abs(answer - exact).max() <= 5.1e-10
    assert json.loads(json.dumps(answer.tolist())) == answer.tolist()


def test_missing_points_are_dropped_and_counted_and_others_keep_their_indices(client):
    gaps = np.insert(CLOUD, [0, 1000, 3000], np.nan, axis=0)  # points 0, 1001 and 3002 of the file
    present = [i for i in range(3003) if i not in (0, 1001, 3002)]
    answer, straight = (ask(client, npy(cloud), NPY) for cloud in (gaps, CLOUD))
    assert (answer["points"], answer["dropped"]) == (3003, 3)
    assert (straight["points"], straight["dropped"]) == (3000, 0)
    assert answer["landmarks"] == straight["landmarks"]
    full, complete = (arrays(client, npy(cloud), NPY, heatmaps="full") for cloud in (gaps, CLOUD))
    np.testing.assert_array_equal(full["sampled_indices"], np.array(present)[complete["sampled_indices"]])
    np.testing.assert_array_equal(full["full_heatmaps"][:, present], complete["full_heatmaps"])
    assert np.isnan(full["full_heatmaps"][:, [0, 1001, 3002]]).all()
