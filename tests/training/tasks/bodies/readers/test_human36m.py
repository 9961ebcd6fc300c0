"""Tests of Human3.6M and HumanEva in VideoPose3D's files, which are written from real motion and the studios' cameras."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from body_files import (
    human36m_motion,
    human36m_pixels,
    metadata,
    write_dicts,
    write_human36m,
    write_three_subjects,
)
from scipy.spatial.transform import Rotation

from models.skeletons.body import convert_body
from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import Skeleton
from training.data.untrusted import UntrustedFile
from training.tasks.bodies.clips import MalformedBodies, MirroredMotion, UnknownBodies
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.readers.human36m import MOVING, read_human36m, read_humaneva
from training.tasks.bodies.readers.studio_cameras import humaneva_cameras
from training.tasks.bodies.readers.videopose3d import read_detections, read_motion

H36M, COCO, MPII, EVA = (BODIES[name] for name in ("h36m-17", "coco-17", "mpii-16", "humaneva-15"))


@pytest.fixture(scope="module")
def motion(data_folder: Path) -> dict[str, np.ndarray]:
    return human36m_motion(data_folder)


@pytest.fixture
def h36m(tmp_path: Path, motion: dict[str, np.ndarray]) -> Path:
    return write_three_subjects(tmp_path, motion)


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
    """The reference applies the inverse of the published quaternion with SciPy."""
    clip = next(c for c in read_human36m(h36m, "gt") if (c.name, c.camera) == ("S1 Walking", "55011271"))
    turn = Rotation.from_quat(
        [0.6157187819480896, -0.764836311340332, -0.14833825826644897, 0.11794740706682205], scalar_first=True
    )
    poses = motion["Walking"][:, MOVING].astype(np.float64)
    poses -= poses[:, :1].copy()
    expected = turn.inv().apply(poses.reshape(-1, 3)).reshape(poses.shape)
    np.testing.assert_allclose(clip.targets, expected, atol=1e-6)
    assert (clip.targets[:, 0] == 0).all()
    head, ankle = clip.targets[:, H36M.joints.index("head_top")], clip.targets[:, H36M.joints.index("left_ankle")]
    assert np.median((head - ankle)[:, 1]) < -0.8  # y is down


def test_keypoints_are_normalised_by_the_images_width(h36m: Path, motion):
    clips = read_human36m(h36m, "gt")
    for number, height in ((0, 1002), (1, 1000)):
        pixels = human36m_pixels(motion["Walking"], "S1")[number]
        np.testing.assert_allclose(clips[number].keypoints[..., 0], pixels[..., 0] / 1000 * 2 - 1, atol=1e-6)
        np.testing.assert_allclose(
            clips[number].keypoints[..., 1], pixels[..., 1] / 1000 * 2 - height / 1000, atol=1e-6
        )
        assert (clips[number].confidence == 1).all()


@pytest.mark.parametrize(("body", "layout"), [(COCO, "coco"), (MPII, "mpii")])
def test_keypoints_may_have_other_joints_than_poses(tmp_path: Path, motion, body: Skeleton, layout: str):
    keypoints = {"S5": {"Walking": human36m_pixels(motion["Walking"], "S5", body)}}
    meta = metadata(layout, len(body.joints))
    del meta["layout_name"]  # some files lack it
    clip = read_human36m(
        write_human36m(tmp_path, {"S5": {"Walking": motion["Walking"]}}, keypoints, meta, "cpn"), "cpn"
    )[0]
    assert (clip.seen.name, clip.skeleton.name) == (body.name, "h36m-17")
    assert clip.keypoints.shape[1:] == (len(body.joints), 2)
    assert clip.targets.shape[1:] == (17, 3)


def test_a_detectors_confidence_is_kept_and_undetected_joints_are_missing(tmp_path: Path, motion):
    views = [
        np.concatenate([p, np.full((*p.shape[:2], 1), 0.75, np.float32)], axis=-1)
        for p in human36m_pixels(motion["Walking"], "S1")
    ]
    views[0][5, 2, :2] = np.nan
    clip = read_human36m(
        write_human36m(tmp_path, {"S1": {"Walking": motion["Walking"]}}, {"S1": {"Walking": views}}), "gt"
    )[0]
    assert clip.confidence[5, 2] == 0
    assert np.isnan(clip.keypoints[5, 2]).all()
    assert np.unique(clip.confidence).tolist() == [0, 0.75]


def test_the_corrupt_recording_is_left_out(tmp_path: Path, motion):
    poses = {"S11": {"Directions": motion["Walking"], "Directions 1": motion["Walking"]}}
    keypoints = {"S11": {"Directions 1": human36m_pixels(motion["Walking"], "S11")}}
    assert {clip.name for clip in read_human36m(write_human36m(tmp_path, poses, keypoints), "gt")} == {
        "S11 Directions 1"
    }


def test_another_order_of_cameras_other_units_and_mirrored_motion_are_refused(tmp_path: Path, motion):
    poses, views = {"S1": {"Walking": motion["Walking"]}}, human36m_pixels(motion["Walking"], "S1")
    with pytest.raises(
        MalformedBodies,
        match=r"S1, Walking: .* camera 54138969 sees .* of the image's width off.*in the order 54138969",
    ):
        read_human36m(write_human36m(tmp_path, poses, {"S1": {"Walking": views[::-1]}}), "gt")
    millimetres = {"S1": {"Walking": 1000 * motion["Walking"]}}
    with pytest.raises(MalformedBodies, match="poses are in metres, keypoints in pixels"):
        read_human36m(write_human36m(tmp_path, millimetres, {"S1": {"Walking": views}}), "gt")
    exchanged = {"S1": {"Walking": motion["Walking"][..., [1, 0, 2]]}}
    with pytest.raises(MirroredMotion, match="S1: expected the left hip"):
        read_human36m(
            write_human36m(tmp_path, exchanged, {"S1": {"Walking": human36m_pixels(exchanged["S1"]["Walking"], "S1")}}),
            "gt",
        )


def test_poses_and_keypoints_that_do_not_match_are_refused(tmp_path: Path, motion):
    walk = motion["Walking"]
    poses, views = {"S1": {"Walking": walk}}, human36m_pixels(walk, "S1")
    for keypoints, message in (
        ({"S1": {}}, "expected keypoints for the poses of S1, Walking, got none"),
        ({"S1": {"Walking": views[:3]}}, "expected keypoints of 4 cameras, got 3"),
        ({"S1": {"Walking": [v[:-1] for v in views]}}, f"at least the {len(walk)} frames.*got {len(walk) - 1}"),
        (
            {"S1": {"Walking": [v[:, :16] for v in views]}},
            r"S1, Walking: expected floats \(frames, 17, 2 or 3\) for each camera, got float32",
        ),
        ({"S1": {"Walking": ["a", "b", "c", "d"]}}, "got str"),
        ({"S1": [1]}, "S1: expected a dict by action, got list"),
    ):
        with pytest.raises(MalformedBodies, match=message):
            read_human36m(write_human36m(tmp_path, poses, keypoints), "gt")
    good = {"S1": {"Walking": views}}
    with pytest.raises(MalformedBodies, match=r"expected floats \(frames, 32, 3\), got float32 \(\d+, 17, 3\)"):
        read_human36m(write_human36m(tmp_path, {"S1": {"Walking": walk[:, MOVING]}}, good), "gt")
    with pytest.raises(MalformedBodies, match=r"expected subjects S1, S5, .*, got S2"):
        read_human36m(write_human36m(tmp_path, {"S2": {"Walking": walk}}, good), "gt")
    with pytest.raises(
        MalformedBodies, match=r"expected keypoints in the order h36m-17, coco-17, mpii-16, humaneva-15, got 17 joints"
    ):
        read_human36m(write_human36m(tmp_path, poses, good, metadata("mpii", 17)), "gt")
    with pytest.raises(MalformedBodies, match="expected metadata with num_joints and keypoints_symmetry"):
        read_human36m(write_human36m(tmp_path, poses, good, {"layout_name": "h36m"}), "gt")
    with pytest.raises(
        UnknownBodies,
        match=r"no file .*data_2d_h36m_cpn_ft_h36m_dbb\.npz; .* has data_2d_h36m_gt\.npz, data_3d_h36m\.npz",
    ):
        read_human36m(tmp_path)


def test_files_of_other_content_are_refused(tmp_path: Path):
    with pytest.raises(MalformedBodies, match="expected positions_3d, got positions"):
        read_motion(write_dicts(tmp_path / "a.npz", positions={}), 32)
    np.savez(tmp_path / "b.npz", positions_3d=np.zeros(3))
    with pytest.raises(MalformedBodies, match=r"expected positions_3d to be one dict.*got float64 \(3,\)"):
        read_motion(tmp_path / "b.npz", 32)
    with pytest.raises(MalformedBodies, match="expected metadata"):
        read_detections(tmp_path / "b.npz")

    class CommandOnUnpickling:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with pytest.raises(UntrustedFile, match=r"asks for .*mkdir"):
        read_motion(write_dicts(tmp_path / "c.npz", positions_3d={"S1": CommandOnUnpickling()}), 32)
    assert not (tmp_path / "ran").exists()


def test_lifting_batches_have_measured_keypoints_in_a_supported_order(tmp_path: Path, motion):
    (tmp_path / "body/human36m").mkdir(parents=True)
    keypoints = {subject: {"Walking": human36m_pixels(motion["Walking"], subject, COCO)} for subject in ("S1", "S8")}
    poses = {subject: {"Walking": motion["Walking"]} for subject in keypoints}
    write_human36m(tmp_path / "body/human36m", poses, keypoints, metadata("coco", 17), "detectron_pt_coco")
    data = LiftData(("human36m",), receptive=9, batch=16, seen_order="coco-17", keypoints="detectron_pt_coco")
    inputs, targets = data.load(tmp_path).training_batch(0, 0)
    assert inputs["keypoints"].shape == (16, 9, 17, 2)
    assert targets.shape == (16, 1, 17, 3)
    assert next(iter(data.load(tmp_path).validation_batches()))[0] == "human36m"
    inputs, _ = replace(data, seen_order="penn-13").load(tmp_path).training_batch(0, 0)
    assert inputs["keypoints"].shape == (16, 9, 13, 2)
    with pytest.raises(
        UnknownBodies, match="in the order coco-17 and lack spine, head_base, head_top, which h36m-17 needs"
    ):
        replace(data, seen_order="h36m-17").load(tmp_path).training_batch(0, 0)


@pytest.fixture
def humaneva(tmp_path: Path, motion) -> Path:
    """Write chunks of two subjects, one without keypoints of the second camera, and an unlabelled chunk."""
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
    write_dicts(tmp_path / "data_3d_humaneva15.npz", positions_3d=poses)
    write_dicts(tmp_path / "data_2d_humaneva15_gt.npz", positions_2d=keypoints, metadata=metadata("humaneva15", 15))
    return tmp_path


def test_chunks_are_separate_clips_and_the_last_of_an_action_is_for_validation(humaneva: Path):
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
    expected = (points - points[:, :1]) @ humaneva_cameras()["S1"][1].R_camera_world.T
    np.testing.assert_allclose(clip.targets, expected, atol=1e-6)


def test_an_unknown_subject_of_humaneva_is_refused(tmp_path: Path, humaneva: Path):
    write_dicts(
        tmp_path / "data_3d_humaneva15.npz",
        positions_3d={"Train/S4": {"Walking 1 chunk0": np.zeros((5, 15, 3), np.float32)}},
    )
    with pytest.raises(MalformedBodies, match="expected subjects Train/ or Validate/ S1, S2, S3, got Train/S4"):
        read_humaneva(humaneva)
