"""Tests of clouds and meshes as archives of arrays, .npz."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import POINTS, TRIANGLES, npy, npz
from models.scans.cloud import BadCloud, Degenerate, TooBig, Unreadable

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
    "npz of other arrays": (".npz", npz(a=POINTS, b=POINTS), Unreadable, "called points or vertices .* got a, b"),
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
    "npz with faces that are no numbers": (".npz", npz(points=POINTS, faces=POINTS), Unreadable, "whole numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])
