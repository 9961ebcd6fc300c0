"""The pictures and tables of docs/symmetry.md: networks of one family, from a plain one to turns, mirrors and scales.

    python -m benchmarks.symmetry docs        a minute and a half of one CPU core

The networks have random weights, because symmetry is a property of the layers and not of training. The face is the mean face of
ICT-FaceKit, seen from the front as depth. CHIRON_DATA (or ../shared/data) must have faces/ict_facekit and faces/facefuns_composites. The
tables are printed, and written to benchmarks/results/symmetry.md.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.pictures import rotation, run
from benchmarks.symmetry_errors import (
    MIRROR,
    SIZE,
    Images,
    disk,
    face,
    network,
    percent,
    table_of_scales,
    table_of_turns,
    turned,
)
from models.contract.bundle import Bundle, read_bundle
from models.contract.task import FaceLandmarks
from models.layers.group import C, D, Group, Scale, moved
from models.layers.group_conv import Lifting, centres
from models.pictures.page import BLUE, GREEN, GREY, INK, ORANGE, PINK, PURPLE, TEAL, blank, headline, panel, save
from models.pictures.surfels import Frame, shaded, surfels, view
from models.scans.levels import levels
from models.scans.sampling import sample_surface
from models.skeletons.face import FACE68
from training.tasks.faces.real_faces import real_faces

HIDDEN_MM = 12.0  # behind the surface: a landmark is not seen
RELIEF_MM = 6.0  # depth of the hollows that shading shows
RESULTS = Path("benchmarks/results/symmetry.md")
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, TEAL, PINK, GREY, INK)


def oriented(group: Group, size: int) -> Lifting:
    """Return a lifting whose kernel answers to a step along x: an edge in one direction."""
    lift = Lifting(group, 1, 1, size)
    at = centres(group, size, 3)
    x, y = at[:, 0] / (size / 2), at[:, 1] / (size / 2)
    with torch.no_grad():
        lift.coefficients.copy_(torch.from_numpy(-x * np.exp(-((x / 0.35) ** 2) - (y / 0.6) ** 2)))
    return lift


def round_spot(group: Group, size: int) -> Lifting:
    """Return a lifting whose kernel answers to a spot of its own size: a negative Laplacian of a Gaussian."""
    lift = Lifting(group, 1, 1, size)
    r2 = (centres(group, size, 3) ** 2).sum(-1) / (size / 5) ** 2
    spot = (1 - r2) * np.exp(-r2)
    with torch.no_grad():
        lift.coefficients.copy_(torch.from_numpy(spot - spot.mean()))
    return lift


@dataclass
class Sheet:
    """A grid of small images on one page."""

    rows: int
    columns: int
    size: float = 1.15
    left: float = 1.0
    top: float = 0.62
    gap: float = 0.22

    def __post_init__(self) -> None:
        self.figure = blank(
            self.left + self.columns * (self.size + 0.06) + 0.06, self.top + self.rows * (self.size + self.gap)
        )

    def show(
        self,
        row: int,
        column: int,
        image: np.ndarray,
        title: str = "",
        *,
        colour: str = "",
        limit: float = 0.0,
        below: str = "",
    ) -> None:
        """Draw an image, positive numbers dark and negative ones light, with a frame of a colour, under a title."""
        bottom = (self.rows - 1 - row) * (self.size + self.gap) + self.gap - 0.04
        place = (self.left + column * (self.size + 0.06), bottom, self.size, self.size)
        axes = panel(self.figure, place, (0, 0), (1, 1))
        limit = limit or float(np.abs(image).max())
        low = -limit if image.min() < 0 else 0.0
        axes.imshow(
            image, cmap="Greys", vmin=low, vmax=limit, extent=(0, 1, 0, 1), aspect="auto", interpolation="lanczos"
        )
        axes.plot(
            [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=colour or "#dcdfe4", linewidth=2.4 if colour else 0.8, clip_on=False
        )
        if title:
            axes.set_title(title, fontsize=8, color=INK, pad=3)
        if below:
            axes.text(0.5, -0.03, below, fontsize=7, color=INK, ha="center", va="top", transform=axes.transAxes)

    def name(self, row: int, text: str) -> None:
        """Write the name of a row at its left."""
        bottom = (self.rows - 1 - row) * (self.size + self.gap) + self.gap - 0.04 + self.size / 2
        width, height = self.figure.get_size_inches()
        self.figure.text(0.08 / width, bottom / height, text, fontsize=8, color=INK, va="center")

    def save(self, path: Path, title: str) -> None:
        """Write the page with its headline."""
        headline(self.figure, 0.08, title)
        save(self.figure, path)


def draw_scores(image: Images, path: Path) -> None:
    """Draw the orientation score of the face and of the face turned by 45 degrees."""
    group = C(8)
    lift = oriented(group, 13)
    sheet = Sheet(3, 9, size=0.98)
    kernels = lift.kernel()[:, 0].detach().numpy()
    for h in group.elements:
        sheet.show(0, h + 1, kernels[h], f"{45 * h}°", colour=COLOURS[h])
    sheet.name(0, "kernel, turned")
    images = {"face": image, "face, turned\nby 45°": moved(image, group.matrix(1))}
    scores = {name: lift(x).relu().detach()[0] for name, x in images.items()}
    limit = max(float(s.max()) for s in scores.values())
    for row, (name, score) in enumerate(scores.items(), start=1):
        sheet.name(row, name)
        sheet.show(row, 0, images[name][0, 0].numpy())
        for h in group.elements:
            sheet.show(row, h + 1, score[h].numpy(), colour=COLOURS[(h - row + 1) % 8], limit=0.8 * limit)
    sheet.save(
        path, "an orientation score: turn the face, and each slice turns and moves on to the next angle (same colour)"
    )


def draw_turns(image: Images, path: Path) -> None:
    """Draw the answers of a plain network and of a network of turns and mirrors to moved faces, each moved back."""
    image = moved(image, 0.75 * np.eye(2))
    moves: dict[str, tuple[Callable[[Images], Images], Callable[[Images], Images]]] = {
        "shifted": (lambda x: torch.roll(x, (6, -6), (-2, -1)), lambda y: torch.roll(y, (-6, 6), (-2, -1))),
    }
    for name, matrix in {"mirrored": MIRROR, "turned by 90°": turned(90), "turned by 45°": turned(45)}.items():
        moves[name] = (lambda x, m=matrix: moved(x, m), lambda y, m=matrix: moved(y, np.linalg.inv(m)))
    networks = {"plain network\n(C1)": network(C(1), 1), "turns and mirrors\n(D8)": network(D(8), 3, channels=48)}
    sheet = Sheet(3, 5, size=1.2, left=1.2)
    sheet.name(0, "input")
    sheet.show(0, 0, image[0, 0].numpy(), "a face")
    inside = disk(SIZE, 0.65, 0.75)
    for column, (name, (there, _)) in enumerate(moves.items(), start=1):
        sheet.show(0, column, there(image)[0, 0].numpy(), name)
    for row, (name, net) in enumerate(networks.items(), start=1):
        sheet.name(row, name)
        with torch.no_grad():
            answer = net(image)[:, 1:2] * inside
            sheet.show(row, 0, answer[0, 0].numpy(), below="answer")
            for column, (there, back) in enumerate(moves.values(), start=1):
                returned = back(net(there(image))[:, 1:2]) * inside
                error = float((returned - answer).norm() / answer.norm())
                sheet.show(row, column, returned[0, 0].numpy(), below=f"differs by {percent(error)}")
    sheet.save(path, "the face is moved, and the answer is moved back: it should be the answer to the face")


def draw_scales(image: Images, path: Path) -> None:
    """Draw the responses to spots of four sizes in a face and in the face of twice the size."""
    group = Scale(5, 2**0.5)
    lift = round_spot(group, 9)
    image = moved(image, 0.5 * np.eye(2))
    images = {"face": image, "face, twice\nas large": moved(image, group.matrix(2))}
    sheet = Sheet(3, 6)
    kernels = lift.kernel()[:, 0].detach().numpy()
    for h in group.elements:
        sheet.show(0, h + 1, kernels[h], f"{group.ratio**h:.2f}".rstrip("0").rstrip("."), colour=COLOURS[h])
    sheet.name(0, "kernel, scaled")
    scores = {name: lift(x).detach()[0] for name, x in images.items()}
    for row, (name, score) in enumerate(scores.items(), start=1):
        sheet.name(row, name)
        sheet.show(row, 0, images[name][0, 0].numpy())
        for h in group.elements:
            first = h - 2 * (row - 1)
            limit = float(score[h].abs().max())
            sheet.show(row, h + 1, score[h].numpy(), colour=COLOURS[first] if first >= 0 else "", limit=limit)
    sheet.save(path, "scales: a face of twice the size has the same answers, two steps on; the axis has ends")


def draw_scan(bundle: Bundle, data: Path, path: Path) -> None:
    """Draw the landmarks that the SE(3) network finds on a real scan in three poses, without alignment."""
    scan = next(f for f in real_faces(data / "faces") if f.name == "f18")
    points = sample_surface(scan.points, scan.triangles, 30_000)
    points -= points.mean(axis=0)
    poses = {
        "a scan": np.eye(3),
        "turned in the picture": rotation((0, 0, 1), 70),
        "turned away and tilted": rotation((1, 2, -0.5), 50),
    }
    task, found = bundle.meta.task, {}
    assert isinstance(task, FaceLandmarks)
    for name, turn in poses.items():
        level = levels(points[:8192] @ turn.T, task)
        found[name] = run(bundle, level.tensors)["landmarks"][0].astype(float) + level.centroid
    error = max(np.abs(found[name] @ turn - found["a scan"]).max() for name, turn in poses.items())
    half, size = 1000 * float(np.linalg.norm(points, axis=1).max()), 2.1
    figure = blank(0.1 + size * len(poses), size + 0.55)
    for column, (name, turn) in enumerate(poses.items()):
        axes = panel(figure, (0.05 + size * column, 0.05, size, size), (-half, -half), (half, half))
        axes.set_title(name, fontsize=8, color=INK, pad=2)
        cloud, marks = surfels(1000 * points @ turn.T), 1000 * found[name]
        seen = view(cloud, Frame((-half, -half), (half, half), 0.8), np.zeros((len(points), 0)))
        axes.imshow(shaded(seen, RELIEF_MM), extent=(-half, half, -half, half), interpolation="hanning")
        hidden = seen.hidden(marks, HIDDEN_MM)
        for a, b in FACE68.bones:
            if not (hidden[a] or hidden[b]):
                axes.plot(*marks[[a, b], :2].T, color=PINK, linewidth=1.1)
    headline(figure, 0.1, f"no alignment: turned back, the landmarks differ by {1e9 * error:.0f} nanometres at most")
    save(figure, path)


def shrink(path: Path, width: int) -> None:
    """Rewrite a picture `width` pixels wide, without transparency: a page should not wait for it."""
    with Image.open(path) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(path, optimize=True)


def main() -> None:
    """Print the tables, and draw every picture into the folder given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.symmetry", description="Measure and draw symmetry.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument("--pictures-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    image = face(arguments.data)
    folder = arguments.folder
    draw_turns(image, folder / "symmetry.png")
    draw_scores(image, folder / "symmetry-turns.png")
    draw_scales(image, folder / "symmetry-scales.png")
    draw_scan(read_bundle(arguments.bundles / "face-se3unet"), arguments.data, folder / "symmetry-scan.png")
    for name, width in {"symmetry": 900, "symmetry-turns": 1000, "symmetry-scales": 1000, "symmetry-scan": 720}.items():
        shrink(folder / f"{name}.png", width)
    if not arguments.pictures_only:
        tables = f"{table_of_turns(image)}\n\n{table_of_scales(image)}\n"
        RESULTS.write_text(tables)
        print(tables)


if __name__ == "__main__":
    main()
