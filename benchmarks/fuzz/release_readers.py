"""The readers of published data sets, on files of the published form with synthetic content."""

import gzip
import io
import json
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import containers
from benchmarks.fuzz.file_readers import MEMORY
from benchmarks.fuzz.harness import Reader
from models.skeletons.skeleton import Skeleton
from training.check import check
from training.data.reading import MalformedData, bounded, reading
from training.tasks.bodies.readers.kinetics_skeleton import FRAMES, JOINTS, PERSONS
from training.tasks.bodies.readers.npz import SOURCES
from training.tasks.bodies.readers.nw_ucla import CLASSES, KINECT, OFFICIAL_NAMES
from training.tasks.faces.facescape import TOPOLOGIES, invalid_subjects, landmark_indices, publishable_subjects
from training.tasks.faces.facescape_reference import read_reference
from training.tasks.faces.ict import read_model
from training.tasks.hands.assembly101 import COLUMNS, read_assembly101

CLIPS, LENGTH = 3, 4  # of a file, and frames of each
Load = Callable[[Path], object]


def _alone(name: str, load: Load, others: Mapping[str, bytes] | None = None) -> Callable[[bytes], object]:
    """Return a reader that loads a folder with `data` as the file of this name beside the others."""

    def read(data: bytes) -> object:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for path, content in {**(others or {}), name: data}.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_bytes(content)
            with reading(Path(folder)):
                return load(Path(folder))

    return read


def _npz(**arrays: Any) -> bytes:
    np.savez_compressed(file := io.BytesIO(), **arrays)
    return file.getvalue()


def _people(order: Skeleton, frames: int) -> np.ndarray:
    """Return people who face along z, with y up, so that left and right joints are on the correct sides."""
    points = np.random.default_rng(0).normal(scale=0.1, size=(frames, len(order.joints), 3))
    for joint, (side, name) in enumerate((j.partition("_")[0], j.partition("_")[2]) for j in order.joints):
        if side in ("left", "right"):
            points[:, joint, 0] = 0.2 if side == "left" else -0.2
            points[:, joint, 2] = 0.5 if name in ("toe", "foot") else 0
    return points.astype(np.float32)


def _sequences(**more: Any) -> dict[str, Any]:
    return {"seq_start": np.arange(0, (CLIPS + 1) * LENGTH, LENGTH), **more}


def _hdm05() -> bytes:
    source = SOURCES["hdm05_11"]
    known = {to: own for own, to in source.names.items()}
    return _npz(**_sequences(
        joints=_people(source.skeleton, CLIPS * LENGTH), joint_names=np.array([known.get(j, j) for j in source.skeleton.joints]),
        action=np.zeros(CLIPS, int), action_names=np.array(["walk"]), subject=np.arange(CLIPS),
        subject_names=np.array(["bd", "dg", "mm"]), is_train=np.ones(CLIPS, bool), fps=np.array(60.0),
    ))  # fmt: skip


def _reactidle() -> bytes:
    source = SOURCES["reactidle"]
    known = {to: own for own, to in source.names.items()}
    points = np.rint(_people(source.skeleton, CLIPS * LENGTH) * 1e4).astype(np.int16)
    return _npz(**_sequences(
        joints_rel_0p1mm=points, root_m=np.zeros((CLIPS * LENGTH, 3)), action=np.zeros(CLIPS, int), action_names=np.array(["idle"]),
        joint_names=np.array([known.get(joint, joint) for joint in source.skeleton.joints]), subject=np.arange(CLIPS),
        subject_names=np.array(["001", "002", "003"]), is_train=np.ones(CLIPS, bool), fps=np.array(24.0),
    ))  # fmt: skip


def _nw_ucla() -> bytes:
    return _npz(**_sequences(
        joints=_people(KINECT, CLIPS * LENGTH), seq_name=np.array([f"a01_s0{i + 1}_e00_v0{i + 1}" for i in range(CLIPS)]),
        joint_names=np.array(OFFICIAL_NAMES), action=np.zeros(CLIPS, int), action_names=np.array(CLASSES),
    ))  # fmt: skip


def _nw_ucla_json() -> bytes:
    skeletons = np.round(_people(KINECT, LENGTH), 3).tolist()
    return json.dumps({"file_name": "a01_s01_e00_v01", "skeletons": skeletons, "label": 1}).encode()


def _kinetics_video() -> bytes:
    person = {"pose": [0.5] * 2 * JOINTS, "score": [0.9] * JOINTS}
    frames = [{"frame_index": i, "skeleton": [person] * (1 + i % 2)} for i in range(LENGTH)]
    return json.dumps({"data": frames, "label": "walking", "label_index": 0}).encode()


KINETICS_LABELS = json.dumps({"a": {"has_skeleton": True, "label": "walking", "label_index": 0}}).encode()


def _kinetics_npy() -> bytes:
    np.save(file := io.BytesIO(), np.full((1, 3, FRAMES, JOINTS, PERSONS), 0.1, np.float32))
    return file.getvalue()


def _model() -> bytes:
    """Return a face model of 80 vertices."""
    rng, names = (
        np.random.default_rng(0),
        ["eyeBlink_L", "eyeBlink_R", "mouthClose", "jawOpen", *(f"shape{i}" for i in range(8))],
    )
    flags = {f"{name}_mask": np.ones(80, bool) for name in ("scan", "front", "narrow")}
    bases = {"id_basis": rng.normal(size=(3, 80, 3)), "exp_basis": rng.normal(size=(len(names), 80, 3))}
    arrays = {
        "mean": rng.normal(size=(80, 3)) * 60,
        "exp_names": np.array(names),
        "triangles": np.arange(78).reshape(-1, 3),
    }
    return _npz(**arrays, **bases, **flags, group=np.zeros(80, int), landmarks68=np.arange(68))


PRESETS = json.dumps({"presets": {"smile": {"shape1": 0.5}}}).encode()


def _read_model(folder: Path) -> object:
    bounded(folder / "ict_facekit" / "ict_facekit_light.npz")
    bounded(folder / "ict_facekit" / "expression_presets.json")
    return read_model.__wrapped__(folder)


def _read_lists(folder: Path) -> object:
    return invalid_subjects(folder), publishable_subjects(folder)


def _reference() -> list[bytes]:
    """Return the reference's dictionary of two faces of 70 points, as numpy.save and as pickle write it."""
    rng, faces = np.random.default_rng(0), 2
    content = {
        "point_list": rng.normal(size=(faces, 70, 3)), "landmark_list": rng.normal(size=(faces, 68, 3)),
        "heatmaps_list": np.zeros((faces, 70, 68), np.float16), "normal_list": rng.normal(size=(faces, 70, 3)),
        "subject_list": np.array([1, 2]), "emotion_list": np.array(["1_neutral"] * faces), "scale_list": np.full(faces, 1 / 153),
    }  # fmt: skip
    np.save(file := io.BytesIO(), np.array(content, dtype=object), allow_pickle=True)
    return [file.getvalue(), pickle.dumps(content)]


def _poses() -> list[bytes]:
    """Return Assembly101's poses in both of its layouts."""
    points = np.round(np.random.default_rng(0).normal(scale=50, size=(21, 3)), 1).tolist()
    listed = [{"landmarks": {"0": points, "1": points}, "tracking_confidence": 1.0} for _ in range(LENGTH)]
    numbered = {str(i): {"0": points} for i in range(LENGTH)}
    return [json.dumps(listed).encode(), json.dumps(numbered).encode()]


def _segments() -> bytes:
    header = ",".join((*COLUMNS, "is_RGB"))
    return f"{header}\n".encode() + b"".join(
        f"a/{view},0,1,pick up cab,pick up,toy,1\n".encode() for view in ("C1", "C2")
    )


def _read_assembly101(folder: Path) -> object:
    return list(read_assembly101(folder / "poses", folder, "train", cache=folder / "cache"))


def _landmark_indices() -> bytes:
    return _npz(**{name: np.arange(68) for name in TOPOLOGIES.values()})


HDM05, REACTIDLE, NW_UCLA = (
    "body/hdm05_11/hdm05_11_60hz.npz",
    "body/reactidle/reactidle_24hz.npz",
    "body/nw_ucla/nw_ucla.npz",
)
VIDEO, LABELS = "body/kinetics/kinetics_train/a.json", "body/kinetics/kinetics_train_label.json"
CONVERTED, PICKLED = "body/kinetics/train_data.npy", "body/kinetics/train_label.pkl"
ICT = "ict_facekit/ict_facekit_light.npz"
CSV, POSES = "train.csv", "poses/a.json"
ERRORS = (MalformedData,)
READERS = {
    "release.hdm05": Reader(_alone(HDM05, check), lambda: [_hdm05()], ERRORS, containers.members),
    "release.reactidle": Reader(_alone(REACTIDLE, check), lambda: [_reactidle()], ERRORS, containers.members),
    "release.nw_ucla.npz": Reader(_alone(NW_UCLA, check), lambda: [_nw_ucla()], ERRORS, containers.members),
    "release.nw_ucla.json": Reader(
        _alone("body/nw_ucla/all_sqe/a01_s01_e00_v01.json", check), lambda: [_nw_ucla_json()], ERRORS, containers.values
    ),
    "release.kinetics.video": Reader(
        _alone(VIDEO, check, {LABELS: KINETICS_LABELS}), lambda: [_kinetics_video()], ERRORS, containers.values
    ),
    "release.kinetics.labels": Reader(
        _alone(LABELS, check, {VIDEO: _kinetics_video()}), lambda: [KINETICS_LABELS], ERRORS, containers.values
    ),
    "release.kinetics.npy": Reader(
        _alone(CONVERTED, check, {PICKLED: pickle.dumps((["a"], [0]))}), lambda: [_kinetics_npy()], ERRORS
    ),
    "release.kinetics.pickle": Reader(
        _alone(PICKLED, check, {CONVERTED: _kinetics_npy()}), lambda: [pickle.dumps((["a"], [0]))], ERRORS
    ),
    "release.ict": Reader(
        _alone(ICT, _read_model, {"ict_facekit/expression_presets.json": PRESETS}), lambda: [_model()], ERRORS, containers.members
    ),
    "release.facescape.info": Reader(
        _alone("info_list_v2.txt", _read_lists, {"publishable_list_v1.txt": b"1, 2"}),
        lambda: [b"1 f 23 1+1111\n2 m - 0+[0,1,1,0]\n"], ERRORS,
    ),
    "release.facescape.landmarks": Reader(
        _alone("landmark_indices.npz", landmark_indices), lambda: [_landmark_indices()], ERRORS, containers.members
    ),
    "release.facescape.reference": Reader(_alone("train_neutral.npy", lambda f: read_reference(f, "train")), _reference, ERRORS),
    "release.assembly101.poses": Reader(_alone(POSES, _read_assembly101, {CSV: _segments()}), _poses, ERRORS, containers.values),
    "release.assembly101.csv": Reader(
        _alone(CSV, _read_assembly101, {POSES: _poses()[0]}), lambda: [_segments()], ERRORS
    ),
    "release.assembly101.csv.gz": Reader(
        _alone(f"{CSV}.gz", _read_assembly101, {POSES: _poses()[0]}), lambda: [gzip.compress(_segments(), mtime=0)], ERRORS,
        containers.inside_gzip,
    ),
}  # fmt: skip
