"""Small shapes, and random choices among the ways to write them, for the property tests of scan readers."""

from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)  # of one way to write a shape
FEW = settings(max_examples=25, deadline=None)  # each example costs a few milliseconds

Polygons = list[tuple[int, ...]]


def some_points(rng: Random, count: int | None = None) -> np.ndarray:
    """Return 5 to 9 points whose coordinates are exact in float32 and in nine digits of text."""
    count = count or rng.randint(5, 9)
    return np.array([[rng.randint(-30_000, 30_000) / 64 for _ in range(3)] for _ in range(count)])


def some_polygons(rng: Random, points: int, most: int = 5) -> Polygons:
    """Return 1 to 4 polygons of 3 to `most` corners."""
    return [tuple(rng.sample(range(points), rng.randint(3, most))) for _ in range(rng.randint(1, 4))]


def triangles_in(polygons: Polygons) -> list[tuple[int, ...]]:
    """Return the triangles of the polygons' fans, sorted."""
    return sorted((p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1))


def sorted_triangles(triangles: np.ndarray | None) -> list[tuple[int, ...]]:
    """Return the triangles of a scan, sorted."""
    return [] if triangles is None else sorted(map(tuple, triangles.tolist()))


def written(rng: Random, number: float) -> str:
    """Write a number in one of the ways in which programs write it."""
    text = rng.choice(("{:.9g}", "{!r}", "{:.6f}", "{:.8e}", "{:+.9g}", "{:.8E}")).format(float(number))
    return text


def some_text(rng: Random, lines: list[str]) -> bytes:
    """Write lines with one of the line ends, with or without a byte order mark and a last line end."""
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    text = end.join(lines) + rng.choice((end, end + end, ""))
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def sometimes(rng: Random, *lines: str) -> list[str]:
    """Return some of the lines, in order."""
    return [line for line in lines if rng.random() < 0.4]
