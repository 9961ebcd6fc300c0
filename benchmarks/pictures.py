"""The pictures of the README and the documentation, drawn with the shipped bundles.

    python -m benchmarks.pictures docs        about a minute of one CPU core

The face, the hand and the lifted clip are test recordings: CHIRON_DATA (or ../shared/data) must have faces/facefuns_composites, hands/ and
body/.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from models.contract.bundle import Bundle, read_bundle
from models.contract.runtime import onnxruntime
from models.contract.symmetry import Tensors
from models.pictures.bodies import FRONT, SIDE, View, draw_bodies
from models.pictures.hands import draw_hands
from models.pictures.page import BLUE, GREY, INK, PINK, blank, headline, legend, panel, save
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from models.skeletons.face import FACE68
from models.skeletons.hand import ASSEMBLY101
from training.catalogue import get_run
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.lift_table import bundled
from training.tasks.bodies.study import draw_lifted
from training.tasks.faces.real_faces import real_faces
from training.tasks.hands.npz import read_hands

FACE = "f18"
CLIP, START = ("tzionas", "test"), 40
LIFTED = "hdm05_11"
LEVELS = (1024, 256, 64)
NOSE = 30  # the tip, in iBUG-68
WIDTH = 1400  # pixels of the README's picture, so that it is smaller than 400 kB in full colours


def run(bundle: Bundle, inputs: Tensors) -> Tensors:
    """Return the outputs of a bundle's graph."""
    session = onnxruntime.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(x) for name, x in zip(names, session.run(names, dict(inputs)), strict=True)}


def rotation(axis: Sequence[float], degrees: float) -> Float[np.ndarray, "3 3"]:
    """Return the rotation matrix about an axis through the origin (Rodrigues)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def landmarks(data: Path, path: Path) -> None:
    """Run `chiron landmarks --plot` on a rotated and translated real face."""
    face = next(face for face in real_faces(data / "faces") if face.name == FACE)
    points = face.points @ rotation((1, 2, 3), 140).T + [0.4, -0.2, 0.9]
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / f"{FACE}.npz"
        np.savez(scan, points=points, triangles=face.triangles)
        command = [
            sys.executable,
            "-m",
            "service",
            "landmarks",
            str(scan),
            "--plot",
            str(path),
            "-o",
            f"{folder}/a.json",
        ]
        subprocess.run(command, check=True)
    with Image.open(path) as picture:
        height = round(picture.height * WIDTH / picture.width)
        picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS).save(path, optimize=True)


def hands(bundle: Bundle, data: Path, path: Path) -> None:
    """Draw a second of a real hand, its forecast, and the true next second."""
    clip = max(read_hands(data / "hands", *CLIP), key=lambda recording: len(recording.clip.joints)).clip
    joints = clip.joints[:, clip.valid.any(axis=0)][START : START + 60].reshape(60, -1, 3)
    past = (joints[:30] - joints[29].mean(axis=0)).astype(np.float32)
    future = run(bundle, {"past": past[None]})["future"][0, 0]
    draw_hands(past, joints[30:] - joints[29].mean(axis=0), future, 30.0, path, "a hand, a second ahead")


def equivariance(bundle: Bundle, path: Path) -> None:
    """Draw the forecasts of a clip and of the rotated clip, from the same view."""
    past = bundle.example()[0]["past"][:, :, :21]
    past = past - past[:, -1:].mean(axis=2, keepdims=True)
    turn = rotation((0, 0, 1), 90).astype(np.float32)
    clips = {"a clip": past, "the clip turned": past @ turn.T}
    futures = {name: run(bundle, {"past": x})["future"] for name, x in clips.items()}
    error = np.abs(futures["a clip"] @ turn.T - futures["the clip turned"]).max()
    moments = [("now", None), ("+0.33 s", 9), ("+0.67 s", 19), ("+1 s", 29)]
    size, half = 1.7, 0.12
    figure = blank(1.1 + size * len(moments), 1.0 + size * len(clips))
    for row, (name, clip) in enumerate(clips.items()):
        bottom = 0.45 + size * (len(clips) - 1 - row)
        figure.text(
            0.1 / figure.get_figwidth(), (bottom + size / 2) / figure.get_figheight(), name, fontsize=8, color=INK
        )
        for column, (caption, step) in enumerate(moments):
            axes = panel(figure, (1.1 + size * column, bottom, size, size), (-half, -half), (half, half))
            if row == 0:
                axes.set_title(caption, fontsize=8, color=INK, pad=2)
            pose = clip[0, -1] if step is None else futures[name][0, 0, step]
            for a, b in ASSEMBLY101.bones:
                axes.plot(*pose[[a, b], :2].T, color=GREY if step is None else BLUE, linewidth=1.4)
    legend(figure, {"last seen pose": (GREY, "-"), "forecast": (BLUE, "-")})
    headline(
        figure, 0.1, f"turned back, the second row differs from the first by {1e6 * error:.2g} micrometres at most"
    )
    save(figure, path)


def levels(bundle: Bundle, path: Path) -> None:
    """Draw the points of the network's three levels, the heatmap of the tip of the nose, and the landmarks."""
    inputs, _ = bundle.example()
    outputs = run(bundle, inputs)
    points, heat = 1000 * inputs["points"][0], outputs["heatmaps"][0, NOSE]
    centre = points.mean(axis=0)

    marks = 1000 * outputs["landmarks"][0] - centre
    up = marks[27] - marks[8]  # from the chin to between the eyes
    right = marks[45] - marks[36]  # between the outer corners of the eyes
    up -= (up @ right) / (right @ right) * right
    view = np.stack([right / np.linalg.norm(right), up / np.linalg.norm(up)])
    cloud, flat = (points - centre) @ view.T, marks @ view.T
    size, half = 1.9, float(np.abs(cloud).max()) + 5
    titles = [*(f"level {i}: {n} points" for i, n in enumerate(LEVELS)), "heatmap, tip of the nose", "68 landmarks"]
    figure = blank(0.2 + size * len(titles), size + 0.35)
    for column, title in enumerate(titles):
        axes = panel(figure, (0.1 + size * column, 0.05, size, size), (-half, -half), (half, half))
        axes.set_title(title, fontsize=8, color=INK, pad=2)
        if column < len(LEVELS):
            axes.scatter(*cloud[: LEVELS[column]].T, s=3 * (column + 1), color=BLUE, linewidths=0)
        elif column == len(LEVELS):
            axes.scatter(*cloud.T, s=4, c=heat, cmap="Reds", vmin=-0.25, linewidths=0)
        else:
            axes.scatter(*cloud.T, s=2, color=GREY, alpha=0.35, linewidths=0)
            for a, b in FACE68.bones:
                axes.plot(*flat[[a, b]].T, color=PINK, linewidth=0.8)
            axes.scatter(*flat.T, s=6, color=PINK, linewidths=0)
    save(figure, path)


def mirror(bundle: Bundle, path: Path) -> None:
    """Draw a lifted pose beside the pose of the mirrored keypoints."""
    body = BODIES[bundle.meta.task.order]
    keypoints = bundle.example()[0]["keypoints"]
    images = {"as seen": keypoints, "mirrored": mirrored(keypoints, body)}
    poses = {name: run(bundle, {"keypoints": x})["poses"][0, 30] for name, x in images.items()}
    error = np.abs(mirrored(poses["as seen"], body) - poses["mirrored"]).max()
    frame = 30 + keypoints.shape[1] - bundle.example()[1]["poses"].shape[1] - 13
    visible = np.stack([np.where(x[0, frame, :, 2:] > 0, x[0, frame, :, :2], np.nan) for x in images.values()])
    views = [View("keypoints", {"keypoints": (body, visible)})]
    for name, axes in (("front", FRONT), ("side", SIDE)):
        views.append(View(name, {"network": (body, np.stack([pose[:, axes] for pose in poses.values()]))}))
    draw_bodies(views, list(images), path, f"mirrored back, it differs by {1e6 * error:.2g} micrometres")


def lift(folder: Path, data: Path, path: Path) -> None:
    """Draw the first test clip of a source, lifted by a bundle, beside the truth."""
    batches: LiftBatches = get_run("poses-lift").data.load(data)
    clip = batches.clips("test", LIFTED)[0]
    draw_lifted(clip, bundled(folder)(clip), path)


def main() -> None:
    """Draw every picture into the folder given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description="Draw the documentation's pictures."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    arguments = parser.parse_args()
    face, hand, lifter = (
        read_bundle(arguments.bundles / name) for name in ("face-se3unet", "hands-eqmotion", "poses-lift")
    )
    folder = arguments.folder
    landmarks(arguments.data, folder / "landmarks.png")
    hands(hand, arguments.data, folder / "forecast.png")
    equivariance(hand, folder / "equivariance.png")
    levels(face, folder / "levels.png")
    mirror(lifter, folder / "mirror.png")
    lift(lifter.folder, arguments.data, folder / "lift.png")


if __name__ == "__main__":
    main()
