"""Point clouds rendered with hidden surfaces removed: each point is a small disc in the plane of the surface, and discs blend.

This is surface splatting after Zwicker et al. 2001 (10.1145/383259.383300): points behind the front of a pixel are left out, and the rest
is averaged with Gaussian weights. Views look along -z with y up; lengths have one unit throughout.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

AROUND = 12  # neighbours that determine the plane of the surface at a point
COVER = 4  # a disc reaches this many neighbours nearly everywhere, so that a surface has no holes
SHARP = 2.0  # a disc's weight falls to exp(-SHARP) at its rim
EDGE_ON = 0.15  # a disc is drawn with at least this cosine of its tilt
LIGHT = np.array([-0.40, 0.45, 0.80])  # from the upper left
DARK, MIDDLE, BRIGHT = (np.array(c) / 255 for c in ((88, 92, 106), (203, 199, 195), (252, 250, 247)))
HOLLOW = 0.055  # by how much a hollow of depth `depth` is darkened


@dataclass(frozen=True)
class Surfels:
    """Points, the surface normal at each (of either sign), and the radius of the discs."""

    points: Float[np.ndarray, "points 3"]
    normals: Float[np.ndarray, "points 3"]
    radius: float

    def turned(self, axes: Float[np.ndarray, "3 3"]) -> "Surfels":
        """Return the surfels in the coordinate system whose axes are the rows of `axes`."""
        return Surfels(self.points @ axes.T, self.normals @ axes.T, self.radius)


@dataclass(frozen=True)
class Frame:
    """A rectangle of the xy plane, and the size of its pixels; row 0 is at the top."""

    low: tuple[float, float]
    high: tuple[float, float]
    pixel: float

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of rows and columns."""
        width, height = (max(round((b - a) / self.pixel), 1) for a, b in zip(self.low, self.high, strict=True))
        return height, width

    def place(
        self, xy: Float[np.ndarray, "points 2"]
    ) -> tuple[Int[np.ndarray, " points"], Int[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
        """Return the row and column of each point, and whether it is inside."""
        columns = np.floor((xy[:, 0] - self.low[0]) / self.pixel).astype(np.int64)
        rows = np.floor((self.high[1] - xy[:, 1]) / self.pixel).astype(np.int64)
        height, width = self.shape
        return rows, columns, (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)


@dataclass(frozen=True)
class View:
    """A rendered view: for each pixel the depth of the front (z, or -inf if it is empty) and the mean normal and values there."""

    frame: Frame
    depth: Float[np.ndarray, "rows columns"]
    normals: Float[np.ndarray, "rows columns 3"]
    values: Float[np.ndarray, "rows columns channels"]

    def hidden(self, points: Float[np.ndarray, "points 3"], slack: float) -> Bool[np.ndarray, " points"]:
        """Return which points lie more than `slack` behind the front of their pixel."""
        rows, columns, inside = self.frame.place(points[:, :2])
        front = np.full(len(points), -np.inf)
        front[inside] = self.depth[rows[inside], columns[inside]]
        return front > points[:, 2] + slack


def surfels(points: Float[np.ndarray, "points 3"]) -> Surfels:
    """Build surfels whose normals are those of the planes through each point's neighbours; 60,000 points take about a second."""
    distances, neighbours = KDTree(points).query(points, min(AROUND, len(points)))
    patches = points[neighbours] - points[neighbours].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.swapaxes(patches, 1, 2) @ patches)[1][:, :, 0]
    near = distances[:, min(COVER, distances.shape[1] - 1)]
    return Surfels(points, normals, float(min(np.quantile(near, 0.98), 2.2 * np.median(near))))


def view(cloud: Surfels, frame: Frame, values: Float[np.ndarray, "points channels"]) -> View:
    """Render the cloud along -z in the frame, with the mean of `values` in each pixel."""
    facing = cloud.normals * np.where(cloud.normals[:, 2:] < 0, -1, 1)
    steep = np.maximum(facing[:, 2], EDGE_ON)
    rows, columns, _ = frame.place(cloud.points[:, :2])
    height, width = frame.shape
    radius = max(cloud.radius, 0.8 * frame.pixel)
    reach = int(np.ceil(radius / frame.pixel)) + 1
    steps = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1) if i * i + j * j <= reach**2]

    def fragments(step: tuple[int, int]):
        """Return, for each disc that covers the pixel at this offset from its centre: its index, the pixel, the depth and the weight."""
        row, column = rows + step[0], columns + step[1]
        x = frame.low[0] + (column + 0.5) * frame.pixel - cloud.points[:, 0]
        y = frame.high[1] - (row + 0.5) * frame.pixel - cloud.points[:, 1]
        z = -(x * facing[:, 0] + y * facing[:, 1]) / steep
        squared = (x * x + y * y + z * z) / radius**2
        kept = np.flatnonzero(
            (squared <= 1 + (step == (0, 0))) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        )
        at = row[kept] * width + column[kept]
        return kept, at, cloud.points[kept, 2] + z[kept], np.exp(-SHARP * squared[kept])

    depth = np.full(height * width, -np.inf)
    for step in steps:
        _, at, z, _ = fragments(step)
        np.maximum.at(depth, at, z)
    sums = np.zeros((height * width, 4 + values.shape[1]))
    channels = np.concatenate([facing, values, np.ones((len(values), 1))], axis=1)
    for step in steps:
        kept, at, z, weight = fragments(step)
        front = z > depth[at] - radius
        for channel in range(channels.shape[1]):
            np.add.at(sums[:, channel], at[front], weight[front] * channels[kept[front], channel])
    mean = (sums / np.maximum(sums[:, -1:], 1e-12)).reshape(height, width, -1)
    return View(frame, depth.reshape(height, width), mean[..., :3], mean[..., 3:-1])


def shaded(seen: View, depth: float) -> Float[np.ndarray, "rows columns 3"]:
    """Shade the view as clay under one light on white, with darker hollows; `depth` is the depth of the hollows of interest."""
    visible = np.isfinite(seen.depth)
    length = np.linalg.norm(seen.normals, axis=2)
    towards = (seen.normals @ (LIGHT / np.linalg.norm(LIGHT))) / np.maximum(length, 1e-9)
    brightness = 0.12 + 0.88 * np.clip(towards, 0, 1) + HOLLOW * np.clip(_relief(seen, 3 * depth) / depth, -4, 2)
    return np.where(visible[..., None], _clay(np.clip(brightness, 0, 1)), 1.0)


def _relief(seen: View, width: float) -> Float[np.ndarray, "rows columns"]:
    """Return the depth of each pixel relative to its surroundings of size `width`, as in depth darkening (Luft et al. 2006)."""
    visible = np.isfinite(seen.depth)
    filled = np.where(visible, seen.depth, 0)
    size = 2 * max(round(width / seen.frame.pixel), 1) + 1

    def smooth(image: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
        return uniform_filter(uniform_filter(image, size), size)

    around = smooth(filled) / np.maximum(smooth(visible.astype(float)), 1e-6)
    return np.where(visible, filled - around, 0)


def _clay(brightness: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns 3"]:
    """Map brightness from 0 to 1 to the colours of clay."""
    ramp = np.stack([DARK, MIDDLE, BRIGHT])
    return np.stack([np.interp(brightness, (0.0, 0.62, 1.0), ramp[:, i]) for i in range(3)], axis=-1)
