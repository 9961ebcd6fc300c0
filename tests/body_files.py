"""Files of body data sets in their published forms, for tests of readers and checks."""

import json
import pickle
from pathlib import Path

import numpy as np
import scipy.io

from models.skeletons.body import convert_body
from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import Skeleton
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.readers.cameras import project, to_camera
from training.tasks.bodies.readers.human36m import MOVING
from training.tasks.bodies.readers.npz import read_bodies
from training.tasks.bodies.readers.nw_ucla import CLASSES
from training.tasks.bodies.readers.studio_cameras import human36m_cameras

H36M = BODIES["h36m-17"]


SYMMETRY = {  # as VideoPose3D writes it; in mpii, joints with the same index in both lists are not mirror pairs
    "h36m": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    "coco": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
    "mpii": [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]],
    "humaneva15": [[2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]],
}


def human36m_motion(data_folder: Path) -> dict[str, np.ndarray]:
    """Return real clips of Human3.6M's 32 joints, z up, in the middle of the room: (frames, 32, 3) float32 metres by action."""
    motion = {}
    clips = read_bodies(data_folder / "body", "hdm05_11")
    for name, clip in zip(("Walking", "Walking 1", "TakingPhoto"), clips, strict=False):
        points = clip.points - [clip.points[0, 0, 0], 0, clip.points[0, 0, 2]]
        points = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)  # a rotation: y up to z up
        full = np.zeros((len(points), 32, 3), np.float32)
        full[:, MOVING] = convert_body(points, clip.skeleton, H36M)
        toes = [clip.skeleton.joints.index(f"{side}_toe") for side in ("right", "left")]
        full[:, [4, 9]] = points[:, toes]
        motion[name] = full
    return motion


def human36m_pixels(points: np.ndarray, subject: str, body: Skeleton = H36M) -> list[np.ndarray]:
    """Project poses into each camera, as in a detector's file; joints that the poses lack lie in the middle of the image."""
    pixels = [
        project(to_camera(points[:, MOVING].astype(np.float64), camera), camera)
        for camera in human36m_cameras()[subject]
    ]
    return [np.nan_to_num(convert_body(p, H36M, body, partial=True), nan=500.0).astype(np.float32) for p in pixels]


def write_dicts(path: Path, **content: object) -> Path:
    """Write a .npz of dicts, as np.savez_compressed does."""
    arrays = {name: np.array(value, dtype=object) for name, value in content.items()}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def metadata(layout: str, joints: int) -> dict[str, object]:
    """Return the metadata of a VideoPose3D file of keypoints."""
    return {"layout_name": layout, "num_joints": joints, "keypoints_symmetry": SYMMETRY[layout]}


def write_human36m(folder: Path, poses: dict, keypoints: dict, meta: dict | None = None, name: str = "gt") -> Path:
    """Write VideoPose3D's two files of Human3.6M; `name` is the detector's."""
    write_dicts(folder / "data_3d_h36m.npz", positions_3d=poses)
    write_dicts(folder / f"data_2d_h36m_{name}.npz", positions_2d=keypoints, metadata=meta or metadata("h36m", 17))
    return folder


def write_three_subjects(folder: Path, motion: dict[str, np.ndarray]) -> Path:
    """Write Human3.6M with one subject per split and three more frames of keypoints than of poses."""
    poses: dict[str, dict] = dict.fromkeys(("S1", "S8", "S11"), motion)
    keypoints = {
        subject: {
            action: [np.concatenate([p, p[-3:]]) for p in human36m_pixels(points, subject)]
            for action, points in actions.items()
        }
        for subject, actions in poses.items()
    }
    return write_human36m(folder, poses, keypoints)


def kinetics_video(seed: int, label: int = 3) -> dict:
    """Return a video of up to seven people in every third frame; undetected joints lie at (0, 0) with score 0."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(0, 300, 3):
        persons = []
        for _ in range(rng.integers(0, 8)):
            score = np.round(rng.random(18) * (rng.random(18) < 0.8), 3)
            pose = np.round(rng.random((18, 2)) * (score > 0)[:, None], 3)
            persons.append({"pose": pose.ravel().tolist(), "score": score.tolist()})
        frames.append({"frame_index": index, "skeleton": persons})
    return {"data": frames, "label": f"label {label}", "label_index": label}


def as_st_gcn(video: dict) -> np.ndarray:
    """Return (3, 300, 18, 2) as ST-GCN's feeder does: centre, clear undetected joints, then keep each frame's two best scores."""
    data = np.zeros((3, 300, 18, 5))
    for frame in video["data"]:
        for m, person in enumerate(frame["skeleton"][:5]):
            data[0, frame["frame_index"], :, m] = person["pose"][0::2]
            data[1, frame["frame_index"], :, m] = person["pose"][1::2]
            data[2, frame["frame_index"], :, m] = person["score"]
    data[:2] -= 0.5
    data[:2][np.broadcast_to(data[2] == 0, data[:2].shape)] = 0
    for t in range(300):
        order = sorted(range(5), key=lambda m, t=t: -data[2, t, :, m].sum())
        data[:, t] = data[:, t][:, :, order]
    return data[..., :2].astype(np.float32)


def write_kinetics(folder: Path) -> Path:
    """Write four training and two validation videos as published; one of each part has no skeletons."""
    for part, numbers in (("train", range(4)), ("val", range(4, 6))):
        (folder / f"kinetics_{part}").mkdir(parents=True)
        labels = {}
        for number in numbers:
            video = kinetics_video(number, label=number % 3)
            (folder / f"kinetics_{part}/v{number}.json").write_text(json.dumps(video))
            labels[f"v{number}"] = {
                "has_skeleton": number not in (1, 5),
                "label": f"label {number % 3}",
                "label_index": number % 3,
            }
        (folder / f"kinetics_{part}_label.json").write_text(json.dumps(labels))
    return folder


def write_converted(folder: Path, part: str, videos: list[dict]) -> Path:
    """Write a part of Kinetics-skeleton as ST-GCN converts it."""
    np.save(folder / f"{part}_data.npy", np.stack([as_st_gcn(video) for video in videos]))
    names = [f"v{i}.json" for i in range(len(videos))]
    (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((names, [video["label_index"] for video in videos])))
    return folder


def write_nw_ucla(folder: Path, clip: BodyClip, name: str | None = None, **changes: object) -> Path:
    """Write a clip as CTR-GCN's all_sqe/<name>.json, with changes."""
    (folder / "all_sqe").mkdir(exist_ok=True)
    content = {
        "file_name": clip.name,
        "skeletons": clip.points.tolist(),
        "label": CLASSES.index(clip.label) + 1,
    } | changes
    (folder / "all_sqe" / f"{name or clip.name}.json").write_text(json.dumps(content))
    return folder


def write_mat(folder: Path, clip: BodyClip, dtype: type = np.float64, **changes: object) -> Path:
    """Write a clip as Penn Action's labels/<name>.mat, with changes; the bounding box lacks a row, as in two published files."""
    frames = len(clip.points)
    content = {
        "action": clip.label,
        "pose": "front",
        "x": clip.points[..., 0].astype(dtype),
        "y": clip.points[..., 1].astype(dtype),
        "visibility": clip.confidence.astype(np.uint8),
        "train": -1 if clip.split == "test" else 1,
        "bbox": np.zeros((frames - 1, 4), np.uint8),
        "dimensions": np.array([270, 480, frames], np.uint16),
        "nframes": np.uint8(frames % 256),
    } | changes
    folder.mkdir(exist_ok=True)
    scipy.io.savemat(folder / f"{clip.name}.mat", {name: value for name, value in content.items() if value is not None})
    return folder
