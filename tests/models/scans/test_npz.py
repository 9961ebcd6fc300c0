"""Tests of clouds and meshes as archives of arrays, .npz."""

import io
import pickle
import struct
import zipfile
from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused
from variants import FEW, SEEDS, some_points, some_polygons, sorted_triangles, triangles_in

from benchmarks.fuzz.scans import POINTS, TRIANGLES, npy, npz
from models.scans.cloud import BadCloud, Degenerate, TooBig, Unreadable
from models.scans.files import read_scan
from models.scans.npz import CLOUD_KEYS, TRIANGLE_KEYS, VERTEX_KEYS

SIZES = struct.pack("<2I", len(npy(POINTS)), len(npy(POINTS)))  # in the archive's directory: deflated and inflated


def zip_with(name: str, content: bytes, **changes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", changes.pop("method", zipfile.ZIP_DEFLATED)) as archive:
        archive.writestr(name, content)
    return file.getvalue()


class Bomb:
    """An object whose pickle fails the test when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "picture called npz": (".npz", b"\x89PNG\r\n" + bytes(90), Unreadable, "cannot be opened as one"),
    "no point in an npz": (".npz", npz(points=POINTS[:0]), Degenerate, "got 0"),
    "pickle called npz": (".npz", pickle.dumps(Bomb()), Unreadable, "cannot be opened as one"),
    "npz of objects": (".npz", npz(points=np.array([[Bomb()] * 3] * 4, object)), Unreadable, "not of objects"),
    "npz of other arrays": (".npz", npz(a=POINTS, b=POINTS), Unreadable, "called points or .* got a, b"),
    "npz bomb": (".npz", npz(points=np.zeros((400_000, 3))), TooBig, "at most 1048576 bytes"),
    "npz bomb of faces": (
        ".npz",
        npz(points=POINTS, faces=np.zeros((900_000, 3), int)),
        TooBig,
        "at most 1048576 bytes",
    ),
    "npz with a false size": (
        ".npz",
        npz(deflate=False, points=POINTS).replace(SIZES, SIZES[:4] + struct.pack("<I", 9_000_000)),
        TooBig,
        "got 9000000 from 704",
    ),
    "npz cut short": (".npz", npz(points=POINTS)[:-30], Unreadable, "cannot be opened as one"),
    "npz with a wrong checksum": (
        ".npz",
        npz(deflate=False, points=POINTS).replace(POINTS.tobytes()[:8], bytes(8)),
        Unreadable,
        "Bad CRC",
    ),
    "npz packed otherwise": (
        ".npz",
        zip_with("points.npy", npy(POINTS), method=zipfile.ZIP_LZMA),
        Unreadable,
        "stored or deflated",
    ),
    "npz of many arrays": (
        ".npz",
        npz(deflate=False, **{f"a{i}": np.zeros(1) for i in range(1001)}),
        TooBig,
        "1000 arrays",
    ),
    "npz with a face too far": (
        ".npz",
        npz(points=POINTS, faces=TRIANGLES + 1),
        Unreadable,
        "from 0 to 23, the indices of the points",
    ),
    "npz with faces between points": (
        ".npz",
        npz(points=POINTS, faces=POINTS),
        Unreadable,
        "from 0 to 23, the indices",
    ),
    "npz with faces of words": (".npz", npz(points=POINTS, faces=np.array([["a"] * 3])), Unreadable, "real numbers"),
    "npz with faces counted from 1": (
        ".npz",
        npz(v=POINTS, f=TRIANGLES + 1.0),
        Unreadable,
        "from 0 to 23, the indices",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@FEW
@given(SEEDS)
def test_an_npz_gives_the_same_scan_whatever_the_names_of_its_arrays(seed: int):
    rng = Random(seed)
    points = some_points(rng)
    polygons = some_polygons(rng, len(points), 3) if rng.random() < 0.7 else []
    if polygons:
        corners = np.array(polygons, rng.choice(("<i8", "<u4", ">i4", "<f8")))
        arrays = {rng.choice(VERTEX_KEYS): points, rng.choice(TRIANGLE_KEYS): corners}
        if rng.random() < 0.5:
            arrays["points"] = points[::-1]  # drawn on the mesh: not what the triangles are between
    else:
        arrays = {rng.choice((*CLOUD_KEYS, *VERTEX_KEYS)): points.astype(rng.choice(("<f4", "<f8")))}
    arrays |= {"colors": np.ones((9, 3)), "name": np.array("face")} if rng.random() < 0.5 else {}
    names = rng.sample(sorted(arrays), len(arrays))
    scan = read_scan(npz(rng.random() < 0.5, **{name: arrays[name] for name in names}), ".npz")
    np.testing.assert_array_equal(scan.points, points)
    assert sorted_triangles(scan.triangles) == triangles_in(polygons)
