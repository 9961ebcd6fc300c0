"""Tests of the .npy and .npz readers."""

import io
import struct
import zipfile
from typing import Literal

import numpy as np
import pytest

from models.contract.npy import MAX_MEMBERS, ArrayTooLarge, BadArray, Npz, read_npy

POINTS = np.random.default_rng(0).normal(size=(24, 3))


def npy(array: np.ndarray, **options) -> bytes:
    np.save(file := io.BytesIO(), array, **options)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    np.savez_compressed(file := io.BytesIO(), allow_pickle=True, **arrays)
    return file.getvalue()


class Bomb:
    """An object whose pickle fails the test when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8", "i1", "<i2", ">i8", "u1", "<u4"])
@pytest.mark.parametrize("shape", [(), (0,), (24,), (4, 6), (2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_from_numpy_is_read_bit_for_bit(dtype: str, shape: tuple[int, ...], order: Literal["C", "F"]):
    array = np.asarray((100 * np.random.default_rng(0).random(shape)).astype(dtype), order=order)
    back = read_npy(npy(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version: tuple[int, int]):
    np.lib.format.write_array(file := io.BytesIO(), POINTS, version=version)
    np.testing.assert_array_equal(read_npy(file.getvalue()), POINTS)


def test_arrays_of_text_are_read_on_request_only():
    assert read_npy(npy(np.array("mm")), text=True).item() == "mm"
    with pytest.raises(BadArray, match="npy of real numbers"):
        read_npy(npy(np.array("mm")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a .npy file"),
        (npy(POINTS)[:9], "expected a .npy file"),
        (npy(POINTS)[:-1], "expected 576 bytes for .* got 575"),
        (npy(POINTS) + b"0", "got 577"),
        (npy(POINTS)[:8] + b"\xff\xff" + npy(POINTS)[10:], "header of at most 1024 bytes"),
        (npy(POINTS).replace(b"(24, 3)", b"(24,-3)"), "expected a shape"),
        (npy(POINTS).replace(b"(24, 3)", b"[9**9]*"), "expected descr, fortran_order and shape"),
        (npy(POINTS + 1j), "real numbers"),
        (npy(np.zeros(5, [("x", "f4")])), "records"),
        (npy(np.array([Bomb()], object), allow_pickle=True), "not of objects"),
    ],
)
def test_a_malformed_array_is_refused(data: bytes, message: str):
    with pytest.raises(BadArray, match=message):
        read_npy(data)


def test_an_archive_member_is_inflated_only_when_it_is_read():
    archive = Npz(npz(points=POINTS, names=np.array([Bomb()], object)))
    assert archive.names == ("points", "names")
    np.testing.assert_array_equal(archive.read("points", POINTS.nbytes + 1024), POINTS)
    with pytest.raises(BadArray, match="not of objects"):
        archive.read("names", 10_000)


def test_a_member_over_the_limit_is_refused_before_it_is_inflated():
    with pytest.raises(ArrayTooLarge, match="at most 100 bytes"):
        Npz(npz(points=POINTS)).read("points", 100)
    bomb = Npz(npz(points=np.zeros((400_000, 3))))
    assert bomb.compressed_bytes("points") < 20_000
    with pytest.raises(ArrayTooLarge, match="at most 1000000 bytes, got 9600128 from"):
        bomb.read("points", 1_000_000)


def test_an_archive_of_too_many_members_is_refused_before_its_directory_is_read():
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for i in range(MAX_MEMBERS + 1):
            archive.writestr(f"{i}.npy", b"")
    with pytest.raises(ArrayTooLarge, match=f"at most {MAX_MEMBERS} arrays, got {MAX_MEMBERS + 1}"):
        Npz(file.getvalue())


def test_a_damaged_archive_is_refused():
    with pytest.raises(BadArray, match="cannot be opened"):
        Npz(npz(points=POINTS)[:-30])
    np.savez(file := io.BytesIO(), points=POINTS)
    wrong = file.getvalue().replace(POINTS.tobytes()[:8], struct.pack("<d", 1.0))
    with pytest.raises(BadArray, match="CRC"):
        Npz(wrong).read("points", 10_000)
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("points.npy", npy(POINTS))
    with pytest.raises(BadArray, match="stored or deflated"):
        Npz(file.getvalue()).read("points", 10_000)
