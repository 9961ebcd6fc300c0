"""Pictures of heatmaps: painted on the surface of a scan in the colours of the face's regions, predicted ones above true ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.pictures.page import (
    BLUE,
    DPI,
    INK,
    ORANGE,
    PINK,
    PURPLE,
    TEAL,
    blank,
    check_drawable,
    headline,
    panel,
    save,
    scale_bar,
)
from models.pictures.surfels import View, shaded
from models.pictures.upright import Upright
from models.skeletons.face import FACE68, FACE_REGIONS

PARTS = {"jaw": BLUE, "brow": PURPLE, "nose": ORANGE, "eye": TEAL, "lip": PINK}  # by a part of the region's name
PIXELS = 1.25  # rendered pixels of the surface for each pixel of the picture
RELIEF_MM = 6.0  # depth of the hollows that make a face recognisable: eyes, nostrils, lips
HEATED = ("chin", "right_eye_outer", "left_eye_outer", "nose_tip", "right_mouth_corner", "left_mouth_corner")
INCHES = 2.2  # the height of a face in `draw_heatmaps`


@dataclass(frozen=True)
class HeatedFace:
    """A scan in metres with its true landmarks, and predicted and true heatmaps over the points `samples`."""

    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]
    samples: Float[np.ndarray, "samples 3"]
    predicted: Float[np.ndarray, "68 samples"]
    true: Float[np.ndarray, "68 samples"]


def draw_heatmaps(faces: Mapping[str, HeatedFace], path: Path, title: str = "") -> None:
    """Draw a column for each face, upright by its true landmarks: predicted heatmaps of HEATED above, true ones below.

    Raises NoMatplotlib, UnknownFormat.
    """
    check_drawable(path)
    rows = round(INCHES * DPI * PIXELS)
    views = {}
    for name, face in faces.items():
        upright = Upright.of(face.points, None, face.landmarks, None)
        which = [FACE68.joints.index(landmark) for landmark in HEATED]
        views[name] = [
            upright.seen(0.0, rows, heat(upright.spread(np.clip(heatmaps[which].T, 0, 1), face.samples), which))
            for heatmaps in (face.predicted, face.true)
        ]
    left, gap, below, above = 0.75, 0.15, 0.45, 0.65
    scales = [INCHES / (pair[0].frame.high[1] - pair[0].frame.low[1]) for pair in views.values()]
    widths = [
        scale * (pair[0].frame.high[0] - pair[0].frame.low[0])
        for scale, pair in zip(scales, views.values(), strict=True)
    ]
    figure = blank(left + sum(widths) + gap * len(widths), below + 2 * INCHES + gap + above)
    at = left
    for (name, pair), width in zip(views.items(), widths, strict=True):
        for row, seen in enumerate(pair):
            (x0, y0), (x1, y1) = seen.frame.low, seen.frame.high
            axes = panel(figure, (at, below + (1 - row) * (INCHES + gap), width, INCHES), (x0, y0), (x1, y1))
            axes.imshow(painted(seen), extent=(x0, x1, y0, y1), interpolation="hanning", aspect="auto")
            if not row:
                axes.set_title(name, fontsize=8, color=INK, pad=3)
        at += width + gap
    for row, name in enumerate(("predicted", "true")):
        height = below + (1.5 - row) * (INCHES + gap) - gap / 2
        figure.text(
            0.2 / figure.get_size_inches()[0], height / figure.get_size_inches()[1], name, fontsize=8, color=INK
        )
    scale_bar(figure, left, scales[0])
    headline(figure, 0.2, title)
    save(figure, path)


def colour_of(region: str) -> str:
    """Return the colour of a region of the face."""
    return next(colour for part, colour in PARTS.items() if part in region)


def rgb(colour: str) -> tuple[float, ...]:
    """Convert "#rrggbb" to red, green and blue from 0 to 1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def heat(heights: Float[np.ndarray, "points heated"], which: Sequence[int]) -> Float[np.ndarray, "points 4"]:
    """Return the strongest heatmap at each point as its region's colour times its strength, then the strength."""
    colours = np.array([rgb(colour_of(region)) for i in which for region, of in FACE_REGIONS.items() if i in of])
    strength = heights.max(axis=1, keepdims=True)
    return np.concatenate([strength * colours[heights.argmax(axis=1)], strength], axis=1)


def painted(seen: View) -> Float[np.ndarray, "rows columns 3"]:
    """Render the surface as clay, with its values, if it has any, painted on it."""
    clay = shaded(seen, RELIEF_MM)
    if not seen.values.shape[2]:
        return clay
    paint, strength = seen.values[..., :3], seen.values[..., 3:]
    return clay * (1 - strength) + paint * (0.35 + 0.65 * clay)
