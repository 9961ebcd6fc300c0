"""A face turned upright from any pose: its own axes, computed from its landmarks, and rendered views of it.

Scans are in metres; an upright face is in millimetres from the mean of its landmarks.
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
from models.scans.head import face_axes
from models.scans.sampling import sample_surface, thinned

SPLATS = 40_000  # points of a drawn face: 1.5 mm apart
MARGIN_MM = np.array(
    [[-30.0, -30.0, -70.0], [30.0, 70.0, 20.0]]
)  # of the scan to show around the landmarks, in the face's axes
LEAST_MM = np.array([80.0, 95.0, 60.0])  # half the smallest size to show, however close together the landmarks are
LEAST_POINTS = 100  # in that box; with fewer, the landmarks are far from the scan, and all of it is drawn
WIDEST = 1.6  # the largest ratio of width to height of a view
FINE = 10  # the largest radius of a point in pixels: more would only take longer

Landmarks = Float[np.ndarray, "landmarks 3"]


@dataclass(frozen=True)
class Upright:
    """An upright face in millimetres from the mean of its landmarks, cut out of the rest of the scan, ready to render."""

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
        """Turn a scan in metres upright, with its landmarks and, if they are known, the true ones."""
        axes, origin = face_axes(landmarks), landmarks.mean(axis=0)

        def upright(metres: Float[np.ndarray, "some 3"]) -> Float[np.ndarray, "some 3"]:
            return 1000 * ((metres - origin) @ axes.T)

        turned, scan = upright(landmarks), upright(points)
        box = np.stack([turned.min(axis=0), turned.max(axis=0)]) + MARGIN_MM
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
        cloud, everything = surfels(drawn), np.concatenate([drawn, turned])
        right = np.count_nonzero(drawn[:, 0] < 0) > 0.6 * len(drawn)
        low, high = everything.min(axis=0) - cloud.radius - 1, everything.max(axis=0) + cloud.radius + 1
        short = np.hypot(*(high - low)[[0, 2]]) / WIDEST - (high - low)[1]
        if short > 0:
            low[1], high[1] = low[1] - short / 2, high[1] + short / 2
        return cls(cloud, turned, None if true is None else upright(true), axes, origin, low, high, -1 if right else 1)

    def turn(self, degrees: float) -> Float[np.ndarray, "3 3"]:
        """Return the axes of a view in which the head is turned by `degrees` about its own vertical."""
        angle = np.radians(self.side * degrees)
        return np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])

    def seen(self, degrees: float, rows: int, values: Float[np.ndarray, "points channels"] | None = None) -> View:
        """Render the face turned by `degrees`, in at most `rows` rows of pixels, and fewer if points are far apart."""
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
        """Interpolate values at points of the scan to every point that is drawn."""
        index, weights = interpolation(1000 * ((samples - self.origin) @ self.axes.T), self.cloud.points)
        return interpolate(values, index, weights)
