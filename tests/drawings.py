"""Checks of pictures that tests draw."""

from pathlib import Path

import matplotlib.image
import numpy as np


def picture_at(path: Path) -> np.ndarray:
    """Read a picture: (rows, columns, 3) of red, green and blue from 0 to 1."""
    return matplotlib.image.imread(path)[..., :3]


def colours_of(picture: np.ndarray) -> int:
    """Return the number of colours; each is packed into one integer, since sorting rows of three takes seconds."""
    return len(np.unique((255 * picture).astype(int) @ [1 << 16, 1 << 8, 1]))


def assert_legible(path: Path, colours: int = 100) -> None:
    """Check that a picture has a legible size and more than `colours` colours."""
    picture = picture_at(path)
    assert picture.shape[0] > 200
    assert picture.shape[1] > 400
    assert colours_of(picture) > colours


def assert_on_page(picture: np.ndarray) -> None:
    """Check that the picture's edge is white, so that everything drawn is on the page."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge > 0.99).all()
