"""Tests of invalid scans and forms: each gets a problem with expected and actual values, never a 500."""

import gzip
import io
import pickle

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.http.problems import MEDIA_TYPE
from service.settings import Settings
from service.tasks.faces import prepare as faces
from service.tasks.faces.endpoint import ERRORS

from ...conftest import MAX_SCAN
from ...damage import damaged
from ...exchange import CLOUD, NPY, npy, problem_of
from ...exchange import FACE_URL as URL
from ...scans import NPZ, OCTETS, PLY, ask, npz, obj, ply, text, triangles_of

FLAT = np.zeros((5, 3), int)  # degenerate triangles
MESH = triangles_of(CLOUD)


class Trap:
    """An object whose unpickling is recorded."""

    sprung = False

    def __reduce__(self) -> tuple:
        return (Trap.spring, ())

    @staticmethod
    def spring() -> None:
        Trap.sprung = True


def pickled() -> bytes:
    np.save(file := io.BytesIO(), np.array([Trap()] * 3, dtype=object), allow_pickle=True)
    return file.getvalue()


def replaced(row: int, value: float) -> np.ndarray:
    points = CLOUD.copy()
    points[row] = value
    return points


def claiming(points: int) -> bytes:
    """Return a .ply whose header announces `points` points and which has three."""
    return ply(CLOUD[:3]).replace(b"vertex 3", b"vertex %d" % points)


SCAN_ERRORS: dict[str, tuple[bytes, str, str, str]] = {  # file, format, kind of problem, text in it
    "empty": (b"", "ply", "degenerate-scan", "expected a .ply file, got an empty one"),
    "blank": (b" \n\n", "xyz", "degenerate-scan", "expected a .xyz file, got an empty one"),
    "one point": (b"0.1 0.2 0.3\n", "xyz", "degenerate-scan", "at least 4 points, got 1"),
    "no point": (npy(np.empty((0, 3))), "npy", "degenerate-scan", "got 0"),
    "too few": (npy(CLOUD[:1000]), "npy", "degenerate-scan", "1024 points or more, got 1000"),
    "all equal": (npy(np.full((5000, 3), 0.1)), "npy", "degenerate-scan", "got 5000 that are all equal"),
    "infinity": (ply(replaced(3, -np.inf)), "ply", "not-finite", "point 3"),
    "huge": (npy(replaced(3, 1e300)), "npy", "not-finite", "at most 1e+09"),
    "claims 5 million": (claiming(5_000_000), "ply", "unreadable-scan", "expected 5000000 rows of vertex"),
    "claims 10 million": (claiming(10_000_000), "ply", "scan-too-large", "at most 5000000 points"),
    "claims 10 billion": (claiming(10**10), "ply", "scan-too-large", "at most 5000000 points"),
    "zip bomb": (npz(points=np.zeros((4_000_000, 3))), "npz", "scan-too-large", "in the .npz of at most"),
    "no zip": (b"PK\x03\x04" + bytes(100), "npz", "unreadable-scan", "cannot be opened as one"),
    "nothing called points": (npz(a=CLOUD, b=CLOUD), "npz", "unreadable-scan", "got a, b"),
    "pickle in a .npy": (pickled(), "npy", "unreadable-scan", "not of objects"),
    "pickle in a .npz": (npz(points=np.array([Trap()] * 3, dtype=object)), "npz", "unreadable-scan", "not of objects"),
    "pickle as a .npy": (pickle.dumps(Trap()), "npy", "unreadable-scan", "begins with"),
    "truncated .ply": (ply(CLOUD)[:-1], "ply", "unreadable-scan", "expected 3000 rows of vertex"),
    "truncated mesh": (ply(CLOUD, MESH)[:-5], "ply", "unreadable-scan", "of face"),
    "truncated header": (ply(CLOUD)[:60], "ply", "unreadable-scan", "a header up to 'end_header'"),
    "truncated .npy": (npy(CLOUD)[:-8], "npy", "unreadable-scan", "bytes for"),
    "truncated .npz": (npz(points=CLOUD)[:-30], "npz", "unreadable-scan", "cannot be opened as one"),
    "ragged": (b"1 2 3\n4 5\n" * 10, "xyz", "unreadable-scan", "got 2 in row 1"),
    "words": (b"1 2 three\n" * 10, "xyz", "unreadable-scan", ""),
    "four-dimensional": (npy(np.zeros((3, 3, 3, 3))), "npy", "unreadable-scan", "(3, 3, 3, 3)"),
    "a mesh without any area": (ply(CLOUD, FLAT), "ply", "degenerate-scan", "got 5 triangles without one"),
    "a mesh of segments": (obj(CLOUD, FLAT[:0]) + b"f 1 2\n", "obj", "degenerate-scan", "with faces"),
    "a mesh beyond its points": (ply(CLOUD, FLAT + 3000), "ply", "unreadable-scan", ""),
    "a .ply called .obj": (ply(CLOUD), "obj", "unknown-format", "like a .ply file"),
    "a .npy called .ply": (npy(CLOUD), "ply", "unknown-format", "like a .npy file"),
    "a .npz called .glb": (npz(points=CLOUD), "glb", "unknown-format", "like a .npz file"),
    "an .obj called .ply": (obj(CLOUD, MESH), "ply", "unreadable-scan", "begins with"),
    "a table called .stl": (text(CLOUD), "stl", "unreadable-scan", "stl"),
    "a format that is not read": (ply(CLOUD), "fbx", "unknown-format", "one of .ply, .obj"),
    "of no size": (npy(12 * CLOUD), "npy", "unclear-units", "if in ft; say its units"),
    "tiny": (npy(1e-9 * CLOUD), "npy", "unclear-units", "3 to 25 cm"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCAN_ERRORS)
def test_an_invalid_scan_gets_a_problem_that_names_the_error(client, case):
    body, kind_of_file, kind, says = SCAN_ERRORS[case]
    response = client.post(URL, params={"format": kind_of_file}, content=body, headers={"content-type": OCTETS})
    assert kind in ERRORS, f"expected a documented kind of problem, got {kind}"
    assert says in problem_of(response, kind)["detail"]
    assert not Trap.sprung
    in_a_form = client.post(URL, files={"file": (f"scan.{kind_of_file}", body)})
    assert in_a_form.json()["detail"] == response.json()["detail"]


def test_more_points_than_the_limit_are_refused(bundles):
    """Coordinates in the smallest dtype keep the body below the limit of bytes."""
    with TestClient(create_app(Settings(bundles=bundles)), raise_server_exceptions=False) as client:
        body = npy(np.ones((10_000_000, 3), np.int8))
        problem = problem_of(client.post(URL, content=body, headers={"content-type": NPY}), "scan-too-large")
        assert problem["detail"] == "expected at most 5000000 points, got 10000000"
        body = npy(np.ones((10_000_000, 3), np.float32))
        problem_of(client.post(URL, content=body, headers={"content-type": NPY}), "body-too-large")


def test_a_scan_without_a_face_gets_the_no_face_problem(client):
    response = client.post(URL, params={"units": "m"}, content=npy(12 * CLOUD), headers={"content-type": NPY})
    detail = problem_of(response, "no-face")["detail"]
    assert f"mean confidence of at least {faces.NO_FACE:g}" in detail
    assert "in m, half of the scan is within" in detail


def test_the_required_confidence_is_one_threshold(client, monkeypatch):
    sure = np.mean([landmark["confidence"] for landmark in ask(client, npy(CLOUD), NPY)["landmarks"]])
    monkeypatch.setattr(faces, "NO_FACE", sure * 1.001)
    problem_of(client.post(URL, content=npy(CLOUD), headers={"content-type": NPY}), "no-face")
    monkeypatch.setattr(faces, "NO_FACE", sure * 0.999)
    ask(client, npy(CLOUD), NPY)


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e8])
def test_a_scan_of_any_size_gets_an_answer_or_a_problem(client, scale):
    points = npy(scale * CLOUD)
    response = client.post(URL, params={"units": "m"}, content=points, headers={"content-type": NPY})
    assert response.status_code in (200, 422), response.text
    if response.status_code == 422:
        kinds = ("no-face", "degenerate-scan", "not-finite", "implausible")
        assert response.json()["type"].removeprefix("/problems/") in kinds


@pytest.mark.parametrize(
    ("query", "kind", "pointer", "says"),
    [
        ({"units": "inch"}, "invalid-request", "?units", "expected one of auto, cm, ft, in, m, mm, got 'inch'"),
        ({"units": ""}, "invalid-request", "?units", ""),
        ({"heatmaps": "all"}, "invalid-request", "?heatmaps", "all"),
        ({"heatmaps": "full"}, "invalid-request", "?heatmaps", "as application/x-npz for heatmaps=full"),
        ({"model": "gpt"}, "unknown-model", "?model", "there are face-shells"),
        ({"model": "hands-thirty"}, "unknown-model", "?model", "no face-landmarks model 'hands-thirty'"),
        ({"model": "m" * 65}, "invalid-request", "?model", "64"),
        ({"filename": "f" * 256}, "invalid-request", "?filename", "255"),
        ({"format": "f" * 9}, "invalid-request", "?format", "8"),
        ({"pose": "frontal"}, "invalid-request", None, "pose"),
        ({"units": ["m", "cm"]}, "invalid-request", "?units", "got several"),
        ({"format": "obj"}, "invalid-request", "?format", "got .obj and application/x-npy"),
        ({"filename": "scan.stl"}, "invalid-request", "?filename", "got .stl"),
    ],
)  # fmt: skip
def test_the_problem_points_at_an_invalid_option(client, query, kind, pointer, says):
    problem = problem_of(client.post(URL, params=query, content=npy(CLOUD), headers={"content-type": NPY}), kind)
    assert says in problem["detail"]
    if pointer:
        assert problem["errors"][0]["pointer"] == pointer


def test_heatmaps_are_refused_in_formats_without_heatmaps(client):
    for heatmaps, accept in (("points", PLY), ("full", PLY), ("full", "application/json")):
        headers = {"content-type": NPY, "accept": accept}
        response = client.post(URL, params={"heatmaps": heatmaps}, content=npy(CLOUD), headers=headers)
        assert f"for heatmaps={heatmaps}" in problem_of(response, "invalid-request")["detail"]


def test_an_aligned_copy_is_a_ply_of_at_most_so_many_points(client, monkeypatch):
    response = client.post(URL, params={"aligned": "true"}, content=npy(CLOUD), headers={"content-type": NPY})
    problem = problem_of(response, "invalid-request")
    assert problem["errors"][0]["pointer"] == "?aligned"
    assert "expected Accept: model/vnd.ply for an aligned copy of the scan, got application/json" in problem["detail"]
    monkeypatch.setattr(faces, "MOST_ALIGNED", 2999)
    headers = {"content-type": NPY, "accept": PLY}
    response = client.post(URL, params={"aligned": "1"}, content=npy(CLOUD), headers=headers)
    assert (
        "expected at most 2999 points for an aligned copy, got 3000" in problem_of(response, "scan-too-large")["detail"]
    )


def test_full_heatmaps_of_too_many_points_are_refused_before_computation(client, monkeypatch):
    monkeypatch.setattr(faces, "MOST_FULL", 2999)
    headers = {"content-type": NPY, "accept": NPZ}
    response = client.post(URL, params={"heatmaps": "full"}, content=npy(CLOUD), headers=headers)
    assert (
        "expected at most 2999 points for heatmaps at every point, got 3000"
        in problem_of(response, "scan-too-large")["detail"]
    )


def test_a_body_of_unknown_format_is_refused(client):
    for query in ({}, {"filename": "scan"}):
        response = client.post(URL, params=query, content=ply(CLOUD), headers={"content-type": OCTETS})
        assert "one of ply, obj" in problem_of(response, "invalid-request")["detail"]


@pytest.mark.parametrize("media", ["", "application/json", "application/x-www-form-urlencoded", "image/png", "x" * 500])
def test_the_problem_for_an_unknown_content_type_lists_the_known_ones(client, media):
    response = client.post(URL, content=ply(CLOUD), headers={"content-type": media})
    assert "model/stl" in problem_of(response, "unsupported-media-type")["detail"]


def test_a_bomb_of_gzip_in_a_form_is_refused_by_its_size(client):
    bomb = gzip.compress(bytes(MAX_SCAN - 1))
    detail = problem_of(client.post(URL, files={"file": ("scan.ply.gz", bomb)}), "scan-too-large")["detail"]
    assert f"at most 1048576 bytes inflated from {len(bomb)}" in detail


@pytest.mark.parametrize("accept", ["text/html", "model/stl", "application/x-npy", "*/*;q=0"])
def test_an_unknown_answer_format_is_refused(client, accept):
    response = client.post(URL, content=ply(CLOUD), headers={"content-type": "model/ply", "accept": accept})
    assert (
        "expected application/json, application/x-npz, model/vnd.ply"
        in problem_of(response, "not-acceptable")["detail"]
    )


def part(name: str, content: bytes, more: str = "") -> bytes:
    return b'\r\n--XX\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s' % (
        name.encode(),
        more.encode(),
        content,
    )


FILE = part("file", ply(CLOUD), '; filename="scan.ply"')
END = b"\r\n--XX--\r\n"
FORM_ERRORS: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "malformed-body", "got a part of it"),
    "only an end": (b"--XX--\r\n", "invalid-request", "got nothing"),
    "not a form": (ply(CLOUD), "malformed-body", ""),
    "broken off in the file": (FILE, "malformed-body", "up to its last boundary"),
    "broken off in the boundary": (FILE + END[:-5], "malformed-body", "got a part of it"),
    "broken off in a header": (FILE[:40], "malformed-body", "got a part of it"),
    "two files": (FILE + FILE + END, "invalid-request", "/file: expected one file, got a second"),
    "no file": (part("units", b"mm") + END, "invalid-request", "/file: expected one part with a filename, the scan, got units"),
    "the file as a field": (part("file", ply(CLOUD)) + END, "invalid-request", "/file: expected at most 256 bytes in a field"),
    "a long field": (FILE + part("model", b"m" * 257) + END, "invalid-request", "/model: expected at most 256 bytes in a field"),
    "many fields": (FILE + b"".join(part(f"f{i}", b"") for i in range(1000)) + END, "invalid-request", "at most 6 fields"),
    "an unknown field": (FILE + part("pose", b"frontal") + END, "invalid-request", "`pose`"),
    "a field twice": (FILE + part("units", b"mm") * 2 + END, "invalid-request", "/units: expected one value, got several"),
    "a wrong unit": (FILE + part("units", b"inch") + END, "invalid-request", "/units"),
    "a wrong model": (FILE + part("model", b"gpt") + END, "unknown-model", "gpt"),
    "not utf-8": (FILE + part("model", b"\xff\xfe") + END, "unknown-model", ""),
    "no name": (b"--XX\r\nContent-Disposition: form-data\r\n\r\nm" + END, "malformed-body", "with a name"),
    "no disposition": (b"--XX\r\nContent-Type: model/ply\r\n\r\n" + ply(CLOUD) + END, "malformed-body", "Content-Disposition"),
    "many headers": (b"--XX\r\n" + b"a: b\r\n" * 9 + b"\r\n" + END, "malformed-body", "header"),
    "a long header": (b"--XX\r\na: " + b"b" * 2000 + b"\r\n\r\n" + END, "malformed-body", "header"),
    "an empty file": (part("file", b"", '; filename="scan.ply"') + END, "degenerate-scan", "expected a .ply file, got an empty one"),
    "a file without a suffix": (part("file", ply(CLOUD), '; filename="scan"') + END, "invalid-request", "/format"),
    "a name of dots": (part("file", ply(CLOUD), '; filename="../../.."') + END, "invalid-request", "/format"),
    "a long name": (part("file", ply(CLOUD), f'; filename="{"n" * 900}.fbx"') + END, "unknown-format", ".fbx"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORM_ERRORS)
def test_an_invalid_form_gets_a_problem(client, case):
    body, kind, says = FORM_ERRORS[case]
    response = client.post(URL, content=body, headers={"content-type": "multipart/form-data; boundary=XX"})
    assert says in problem_of(response, kind)["detail"]


@pytest.mark.parametrize("parameters", ["", "; boundary=", f"; boundary={'b' * 300}", "; boundary=YY"])
def test_a_missing_or_invalid_boundary_gets_a_problem(client, parameters):
    headers = {"content-type": f"multipart/form-data{parameters}"}
    problem_of(client.post(URL, content=FILE + END, headers=headers), "malformed-body")


def test_an_option_in_both_form_and_query_is_refused(client):
    form = {"data": {"units": "mm"}, "files": {"file": ("scan.ply", ply(CLOUD))}}
    detail = problem_of(client.post(URL, params={"units": "m"}, **form), "invalid-request")["detail"]
    assert "expected a form field or a query parameter, got both" in detail


def test_an_upload_is_cut_off_at_the_limit_for_scans(client):
    announced = client.post(URL, content=b" " * (MAX_SCAN + 1), headers={"content-type": "model/ply"})
    assert f"at most {MAX_SCAN} bytes (CHIRON_MAX_SCAN_BYTES)" in problem_of(announced, "body-too-large")["detail"]
    chunks = (b" " * 100_000 for _ in range(50))
    problem_of(client.post(URL, content=chunks, headers={"content-type": "model/ply"}), "body-too-large")


def test_an_unexpected_error_is_a_problem_without_internals(client, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("service.tasks.faces.prepare.read_scan", broken)
    response = client.post(URL, content=npy(CLOUD), headers={"content-type": NPY})
    assert "swordfish" not in problem_of(response, "internal")["detail"]


SMALL = CLOUD[:1100]
VALID = {
    "ply": (OCTETS, ply(SMALL, triangles_of(SMALL)), {"format": "ply"}),
    "text": ("text/plain", text(SMALL[:, :3].round(3)), {}),
    "npz": (NPZ, npz(points=SMALL), {}),
    "form": ("multipart/form-data; boundary=XX", FILE + part("units", b"m") + END, {}),
}


@pytest.mark.parametrize("form", VALID)
def test_random_bytes_get_an_answer_or_a_documented_problem(client, form):
    media, valid, query = VALID[form]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(body=damaged(valid))
    def send(body: bytes) -> None:
        response = client.post(URL, params=query, content=body, headers={"content-type": media})
        assert response.status_code in (200, 400, 404, 413, 415, 422), response.text
        if response.status_code != 200:
            assert response.headers["content-type"] == MEDIA_TYPE
            assert response.json()["type"].startswith("/problems/")

    send()
    assert client.post(URL, params=query, content=valid, headers={"content-type": media}).status_code == 200


def test_random_points_get_an_answer_or_a_documented_problem(client):
    number = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, 1e-300, 0.1, 1000.0])

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        numbers=st.lists(number, min_size=1, max_size=9), units=st.sampled_from(["auto", "m"]), seed=st.integers(0, 9)
    )
    def send(numbers: list[float], units: str, seed: int) -> None:
        points = np.resize(np.array(numbers), (1100, 3))
        points[: seed * 100] *= np.random.default_rng(seed).normal(size=(seed * 100, 3))
        response = client.post(URL, params={"units": units}, content=npy(points), headers={"content-type": NPY})
        assert response.status_code in (200, 422), response.text

    send()
