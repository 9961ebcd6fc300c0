"""Tests of the table of formats, and tests that every reader passes."""

import gzip
import struct

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from refusals import assert_refused

from benchmarks.fuzz.scans import GOOD, OBJ, POINTS, TRIANGLES, lines, npy, npz, pcd
from models.contract import extensions
from models.scans import files
from models.scans.cloud import BadCloud, Degenerate, NotFinite, Scan, TooBig, UnknownSuffix, Unreadable
from models.scans.files import formats, read_scan, register_format
from models.scans.format import Format

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    **{
        f"empty {suffix}": (suffix, b"", Degenerate, f"expected a {suffix} file, got an empty one")
        for suffix in formats()
    },
    "no suffix": ("", b"1 2 3", UnknownSuffix, "expected a scan file, one of .ply, .obj, .* got ''"),
    "unknown suffix": (".fbx", b"1 2 3", UnknownSuffix, "'.fbx'"),
    "gz of no format": (".gz", gzip.compress(OBJ.encode()), UnknownSuffix, "or one of them with .gz, got '.gz'"),
    "gz cut short": (".obj.gz", gzip.compress(OBJ.encode())[:-1], Unreadable, "cut short"),
    "gz bomb": (".obj.gz", gzip.compress(bytes(30_000_000)), TooBig, "at most 1048576 bytes inflated from"),
    "gz of gz": (".obj.gz", gzip.compress(gzip.compress(OBJ.encode())), Unreadable, "lines 'v x y z'"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_read_as_written_and_in_its_order(name):
    suffix, data, expected = GOOD[name]
    scan = read_scan(data, suffix)
    np.testing.assert_array_equal(scan.points, expected.points)
    assert (scan.triangles is None) == (expected.triangles is None)
    if scan.triangles is not None and expected.triangles is not None:
        np.testing.assert_array_equal(scan.triangles, expected.triangles)
    assert scan.points.dtype == np.float64
    assert scan.points.flags.c_contiguous


def test_every_suffix_has_an_example_file():
    assert {suffix.lower().removesuffix(".gz") for suffix, _, _ in GOOD.values()} == set(formats())


@pytest.mark.parametrize("suffix", [".ply.gz", ".PLY", ".ply"])
def test_a_compressed_or_plain_file_is_read_with_either_suffix(suffix: str):
    _, data, expected = GOOD["ply ascii with faces"]
    np.testing.assert_array_equal(read_scan(gzip.compress(data), suffix).triangles, expected.triangles)
    np.testing.assert_array_equal(read_scan(data, suffix).triangles, expected.triangles)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_a_mesh_from_trimesh_is_read_unchanged(suffix):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    data = mesh.export(file_type=suffix[1:])
    scan = read_scan(data.encode() if isinstance(data, str) else bytes(data), suffix)
    assert scan.triangles is not None
    np.testing.assert_allclose(scan.points[scan.triangles], mesh.vertices[mesh.faces], atol=1e-6)


def test_the_caller_sets_the_limits():
    for name, (suffix, data, scan) in GOOD.items():
        with pytest.raises(TooBig, match=f"at most {len(data) - 1} bytes, got {len(data)}"):
            read_scan(data, suffix, max_bytes=len(data) - 1)
        with pytest.raises(TooBig, match="at most"):
            read_scan(data, suffix, max_points=len(scan.points) // 9)
        if scan.triangles is None and suffix.lower() not in (".txt", ".xyz"):
            assert len(read_scan(data, suffix, max_points=len(scan.points) + 1).points) == 24, name


def assert_scan_or_bad_cloud(data: bytes, suffix: str) -> None:
    try:
        scan = read_scan(data, suffix, max_points=1000)
    except BadCloud:
        return
    assert 4 <= len(scan.points) <= 1000
    assert np.isfinite(scan.points).all()
    if scan.triangles is not None:
        assert 0 <= scan.triangles.min() <= scan.triangles.max() < len(scan.points)
        assert 0 < len(scan.triangles) <= 2000


@settings(max_examples=300, deadline=10_000)
@given(st.binary(max_size=400), st.sampled_from(sorted(formats())))
@example(b"ply\nformat ascii 1.0\nelement face 1\nproperty list float float a\nend_header\nnan 1\n", ".ply")
@example(b"OFF\nnan nan 0\n", ".off")
@example(b"\x93NUMPY\x01\x00\x02\x00{}", ".npy")
def test_any_bytes_under_any_suffix_are_a_scan_or_a_bad_cloud(data, suffix):
    assert_scan_or_bad_cloud(data, suffix)


@settings(max_examples=300, deadline=10_000)
@given(
    st.text(alphabet="0123456789.-+eEnaif ,;\n\t#/vfx_", max_size=200),
    st.sampled_from([".xyz", ".csv", ".obj", ".off", ".stl"]),
    st.sampled_from(["", "OFF\n4 1 0\n", "solid\n", OBJ]),
)
def test_any_text_is_a_scan_or_a_bad_cloud(text, suffix, start):
    assert_scan_or_bad_cloud((start + text).encode(), suffix)


@settings(max_examples=400, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.integers(0, 3)), max_size=6),
    st.data(),
)
def test_a_damaged_file_is_a_scan_or_a_bad_cloud(name, changes, data):
    suffix, valid, _ = GOOD[name]
    body = bytearray(valid)
    for place, value, kind in changes:
        at = int(place * (len(body) - 1))
        match kind:
            case 0:
                body[at] = value
            case 1:
                del body[at : at + 1 + value]
            case 2:
                body[at:at] = body[at : at + value]
            case 3:
                body[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])))
        if not body:
            break
    assert_scan_or_bad_cloud(bytes(body), suffix.lower())


def read_triples(data: bytes, max_points: int) -> Scan:
    return Scan(np.frombuffer(data, "<f8").reshape(-1, 3).astype(np.float64), None)


TRIPLES = Format((".triples",), read_triples)


@pytest.fixture
def no_other_formats(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_registered", [])
    extensions._installed.cache_clear()
    yield
    extensions._installed.cache_clear()


@pytest.mark.usefixtures("no_other_formats")
def test_a_registered_format_is_read_like_the_others():
    points = np.random.default_rng(0).normal(size=(9, 3))
    with pytest.raises(UnknownSuffix, match="triples"):
        read_scan(points.tobytes(), ".triples")
    register_format(TRIPLES)
    np.testing.assert_array_equal(read_scan(points.tobytes(), ".TRIPLES").points, points)
    with pytest.raises(Degenerate, match="at least 4 points"):
        read_scan(points[:2].tobytes(), ".triples")


@pytest.mark.usefixtures("no_other_formats")
def test_a_suffix_belongs_to_one_format():
    with pytest.raises(ValueError, match=r"expected one format for \.ply, got two"):
        register_format(Format((".ply",), read_triples))
    assert formats()[".ply"].read is not read_triples


@pytest.mark.usefixtures("no_other_formats")
def test_an_installed_package_adds_a_format_through_its_entry_point(monkeypatch: pytest.MonkeyPatch):
    class Entry:
        name = "triples"

        def __init__(self, value: object) -> None:
            self.value = value

        def load(self) -> object:
            return self.value

    entries: list[Entry] = [Entry(TRIPLES)]
    monkeypatch.setattr(extensions, "entry_points", lambda group: entries if group == "chiron.scan_formats" else [])
    assert formats()[".triples"] is TRIPLES
    extensions._installed.cache_clear()
    entries[0] = Entry(read_triples)
    with pytest.raises(TypeError, match="Format from an extension"):
        formats()


@pytest.mark.parametrize("suffix", [".npy", ".xyz", ".pcd"])
@pytest.mark.parametrize("missing", [np.nan, 0.0], ids=["NaN", "zeros"])
def test_missing_points_of_a_cloud_are_dropped_and_marked(suffix: str, missing: float):
    points = POINTS.copy()
    points[[3, 7, 23]] = missing
    if np.isnan(missing):
        points[3, :2] = 1.0  # one missing coordinate suffices
    expected = np.delete(points, [3, 7, 23], axis=0)
    rows = points.tolist()
    header = pcd("binary").partition(b"DATA binary\n")[0] + b"DATA binary\n"
    data = {
        ".npy": npy(points),
        ".xyz": lines(points.tolist()).encode(),
        ".pcd": header + b"".join(struct.pack("<2fd", *row) for row in rows),
    }[suffix]
    scan = read_scan(data, suffix)
    np.testing.assert_array_equal(scan.points, expected)
    assert scan.kept is not None
    np.testing.assert_array_equal(np.flatnonzero(~scan.kept), [3, 7, 23])


def test_a_single_point_at_the_origin_is_kept():
    points = POINTS.copy()
    points[3] = 0
    scan = read_scan(npy(points), ".npy")
    assert scan.kept is None
    np.testing.assert_array_equal(scan.points, points)


def test_the_error_for_too_few_points_counts_missing_ones():
    points = np.full((24, 3), np.nan)
    points[:2] = 1
    with pytest.raises(Degenerate, match="got 2 after 22 without a measurement"):
        read_scan(npy(points), ".npy")


def test_a_mesh_with_a_missing_point_is_refused():
    points = POINTS.copy()
    points[5, 1] = np.nan
    with pytest.raises(NotFinite, match="point 5"):
        read_scan(npz(points=points, faces=TRIANGLES), ".npz")
