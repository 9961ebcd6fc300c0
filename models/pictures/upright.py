"""A face upright, in any pose that it was scanned in: its own axes, from its landmarks, and views of it with hidden surfaces.

Lengths come in metres; upright they are millimetres about the middle of the landmarks.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.pictures.surfels import (
    Frame,
    Surfels,
    View,
    surfels,
    view,
)
from models.scans.cloud import interpolate, interpolation
from models.scans.sampling import sample_surface, thinned
from models.skeletons.face import FACE68, FACE_REGIONS

SPLATS = 40_000  # points that a face is drawn with: 1.5 mm apart
MARGIN_MM = np.array([[-30.0, -30.0, -70.0], [30.0, 70.0, 20.0]])  # of scan around the landmarks, in the face's axes
LEAST_MM = np.array([80.0, 95.0, 60.0])  # half of what is shown at least, however close together landmarks are
LEAST_POINTS = 100  # in that box; with fewer the landmarks are nowhere near the scan, and all of it is drawn
WIDEST = 1.6  # how many times as wide as high a view is at most, whatever there is to see
FINE = 10  # pixels of a point's radius at most: more only take time

Landmarks = Float[np.ndarray, "landmarks 3"]


def frontal(landmarks: Landmarks) -> Float[np.ndarray, "3 3"]:
    """The face's own axes, as rows: to the subject's left, up, and out of the face. As the scan's for landmarks that span no face.

    Should left and right be swapped, the face is still seen from its front: the nose decides.
    """
    pairs = [(i, j) for i, j in enumerate(FACE68.mirror) if FACE68.joints[i].startswith("left_")]
    left, right = (landmarks[list(side)] for side in zip(*pairs, strict=True))
    nasion, chin, nose = (landmarks[FACE68.joints.index(name)] for name in ("nasion", "chin", "nose_tip"))
    across, up = (left - right).mean(axis=0), nasion - chin
    out = np.cross(across, up)
    if np.linalg.norm(out) < 1e-3 * max(np.linalg.norm(across), np.linalg.norm(up), 1e-9) ** 2:
        return np.eye(3)
    if out @ (nose - landmarks[list(FACE_REGIONS["jaw"])].mean(axis=0)) < 0:
        across, out = -across, -out
    axes = np.stack([across, np.cross(out, across), out])
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


@dataclass(frozen=True)
class Upright:
    """A face upright and in millimetres about its landmarks, cut out of the rest of the scan, ready to be seen."""

    cloud: Surfels
    landmarks: Landmarks
    true: Landmarks | None
    axes: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, "3"]
    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]
    side: int  # 1 if the head is turned so that its left is seen, -1 for its right

    @classmethod
    def of(
        cls,
        points: Float[np.ndarray, "points 3"],
        triangles: Int[np.ndarray, "triangles 3"] | None,
        landmarks: Landmarks,
        true: Landmarks | None,
    ) -> "Upright":
        axes, origin = frontal(landmarks), landmarks.mean(axis=0)

        def upright(metres: Float[np.ndarray, "some 3"]) -> Float[np.ndarray, "some 3"]:
            return 1000 * ((metres - origin) @ axes.T)

        found, scan = upright(landmarks), upright(points)
        box = np.stack([found.min(axis=0), found.max(axis=0)]) + MARGIN_MM
        low, high = np.minimum(box[0], -LEAST_MM), np.maximum(box[1], LEAST_MM)
        inside = np.all((scan >= low) & (scan <= high), axis=1)
        if np.count_nonzero(inside) < LEAST_POINTS:
            inside = np.ones(len(scan), bool)
        if triangles is not None and (kept := triangles[inside[triangles].any(axis=1)]).size:
            drawn = sample_surface(scan, kept, SPLATS)
            within = np.all((drawn >= low) & (drawn <= high), axis=1)
            drawn = drawn[within] if np.count_nonzero(within) >= LEAST_POINTS else drawn
        else:
            drawn = scan[inside]
            drawn = drawn[thinned(len(drawn), SPLATS)]
        cloud, everything = surfels(drawn), np.concatenate([drawn, found])
        right = np.count_nonzero(drawn[:, 0] < 0) > 0.6 * len(drawn)
        low, high = everything.min(axis=0) - cloud.radius - 1, everything.max(axis=0) + cloud.radius + 1
        short = np.hypot(*(high - low)[[0, 2]]) / WIDEST - (high - low)[1]
        if short > 0:
            low[1], high[1] = low[1] - short / 2, high[1] + short / 2
        return cls(cloud, found, None if true is None else upright(true), axes, origin, low, high, -1 if right else 1)

    def turn(self, degrees: float) -> Float[np.ndarray, "3 3"]:
        """The axes of someone before whom the head is turned by so much about its own vertical."""
        angle = np.radians(self.side * degrees)
        return np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])

    def seen(self, degrees: float, rows: int, values: Float[np.ndarray, "points channels"] | None = None) -> View:
        """The face turned, as wide as it then is, in at most so many rows of pixels: fewer where points are far apart."""
        turned = self.cloud.turned(self.turn(degrees))
        across = np.concatenate([turned.points[:, 0], (self.landmarks @ self.turn(degrees).T)[:, 0]])
        frame = Frame(
            (float(across.min()) - self.cloud.radius - 1, float(self.low[1])),
            (float(across.max()) + self.cloud.radius + 1, float(self.high[1])),
            max(float(self.high[1] - self.low[1]) / rows, self.cloud.radius / FINE),
        )
        return view(turned, frame, np.zeros((len(turned.points), 0)) if values is None else values)

    def spread(
        self, values: Float[np.ndarray, "samples channels"], samples: Float[np.ndarray, "samples 3"]
    ) -> Float[np.ndarray, "points channels"]:
        """Values at points of the scan, interpolated at every point that is drawn."""
        index, weights = interpolation(1000 * ((samples - self.origin) @ self.axes.T), self.cloud.points)
        return interpolate(values, index, weights)
