"""Tests of the memory of requests: usual bodies stay within their reservation, and no body exceeds the limit of its process."""

import gc
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Executor

import msgspec
import numpy as np
import pytest

from models.contract.bundle import BundleMeta, read_bundle
from service.http.problems import Problem
from service.tasks import walk
from service.tasks.arrays import CONSTANT_BYTES
from service.tasks.bodies.endpoint import LIFT
from service.tasks.decoders import start_process
from service.tasks.endpoint import Body, Endpoint, Limits
from service.tasks.faces.endpoint import FACE
from service.tasks.hands.endpoint import HANDS
from service.tasks.memory import memory_limit
from service.tasks.walk import Walk

from ..exchange import NPY, npy

JSON, MSGPACK, TEXT = "application/json", "application/msgpack", "text/plain"
OVERHEAD = 500_000  # bytes that do not depend on the size: modules, tables, the model's constants
SIZE = 60_000
OPTIONS = {HANDS.kind: {"fps": 30}, LIFT.kind: {"fps": 30, "joints": "coco-17", "image": [640, 480]}}
FIELD = {HANDS.kind: "past", LIFT.kind: "keypoints"}
NIL = b"\xc0"


@pytest.fixture(scope="module")
def metas(bundles) -> dict[str, BundleMeta]:
    metas = (read_bundle(bundles / name).meta for name in ("hands-thirty", "lift-means", "face-shells"))
    return {meta.task.kind: meta for meta in metas}


def points(joints: int, numbers: int, digits: int) -> list:
    rng = np.random.default_rng(0)
    frames = SIZE // (joints * numbers * (digits + 2))
    return rng.uniform(100, 400, size=(frames, joints, numbers)).round(digits - 3).tolist()


def body_of(endpoint: Endpoint, media: str, frames: list) -> Body:
    encode = msgspec.json.encode if media == JSON else msgspec.msgpack.encode
    return Body(encode({**OPTIONS[endpoint.kind], FIELD[endpoint.kind]: frames}), media, JSON)


def frames_of(endpoint: Endpoint, frame: bytes, count: int) -> Body:
    """Return a MessagePack body with `count` equal frames."""
    fields = msgspec.msgpack.encode(OPTIONS[endpoint.kind])
    start = bytes([fields[0] + 1]) + fields[1:] + msgspec.msgpack.encode(FIELD[endpoint.kind])
    return Body(start + b"\xdd" + count.to_bytes(4, "big") + count * frame, MSGPACK, JSON)


def peak(endpoint: Endpoint, body: Body, meta: BundleMeta) -> int:
    """Return the peak memory in bytes of decoding and preparing a body, which may be refused."""
    gc.collect()
    tracemalloc.start()
    try:
        Walk(endpoint).begin(body, {"": meta}, "", Limits(1 << 30, gap_s=0.25, points=1 << 30))
    except Problem:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


USUAL = {
    "hands as JSON": (HANDS, body_of(HANDS, JSON, points(42, 3, 9))),
    "hands as MessagePack": (HANDS, body_of(HANDS, MSGPACK, points(42, 3, 9))),
    "pixels as JSON": (LIFT, body_of(LIFT, JSON, points(17, 2, 3))),
    "keypoints as MessagePack": (LIFT, body_of(LIFT, MSGPACK, points(17, 3, 5))),
    "hands as .npy": (HANDS, Body(npy(np.ones((100, 42, 3), "<f4")), NPY, JSON, {"fps": "30"})),
    "keypoints as .npy": (LIFT, Body(npy(np.ones((400, 17, 2), "<f4")), NPY, JSON, {"fps": "30", "joints": "coco-17", "image": "9,9"})),
    "a scan as .npy": (FACE, Body(npy(np.ones((6000, 3), "<f4") * np.arange(3)), NPY, JSON, {"units": "m"})),
    "a scan as text": (FACE, Body(b"0.12 -1.34 2.56\n" * 4000, TEXT, JSON, {"units": "m"})),
}  # fmt: skip


@pytest.mark.parametrize("case", USUAL)
def test_a_usual_body_stays_within_the_memory_reserved_for_its_bytes(metas, case):
    endpoint, body = USUAL[case]
    peak(endpoint, body, metas[endpoint.kind])  # fills caches
    reserved = endpoint.memory(body.media).per_byte * len(body.data)
    assert peak(endpoint, body, metas[endpoint.kind]) <= reserved + OVERHEAD


@pytest.mark.parametrize("endpoint", [HANDS, LIFT], ids=lambda endpoint: endpoint.path)
def test_null_frames_stay_within_the_constant_part_of_the_reservation(metas, endpoint):
    frame = bytes([0xDC, 0, 42]) + 42 * (b"\x93" + 3 * NIL) if endpoint is HANDS else b"\x91\x92\x01\x02"
    mixed = frames_of(endpoint, NIL, 9_999)
    mixed = Body(mixed.data + frame, MSGPACK, JSON)
    for body in (frames_of(endpoint, NIL, 10_000), frames_of(endpoint, NIL, 50_000), mixed):
        assert peak(endpoint, body, metas[endpoint.kind]) <= CONSTANT_BYTES


@pytest.fixture(scope="module")
def process() -> Iterator[Executor]:
    with start_process() as executor:
        yield executor


@pytest.mark.parametrize(
    "body",
    [frames_of(LIFT, b"\x90", 1_000_000), frames_of(HANDS, b"\x91\x93\0\0\0", 200_000)],
    ids=["empty lists", "small numbers"],
)
def test_a_body_beyond_the_memory_limit_is_refused_and_the_process_continues(process, metas, body):
    endpoint = LIFT if b"keypoints" in body.data[:100] else HANDS
    arguments = ({"": metas[endpoint.kind]}, "", Limits(1 << 30, gap_s=0.25))
    with pytest.raises(Problem, match="body-too-large: expected contents that take at most 10000000 bytes in memory"):
        process.submit(walk.begin, 1, endpoint.path, 10_000_000, body, *arguments).result()
    usual = body_of(LIFT, JSON, points(17, 2, 3))
    turn = process.submit(walk.begin, 2, LIFT.path, 10_000_000, usual, {"": metas[LIFT.kind]}, *arguments[1:]).result()
    assert turn.items


def test_a_process_that_serves_other_requests_is_not_limited():
    with memory_limit(0):
        assert len(bytearray(50_000_000)) == 50_000_000


def test_memory_of_full_heatmaps_is_reserved_before_they_are_computed(client, metas):
    scan = Body(npy(np.random.default_rng(0).normal(size=(2000, 3)).astype("<f4") * 0.05), NPY, "application/x-npz")
    for heatmaps, least in (("none", 0), ("full", 5 * 68 * 4 * 2000)):
        body = Body(scan.data, NPY, scan.answer, {"units": "m", "heatmaps": heatmaps})
        turn = Walk(FACE).begin(body, {"": metas[FACE.kind]}, "", Limits(1 << 30, points=1 << 30))
        assert turn is not None
        assert turn.kept == (8 << 20) + least
