"""A synthetic face for tests: a cloud and its 68 landmarks."""

import numpy as np

from models.skeletons.face import FACE_REGIONS


def synthetic_face(points: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, 3) on half an ellipsoid with a nose, and its 68 landmarks; metres, +x to its left, +y up, +z out."""

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        dome = 90 * np.sqrt(np.maximum(1 - (x / 85) ** 2 - (y / 125) ** 2, 0))
        return np.stack([x, y, dome + 20 * np.exp(-((x / 12) ** 2) - ((y - 5) / 18) ** 2)], axis=1) / 1000

    def ring(count: int, x: float, y: float, width: float, height: float) -> np.ndarray:
        turn = 2 * np.pi * np.arange(count) / count
        return np.stack([x - width * np.cos(turn), y + height * np.sin(turn)], axis=1)

    half = np.pi * np.arange(17) / 16
    flat = {
        "jaw": np.stack([-70 * np.cos(half), 30 - 100 * np.sin(half)], axis=1),
        "right_brow": np.stack([np.linspace(-60, -15, 5), np.full(5, 50)], axis=1),
        "left_brow": np.stack([np.linspace(15, 60, 5), np.full(5, 50)], axis=1),
        "nose_bridge": np.stack([np.zeros(4), np.linspace(35, 5, 4)], axis=1),
        "nose_base": np.stack([np.linspace(-14, 14, 5), np.full(5, -10)], axis=1),
        "right_eye": ring(6, -32, 35, 13, 5),
        "left_eye": ring(6, 32, 35, 13, 5),
        "outer_lip": ring(12, 0, -40, 25, 9),
        "inner_lip": ring(8, 0, -40, 20, 4),
    }
    rng = np.random.default_rng(0)
    radius, turn = np.sqrt(rng.random(points)), 2 * np.pi * rng.random(points)
    cloud = surface(85 * radius * np.cos(turn), 125 * radius * np.sin(turn))
    return cloud, np.concatenate([surface(*flat[region].T) for region in FACE_REGIONS])
