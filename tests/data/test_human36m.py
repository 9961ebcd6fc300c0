"""Human3.6M and HumanEva in VideoPose3D's files, written here from real motion capture and the studios' cameras."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.skeletons.body import BODIES, convert_body
from models.skeletons.skeleton import Skeleton
from training.data.untrusted import UntrustedFile
from training.tasks.bodies.clips import MalformedBodies, MirroredMotion, UnknownBodies
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.readers.cameras import project, to_camera
from training.tasks.bodies.readers.human36m import MOVING, read_human36m, read_humaneva
from training.tasks.bodies.readers.npz import read_bodies
from training.tasks.bodies.readers.studio_cameras import human36m_cameras, humaneva_cameras
from training.tasks.bodies.readers.videopose3d import read_detections, read_motion

H36M, COCO, MPII, EVA = (BODIES[name] for name in ("h36m-17", "coco-17", "mpii-16", "humaneva-15"))
SYMMETRY = {  # as VideoPose3D writes them; those of mpii do not pair off in this order
    "h36m": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    "coco": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
    "mpii": [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]],
    "humaneva15": [[2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]],
}


@pytest.fixture(scope="module")
def motion(data_folder: Path) -> dict[str, np.ndarray]:
    """Real clips of Human3.6M's 32 joints, z up, in the middle of the room: (frames, 32, 3) float32 metres."""
    found = {}
    for name, clip in zip(
        ("Walking", "Walking 1", "TakingPhoto"), read_bodies(data_folder / "body", "hdm05_11"), strict=False
    ):
        points = clip.points - [clip.points[0, 0, 0], 0, clip.points[0, 0, 2]]
        points = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)  # a rotation: y up to z up
        full = np.zeros((len(points), 32, 3), np.float32)
        full[:, MOVING] = convert_body(points, clip.skeleton, H36M)
        toes = [clip.skeleton.joints.index(f"{side}_toe") for side in ("right", "left")]
        full[:, [4, 9]] = points[:, toes]
        found[name] = full
    return found


def seen(points: np.ndarray, subject: str, body: Skeleton = H36M) -> list[np.ndarray]:
    """Pixels in each camera, as measured keypoints are written; what the poses do not have is in the image's middle."""
    pixels = [
        project(to_camera(points[:, MOVING].astype(np.float64), camera), camera)
        for camera in human36m_cameras()[subject]
    ]
    return [np.nan_to_num(convert_body(p, H36M, body, partial=True), nan=500.0).astype(np.float32) for p in pixels]


def write(path: Path, **content: object) -> Path:
    """A .npz of dicts, as np.savez_compressed writes them."""
    arrays = {name: np.array(value, dtype=object) for name, value in content.items()}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def metadata(layout: str, joints: int) -> dict[str, object]:
    return {"layout_name": layout, "num_joints": joints, "keypoints_symmetry": SYMMETRY[layout]}


def release(folder: Path, poses: dict, keypoints: dict, meta: dict | None = None, name: str = "gt") -> Path:
    write(folder / "data_3d_h36m.npz", positions_3d=poses)
    write(folder / f"data_2d_h36m_{name}.npz", positions_2d=keypoints, metadata=meta or metadata("h36m", 17))
    return folder


@pytest.fixture
def h36m(tmp_path: Path, motion) -> Path:
    """Three subjects of three clips; of each clip the keypoints have three frames more than the poses."""
    poses: dict[str, dict] = dict.fromkeys(("S1", "S8", "S11"), motion)
    keypoints = {
        subject: {
            action: [np.concatenate([p, p[-3:]]) for p in seen(points, subject)] for action, points in actions.items()
        }
        for subject, actions in poses.items()
    }
    return release(tmp_path, poses, keypoints)


def test_every_subject_action_and_camera_is_a_clip(h36m: Path, motion):
    clips = read_human36m(h36m, "gt")
    assert len(clips) == 3 * 3 * 4
    assert {(clip.subject, clip.split) for clip in clips} == {("S1", "train"), ("S8", "validation"), ("S11", "test")}
    assert {clip.label for clip in clips} == {"Walking", "Photo"}
    assert [clip.camera for clip in clips[:4]] == ["54138969", "55011271", "58860488", "60457274"]
    assert clips[4].name == "S1 Walking 1"
    assert {len(clip.targets) for clip in clips} == {len(points) for points in motion.values()}
    assert all(len(clip.keypoints) == len(clip.targets) for clip in clips)
    assert {clip.fps for clip in clips} == {50.0}


def test_targets_are_the_poses_in_the_cameras_axes_from_the_pelvis(h36m: Path, motion):
    """By another way: the inverse of the published quaternion, applied by SciPy."""
    clip = next(c for c in read_human36m(h36m, "gt") if (c.name, c.camera) == ("S1 Walking", "55011271"))
    turn = Rotation.from_quat(
        [0.6157187819480896, -0.764836311340332, -0.14833825826644897, 0.11794740706682205], scalar_first=True
    )
    poses = motion["Walking"][:, MOVING].astype(np.float64)
    poses -= poses[:, :1].copy()
    wanted = turn.inv().apply(poses.reshape(-1, 3)).reshape(poses.shape)
    np.testing.assert_allclose(clip.targets, wanted, atol=1e-6)
    assert (clip.targets[:, 0] == 0).all()
    head, ankle = clip.targets[:, H36M.joints.index("head_top")], clip.targets[:, H36M.joints.index("left_ankle")]
    assert np.median((head - ankle)[:, 1]) < -0.8  # y is down


def test_keypoints_are_normalised_by_the_images_width(h36m: Path, motion):
    clips = read_human36m(h36m, "gt")
    for number, height in ((0, 1002), (1, 1000)):
        pixels = seen(motion["Walking"], "S1")[number]
        np.testing.assert_allclose(clips[number].keypoints[..., 0], pixels[..., 0] / 1000 * 2 - 1, atol=1e-6)
        np.testing.assert_allclose(
            clips[number].keypoints[..., 1], pixels[..., 1] / 1000 * 2 - height / 1000, atol=1e-6
        )
        assert (clips[number].confidence == 1).all()


@pytest.mark.parametrize(("body", "layout"), [(COCO, "coco"), (MPII, "mpii")])
def test_keypoints_may_have_other_joints_than_poses(tmp_path: Path, motion, body: Skeleton, layout: str):
    keypoints = {"S5": {"Walking": seen(motion["Walking"], "S5", body)}}
    meta = metadata(layout, len(body.joints))
    del meta["layout_name"]  # which not every file has
    clip = read_human36m(release(tmp_path, {"S5": {"Walking": motion["Walking"]}}, keypoints, meta, "cpn"), "cpn")[0]
    assert (clip.seen.name, clip.skeleton.name) == (body.name, "h36m-17")
    assert clip.keypoints.shape[1:] == (len(body.joints), 2)
    assert clip.targets.shape[1:] == (17, 3)


def test_a_detectors_confidence_is_kept_and_what_it_missed_is_missing(tmp_path: Path, motion):
    views = [
        np.concatenate([p, np.full((*p.shape[:2], 1), 0.75, np.float32)], axis=-1)
        for p in seen(motion["Walking"], "S1")
    ]
    views[0][5, 2, :2] = np.nan
    clip = read_human36m(release(tmp_path, {"S1": {"Walking": motion["Walking"]}}, {"S1": {"Walking": views}}), "gt")[0]
    assert clip.confidence[5, 2] == 0
    assert np.isnan(clip.keypoints[5, 2]).all()
    assert np.unique(clip.confidence).tolist() == [0, 0.75]


def test_the_corrupt_recording_is_left_out(tmp_path: Path, motion):
    poses = {"S11": {"Directions": motion["Walking"], "Directions 1": motion["Walking"]}}
    keypoints = {"S11": {"Directions 1": seen(motion["Walking"], "S11")}}
    assert {clip.name for clip in read_human36m(release(tmp_path, poses, keypoints), "gt")} == {"S11 Directions 1"}


def test_cameras_in_another_order_or_other_units_or_a_mirror_are_noticed(tmp_path: Path, motion):
    poses, views = {"S1": {"Walking": motion["Walking"]}}, seen(motion["Walking"], "S1")
    with pytest.raises(
        MalformedBodies,
        match=r"S1, Walking: .* camera 54138969 sees .* of the image's width off.*in the order 54138969",
    ):
        read_human36m(release(tmp_path, poses, {"S1": {"Walking": views[::-1]}}), "gt")
    millimetres = {"S1": {"Walking": 1000 * motion["Walking"]}}
    with pytest.raises(MalformedBodies, match="Wanted are metres, pixels"):
        read_human36m(release(tmp_path, millimetres, {"S1": {"Walking": views}}), "gt")
    exchanged = {"S1": {"Walking": motion["Walking"][..., [1, 0, 2]]}}
    with pytest.raises(MirroredMotion, match="S1: the left hip"):
        read_human36m(release(tmp_path, exchanged, {"S1": {"Walking": seen(exchanged["S1"]["Walking"], "S1")}}), "gt")


def test_what_does_not_fit_together_is_named(tmp_path: Path, motion):
    walk = motion["Walking"]
    poses, views = {"S1": {"Walking": walk}}, seen(walk, "S1")
    for keypoints, message in (
        ({"S1": {}}, "no keypoints of S1, Walking, of which there are poses"),
        ({"S1": {"Walking": views[:3]}}, "wanted keypoints of 4 cameras; came 3"),
        ({"S1": {"Walking": [v[:-1] for v in views]}}, f"at least the {len(walk)} frames.*came {len(walk) - 1}"),
        (
            {"S1": {"Walking": [v[:, :16] for v in views]}},
            r"S1, Walking: wanted for each camera floats \(frames, 17, 2 or 3\); came float32",
        ),
        ({"S1": {"Walking": ["a", "b", "c", "d"]}}, "came str"),
        ({"S1": [1]}, "S1: wanted a dict by action; came list"),
    ):
        with pytest.raises(MalformedBodies, match=message):
            read_human36m(release(tmp_path, poses, keypoints), "gt")
    good = {"S1": {"Walking": views}}
    with pytest.raises(MalformedBodies, match=r"wanted floats \(frames, 32, 3\); came float32 \(\d+, 17, 3\)"):
        read_human36m(release(tmp_path, {"S1": {"Walking": walk[:, MOVING]}}, good), "gt")
    with pytest.raises(MalformedBodies, match=r"subjects are S1, S5, .*; came S2"):
        read_human36m(release(tmp_path, {"S2": {"Walking": walk}}, good), "gt")
    with pytest.raises(MalformedBodies, match=r"17 joints, .*known are h36m-17, coco-17, mpii-16, humaneva-15"):
        read_human36m(release(tmp_path, poses, good, metadata("mpii", 17)), "gt")
    with pytest.raises(MalformedBodies, match="metadata wants num_joints and keypoints_symmetry"):
        read_human36m(release(tmp_path, poses, good, {"layout_name": "h36m"}), "gt")
    with pytest.raises(
        UnknownBodies,
        match=r"no file .*data_2d_h36m_cpn_ft_h36m_dbb\.npz; .* has data_2d_h36m_gt\.npz, data_3d_h36m\.npz",
    ):
        read_human36m(tmp_path)


def test_files_that_hold_something_else_are_refused(tmp_path: Path):
    with pytest.raises(MalformedBodies, match="wants positions_3d; it has positions"):
        read_motion(write(tmp_path / "a.npz", positions={}), 32)
    np.savez(tmp_path / "b.npz", positions_3d=np.zeros(3))
    with pytest.raises(MalformedBodies, match=r"positions_3d wants to be one dict.*came float64 \(3,\)"):
        read_motion(tmp_path / "b.npz", 32)
    with pytest.raises(MalformedBodies, match="wants metadata"):
        read_detections(tmp_path / "b.npz")

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with pytest.raises(UntrustedFile, match=r"asks for .*mkdir"):
        read_motion(write(tmp_path / "c.npz", positions_3d={"S1": Runs()}), 32)
    assert not (tmp_path / "ran").exists()


def test_lifting_batches_are_made_of_measured_keypoints_in_an_order_they_can_give(tmp_path: Path, motion):
    (tmp_path / "body/human36m").mkdir(parents=True)
    keypoints = {subject: {"Walking": seen(motion["Walking"], subject, COCO)} for subject in ("S1", "S8")}
    poses = {subject: {"Walking": motion["Walking"]} for subject in keypoints}
    release(tmp_path / "body/human36m", poses, keypoints, metadata("coco", 17), "detectron_pt_coco")
    data = LiftData(("human36m",), receptive=9, batch=16, seen_order="coco-17", keypoints="detectron_pt_coco")
    inputs, targets = data.load(tmp_path).training_batch(0, 0)
    assert inputs["keypoints"].shape == (16, 9, 17, 2)
    assert targets.shape == (16, 1, 17, 3)
    assert next(iter(data.load(tmp_path).validation_batches()))[0] == "human36m"
    inputs, _ = replace(data, seen_order="penn-13").load(tmp_path).training_batch(0, 0)
    assert inputs["keypoints"].shape == (16, 9, 13, 2)
    with pytest.raises(
        UnknownBodies, match="keypoints are coco-17 and have no spine, head_base, head_top, wanted for h36m-17"
    ):
        replace(data, seen_order="h36m-17").load(tmp_path).training_batch(0, 0)


@pytest.fixture
def humaneva(tmp_path: Path, motion) -> Path:
    """Chunks of two subjects; one chunk has no keypoints of the second camera; something unlabelled."""
    points = convert_body(motion["Walking"][:, MOVING], H36M, EVA)
    poses = {
        "Train/S1": {"Walking 1 chunk0": points[:40], "Walking 1 chunk2": points[45:], "Jog 1 chunk0": points},
        "Validate/S2": {"Walking 1 chunk0": points[:60]},
        "Unlabeled/Train/S1": {"Walking 1 chunk1": points[:5]},
    }
    keypoints: dict = {
        subject: {
            action: [np.full((len(p), 15, 2), 100.0 * (1 + i), np.float32) for i in range(3)]
            for action, p in actions.items()
        }
        for subject, actions in poses.items()
    }
    keypoints["Train/S1"]["Jog 1 chunk0"][1] = None
    write(tmp_path / "data_3d_humaneva15.npz", positions_3d=poses)
    write(tmp_path / "data_2d_humaneva15_gt.npz", positions_2d=keypoints, metadata=metadata("humaneva15", 15))
    return tmp_path


def test_chunks_stay_apart_and_the_last_of_an_action_is_held_out(humaneva: Path):
    clips = read_humaneva(humaneva)
    assert [(c.name, c.camera, c.split, c.label, len(c.targets)) for c in clips[::3][:2]] == [
        ("Train/S1 Walking 1 chunk0", "C1", "train", "Walking", 40),
        ("Train/S1 Walking 1 chunk2", "C1", "validation", "Walking", clips[3].targets.shape[0]),
    ]
    assert [(c.name, c.camera) for c in clips if c.label == "Jog"] == [
        ("Train/S1 Jog 1 chunk0", "C1"),
        ("Train/S1 Jog 1 chunk0", "C3"),
    ]
    assert {(c.subject, c.split) for c in clips} == {("S1", "train"), ("S1", "validation"), ("S2", "test")}
    assert {c.fps for c in clips} == {60.0}


def test_humanevas_keypoints_are_normalised_by_640_pixels_and_targets_turned(humaneva: Path, motion):
    clip = read_humaneva(humaneva)[1]
    np.testing.assert_allclose(clip.keypoints[0, 0], [200 / 640 * 2 - 1, 200 / 640 * 2 - 480 / 640], atol=1e-6)
    points = convert_body(motion["Walking"][:40, MOVING], H36M, EVA).astype(np.float64)
    wanted = (points - points[:, :1]) @ humaneva_cameras()["S1"][1].R_camera_world.T
    np.testing.assert_allclose(clip.targets, wanted, atol=1e-6)


def test_a_subject_humaneva_has_not_is_named(tmp_path: Path, humaneva: Path):
    write(
        tmp_path / "data_3d_humaneva15.npz",
        positions_3d={"Train/S4": {"Walking 1 chunk0": np.zeros((5, 15, 3), np.float32)}},
    )
    with pytest.raises(MalformedBodies, match="subjects are Train/ or Validate/ S1, S2, S3; came Train/S4"):
        read_humaneva(humaneva)
