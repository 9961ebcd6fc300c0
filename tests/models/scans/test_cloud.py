"""Tests of point clouds and sampling: slow reference implementations, and invariance under rotation and translation."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.symmetry import random_rotation
from models.scans.cloud import (
    MIN_POINTS,
    BadCloud,
    Degenerate,
    NotFinite,
    Tree,
    centre,
    check_points,
    decode,
    interpolate,
    interpolation,
    tie_unit,
)
from models.scans.files import read_scan
from models.scans.sampling import farthest_points, sample_surface, thinned

SAMPLES, NEIGHBOURS = 1024, 16
REACH_M = 10.0


def some_cloud(seed: int = 0, points: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.08, size=(points, 3))


def grid(*sides: int) -> np.ndarray:
    """Return a lattice, on which many pairs of points have equal distances."""
    return np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), axis=-1).reshape(-1, 3) * 0.003


def moved(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return points @ random_rotation(rng).T + rng.uniform(-REACH_M, REACH_M, 3)


def slow_farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Sample farthest points with a plain loop, as a reference implementation."""
    centred = points - points.mean(axis=0)
    unit = tie_unit((centred**2).sum(axis=1))
    picked = [int(np.rint((centred**2).sum(axis=1) / unit).argmax())]
    reach = np.full(len(points), np.inf)
    while len(picked) < count:
        reach = np.minimum(reach, np.rint(((centred - centred[picked[-1]]) ** 2).sum(axis=1) / unit))
        reach[picked[-1]] = -1
        picked.append(int(reach.argmax()))
    return np.array(picked)


def slow_nearest(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    unit = tie_unit(((points - points.mean(axis=0)) ** 2).sum(axis=1))
    steps = np.rint(((points - queries[:, None]) ** 2).sum(axis=2) / unit)
    return np.argsort(steps, axis=1, kind="stable")[:, :k]


def front_of(points: np.ndarray, triangles: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return sample_surface(points, triangles[mask[triangles].all(axis=1)], 8192)


@pytest.fixture(scope="module")
def faces(data_folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return points in metres and triangles of a symmetric mean face, a random face, an average of scans, and raw scans."""
    folder, out = data_folder / "faces", {}
    with np.load(folder / "ict_facekit/ict_facekit_light.npz") as model:
        triangles = model["triangles"][model["front_mask"][model["triangles"]].all(axis=1)]
        mean = model["mean"].astype(np.float64)
        weights = np.random.default_rng(7).normal(size=100)
        face = mean + np.tensordot(weights, model["id_basis"].astype(np.float64), 1)
        out["symmetric mean, its vertices"] = (mean[model["front_mask"]] / 1000, None)
        out["symmetric mean, its surface"] = (mean / 1000, triangles.astype(np.int64))
        out["a person of the model"] = (face / 1000, triangles.astype(np.int64))
    with np.load(folder / "facefuns_composites/facefuns_faces.npz") as arrays:
        out["facefuns"] = (arrays["vertices"][0] / 1000.0, arrays["triangles"].astype(np.int64))
    for name in ("humface", "lee_perry_smith"):
        scan = read_scan((folder / f"raw_scans/{name}.ply").read_bytes(), ".ply")
        out[name] = (scan.points / 1000, scan.triangles)
        out[f"{name}, its vertices"] = (scan.points / 1000, None)
    return {name: (points.astype(np.float64), triangles) for name, (points, triangles) in out.items()}


FACES = [
    *("symmetric mean, its vertices", "symmetric mean, its surface", "a person of the model", "facefuns"),
    *("humface", "lee_perry_smith", "humface, its vertices", "lee_perry_smith, its vertices"),
]


def chain(points: np.ndarray, triangles: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a network's view of a scan: samples, their indices, their neighbours, and neighbours on a coarser level."""
    cloud = points if triangles is None else sample_surface(points, triangles, 8192)
    centred, centroid = centre(cloud)
    order = farthest_points(centred, SAMPLES)
    positions = centred[order]
    coarse = Tree(positions[: SAMPLES // 2]).nearest(positions, 3)
    return positions + centroid, order, Tree(positions).neighbours(NEIGHBOURS), coarse


@pytest.mark.parametrize("name", FACES)
def test_a_rotated_and_translated_face_has_the_same_samples_and_neighbours(faces, name):
    points, triangles = faces[name]
    rng = np.random.default_rng(1)
    positions, *indices = chain(points, triangles)
    for _ in range(6):
        turn, shift = random_rotation(rng), rng.uniform(-REACH_M, REACH_M, 3)
        there, *same = chain(points @ turn.T + shift, triangles)
        for before, after in zip(indices, same, strict=True):
            np.testing.assert_array_equal(before, after)
        assert np.abs(there - (positions @ turn.T + shift)).max() < 1e-12


def test_without_tie_units_rounding_breaks_the_ties_of_a_symmetric_face(faces):
    """Control: a loop on plain distances selects other points after the symmetric face is rotated."""

    def plain(points: np.ndarray) -> list[int]:
        centred = points - points.mean(axis=0)
        picked, reach = [int((centred**2).sum(axis=1).argmax())], np.full(len(points), np.inf)
        while len(picked) < SAMPLES:
            reach = np.minimum(reach, ((centred - centred[picked[-1]]) ** 2).sum(axis=1))
            picked.append(int(reach.argmax()))
        return picked

    points, _ = faces["symmetric mean, its vertices"]
    assert plain(points) != plain(moved(points, np.random.default_rng(2)))


def test_samples_do_not_depend_on_the_order_of_points_in_the_file(faces):
    points, _ = faces["humface, its vertices"]
    shuffle = np.random.default_rng(3).permutation(len(points))
    np.testing.assert_array_equal(shuffle[farthest_points(points[shuffle], 256)], farthest_points(points, 256))


@pytest.mark.parametrize(
    "points", [some_cloud(), grid(9, 9, 9), grid(40, 12, 1), np.repeat(some_cloud(points=60), 5, 0)]
)
@pytest.mark.parametrize("count", [1, 7, 150, 200])
def test_farthest_points_match_the_plain_loop(points, count):
    np.testing.assert_array_equal(farthest_points(points, count), slow_farthest(points, count))


@pytest.mark.parametrize("name", FACES)
def test_farthest_points_match_the_plain_loop_on_faces(faces, name):
    points, triangles = faces[name]
    cloud = points if triangles is None else sample_surface(points, triangles, 8192)
    np.testing.assert_array_equal(farthest_points(cloud, SAMPLES), slow_farthest(cloud, SAMPLES))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(5, 400),
    st.sampled_from(["normal", "line", "lattice", "clumps", "outlier"]),
    st.data(),
)
def test_farthest_points_match_the_plain_loop_on_any_cloud(seed, size, kind, data):
    rng = np.random.default_rng(seed)
    points = {
        "normal": lambda: rng.normal(size=(size, 3)),
        "line": lambda: rng.normal(size=(size, 1)) * rng.normal(size=3),
        "lattice": lambda: rng.integers(0, 6, (size, 3)) * 0.7,
        "clumps": lambda: rng.normal(size=(3, 3))[rng.integers(0, 3, size)] + 1e-4 * rng.normal(size=(size, 3)),
        "outlier": lambda: np.vstack([rng.normal(size=(size - 1, 3)), [[3e3, 0, 0]]]),
    }[kind]()
    count = data.draw(st.integers(1, size))
    picked = farthest_points(points, count)
    np.testing.assert_array_equal(picked, slow_farthest(points, count))
    assert len(set(picked)) == count


def test_a_prefix_of_the_farthest_points_is_a_smaller_sample():
    points = some_cloud(1)
    np.testing.assert_array_equal(farthest_points(points, 300)[:77], farthest_points(points, 77))


def test_duplicate_points_are_picked_last():
    points = np.repeat(some_cloud(2, 50), 3, axis=0)
    picked = farthest_points(points, 150)
    assert set(picked) == set(range(150))
    assert set(picked[:50] // 3) == set(range(50))
    assert (np.diff(picked[50:]) > 0).all()


@pytest.mark.parametrize("count", [0, 501])
def test_a_sample_larger_than_the_cloud_is_refused(count):
    with pytest.raises(Degenerate, match=f"sample 1 to 500 farthest points, .* got {count}"):
        farthest_points(some_cloud(), count)


@pytest.mark.parametrize("points", [some_cloud(3), grid(8, 8, 8), np.repeat(some_cloud(points=60), 9, 0)])
@pytest.mark.parametrize("k", [1, 3, 16])
def test_nearest_points_match_a_sort_of_all_distances(points, k):
    queries = np.vstack([points[::3], some_cloud(4, 40)])
    np.testing.assert_array_equal(Tree(points).nearest(queries, k), slow_nearest(points, queries, k))


@pytest.mark.parametrize("points", [some_cloud(3), grid(8, 8, 8), np.repeat(some_cloud(points=60), 20, 0)])
def test_a_point_is_not_among_its_neighbours(points):
    near = Tree(points).neighbours(NEIGHBOURS)
    assert (near != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == NEIGHBOURS for row in near)
    every = slow_nearest(points, points, len(points))
    for i in range(0, len(points), 11):
        others = every[i][every[i] != i][:NEIGHBOURS]
        distance = np.linalg.norm(points - points[i], axis=1)
        np.testing.assert_allclose(distance[near[i]], distance[others], atol=1e-9)


def test_more_neighbours_than_other_points_are_refused():
    with pytest.raises(Degenerate, match="expected a cloud of at least 6 points for 6 nearest ones, got 5"):
        Tree(some_cloud(points=5)).neighbours(5)


@pytest.mark.parametrize("points", [grid(9, 9, 9), grid(30, 20, 1), np.repeat(some_cloud(points=60), 5, 0)])
def test_ties_are_resolved_equally_after_rotation_and_translation(points):
    rng = np.random.default_rng(5)
    order, near = farthest_points(points, 100), Tree(points).nearest(points[:50], 9)
    for _ in range(10):
        turn, shift = random_rotation(rng), rng.uniform(-REACH_M, REACH_M, 3)
        there = points @ turn.T + shift
        np.testing.assert_array_equal(farthest_points(there, 100), order)
        np.testing.assert_array_equal(Tree(there).nearest(there[:50], 9), near)


def test_centring_in_float64_keeps_the_shape_ten_metres_away():
    points = some_cloud(6)
    centred, centroid = centre(points + 10.0)
    assert np.abs(centred.mean(axis=0)).max() < 1e-15
    np.testing.assert_allclose(centred + centroid, points + 10.0, atol=1e-14)
    assert np.abs(centred - centre(points)[0]).max() < 1e-14
    single = (points + 10.0).astype(np.float32)
    late = single - single.mean(axis=0)  # control: float32 loses a micrometre before centring
    assert np.abs(late - centred).max() > 1e-7


def test_centring_float32_gives_float64():
    assert centre(some_cloud().astype(np.float32))[0].dtype == np.float64


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.empty((0, 3)), Degenerate, f"at least {MIN_POINTS} points, got 0"),
        (np.ones((1, 3)), Degenerate, "got 1"),
        (np.ones((9, 3)), Degenerate, "got 9 that are all equal"),
        (1e6 + 1e-9 * some_cloud(points=9), Degenerate, "all equal"),
        (np.zeros((9, 3)), Degenerate, "all equal"),
        (np.where(np.eye(4, 3) == 1, np.nan, 2.0), NotFinite, "3 of 4 points, the first of them point 0"),
        (np.where(np.eye(4, 3) == 1, np.inf, 2.0), NotFinite, "NaN or an infinity"),
        (np.where(np.eye(4, 3) == 1, 1e10, 2.0), NotFinite, "at most 1e\\+09 in any unit, got 1e\\+10"),
    ],
)
def test_unusable_points_are_refused(points, error, message):
    with pytest.raises(error, match=message) as caught:
        check_points(points)
    assert isinstance(caught.value, BadCloud)
    check_points(some_cloud())


def test_interpolation_keeps_known_values_and_stays_within_their_range():
    known, values = some_cloud(8), np.random.default_rng(8).random((500, 5))
    index, weights = interpolation(known, known)
    np.testing.assert_allclose(interpolate(values, index, weights), values, atol=1e-9)
    index, weights = interpolation(known, some_cloud(9))
    between = interpolate(values, index, weights)
    assert (between >= values[index].min(axis=1) - 1e-12).all()
    assert (between <= values[index].max(axis=1) + 1e-12).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert (weights[:, :-1] >= weights[:, 1:] - 1e-6).all()  # the nearest point has the largest weight


def test_interpolation_weights_are_inverse_squared_distances():
    known, targets, values = some_cloud(10, 50), some_cloud(11, 20), np.random.default_rng(1).random((50, 2))
    for place, actual in zip(targets, interpolate(values, *interpolation(known, targets)), strict=True):
        squared = ((known - place) ** 2).sum(axis=1)
        three = np.argsort(squared)[:3]
        np.testing.assert_allclose(actual, np.average(values[three], axis=0, weights=1 / squared[three]), atol=1e-12)


def test_interpolation_is_invariant_to_motion_and_keeps_float32():
    known, targets = some_cloud(12), some_cloud(13)
    values = np.random.default_rng(2).random((500, 4)).astype(np.float32)
    rng = np.random.default_rng(14)
    turn, shift = random_rotation(rng), rng.uniform(-REACH_M, REACH_M, 3)
    here = interpolate(values, *interpolation(known, targets))
    there = interpolate(values, *interpolation(known @ turn.T + shift, targets @ turn.T + shift))
    assert here.dtype == np.float32
    assert np.abs(here - there).max() < 1e-6


def heat(points: np.ndarray, landmarks: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-((points[:, None] - landmarks) ** 2).sum(axis=2) / (2 * sigma**2))


def test_decoding_comes_within_a_third_of_the_nearest_points_distance_on_a_face(faces):
    points, triangles = faces["a person of the model"]
    cloud = sample_surface(points, triangles, 8192)
    positions = cloud[farthest_points(cloud, SAMPLES)]
    rng = np.random.default_rng(15)
    landmarks = cloud[rng.choice(len(cloud), 200)]
    error = np.linalg.norm(decode(heat(positions, landmarks, 0.0095), positions, 0.019) - landmarks, axis=1).mean()
    argmax = np.linalg.norm(positions[heat(positions, landmarks, 0.0095).argmax(axis=0)] - landmarks, axis=1).mean()
    assert error < 0.4 * argmax


def test_decoding_commutes_with_rotation_and_translation():
    points, rng = some_cloud(16), np.random.default_rng(16)
    heatmaps = rng.random((500, 68))
    turn, shift = random_rotation(rng), rng.uniform(-REACH_M, REACH_M, 3)
    here = decode(heatmaps, points, 0.02)
    assert np.abs(decode(heatmaps, points @ turn.T + shift, 0.02) - (here @ turn.T + shift)).max() < 1e-12


def test_decoding_is_the_weighted_mean_of_the_highest_points_near_the_peak():
    points, rng = some_cloud(17), np.random.default_rng(17)
    heatmaps = rng.random((500, 6))
    counts = set()
    for landmark, actual in enumerate(decode(heatmaps, points, 0.08, top=7, power=2)):
        best = np.argsort(-heatmaps[:, landmark])[:7]
        near = [i for i in best if np.linalg.norm(points[i] - points[best[0]]) <= 0.08]
        counts.add(len(near))
        np.testing.assert_allclose(
            actual, np.average(points[near], axis=0, weights=heatmaps[near, landmark] ** 2), atol=1e-12
        )
    assert counts & {2, 3, 4, 5, 6}  # the radius excludes some points and includes others


@pytest.mark.parametrize("level", [0.0, -1.0, 1e-300])
def test_a_flat_heatmap_is_decoded_to_its_highest_point(level):
    points = some_cloud(18, 20)
    heatmaps = np.full((20, 1), level)
    heatmaps[13] += abs(level) / 2
    np.testing.assert_allclose(decode(heatmaps, points, 1e-9)[0], points[13 if level else 0])


def test_surface_samples_commute_with_rotation_and_translation_and_lie_on_the_surface(faces):
    points, triangles = faces["humface"]
    rng = np.random.default_rng(19)
    turn, shift = random_rotation(rng), rng.uniform(-REACH_M, REACH_M, 3)
    here = sample_surface(points, triangles, 5000)
    assert np.abs(sample_surface(points @ turn.T + shift, triangles, 5000) - (here @ turn.T + shift)).max() < 1e-12
    assert (here.min(axis=0) >= points.min(axis=0)).all()
    assert not np.allclose(here, sample_surface(points, triangles, 5000, seed=1))


def test_surface_samples_have_a_uniform_density():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [4, 0, 0], [4, 1, 0], [4, 4, 0], [9, 9, 9]], float)
    triangles = np.array([[0, 1, 2], [6, 6, 6], [3, 4, 5]])  # areas 0.5, 0, 0
    samples = sample_surface(points, triangles, 100)
    assert (samples[:, 2] == 0).all()
    assert (samples[:, 0] + samples[:, 1] <= 1).all()
    points[5] = [7, 1, 0]  # now 1.5
    assert (sample_surface(points, triangles, 100)[:, 0] < 2).sum() == 25


@pytest.mark.parametrize("triangles", [np.empty((0, 3), np.int64), np.array([[0, 1, 1]])])
def test_a_mesh_without_area_is_refused(triangles):
    with pytest.raises(Degenerate, match="a mesh with an area"):
        sample_surface(some_cloud(), triangles, 10)


def test_thinning_does_not_depend_on_coordinates():
    indices = thinned(1000, 100)
    assert len(set(indices)) == 100
    assert (np.diff(indices) > 0).all()
    np.testing.assert_array_equal(indices, thinned(1000, 100))
    assert not np.array_equal(indices, thinned(1000, 100, seed=1))
    np.testing.assert_array_equal(thinned(50, 100), np.arange(50))
