"""Checks of pictures that tests draw."""

from pathlib import Path

import matplotlib.image
import numpy as np


def picture_at(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def must_show_something(path: Path, colours: int = 100) -> None:
    picture = (255 * picture_at(path)).astype(int)
    assert picture.shape[0] > 200
    assert picture.shape[1] > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > colours


def must_fit(picture: np.ndarray) -> None:
    """Nothing but white along the edge: what is drawn is on the page."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge > 0.99).all()
