"""Groups of linear maps of the plane as values, and their left-regular representations on images and on feature maps.

A correlation for a group H of turns, mirrors or scales gives feature maps on the semi-direct product R^2 x| H: a number for each place x
and each element h. Cohen and Welling 2016 (arXiv:1602.07576) have turns and mirrors. Worrall and Welling 2019 (arXiv:1905.11697) and
Sosnovik, Szmaja and Smeulders 2020 (arXiv:1910.11093) have scales. The notation is that of Bekkers' lectures on group equivariant deep
learning.

Elements are integers. A feature map is stored as (batch, channels * elements, height, width), where element h of channel c is at
c * len(elements) + h, so that each layer is one conv2d (models/layers/group_conv.py). x is the column and y the row; the origin is the
centre of the grid.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import affine_transform
from torch import Tensor

Matrix = Float[np.ndarray, "2 2"]
Images = Float[Tensor, "batch channels height width"]
Representation = Float[Tensor, "elements channels channels"]


class Group(ABC):
    """A group H that acts on the plane by matrices.

    `elements` are those that a feature map stores, and `offsets` are those on which a kernel on the group is not zero. They are all of a
    finite group. Of scales, which are infinitely many, they are a range each.
    """

    @property
    @abstractmethod
    def elements(self) -> range:
        """Return the elements of feature maps; 0 is the identity."""

    @property
    def offsets(self) -> range:
        """Return the elements on which a kernel on the group is not zero."""
        return self.elements

    @abstractmethod
    def product(self, g: int, h: int) -> int:
        """Return g h, which acts as h first and then g."""

    @abstractmethod
    def inverse(self, g: int) -> int:
        """Return the inverse of g."""

    @abstractmethod
    def matrix(self, g: int) -> Matrix:
        """Return the matrix by which g acts on points (x, y)."""

    @property
    def permutes_pixels(self) -> bool:
        """Return whether every element maps each pixel of a square grid to a pixel, so that no layer interpolates."""
        return all(_signed_permutation(self.matrix(g)) for g in self.elements)


@dataclass(frozen=True)
class Planar(Group):
    """C_N, the turns by multiples of 360 / N degrees, or D_N, those turns and their products with a mirror that negates x.

    Element m N + j is the turn by j / N after m mirrorings. The turn of j = N / 4 takes the x axis to the y axis. Raises ValueError
    without a turn.
    """

    turns: int
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ValueError(f"expected at least 1 turn, the identity, got {self.turns}")

    @property
    def elements(self) -> range:
        """Return the turns, then their products with the mirror."""
        return range(self.turns * (1 + self.mirrored))

    def product(self, g: int, h: int) -> int:
        """Return g h: r^j s^m r^k s^n = r^(j + (-1)^m k) s^(m + n), because s r s = r^-1."""
        (m, j), (n, k) = divmod(g, self.turns), divmod(h, self.turns)
        return (m + n) % 2 * self.turns + (j + (-1) ** m * k) % self.turns

    def inverse(self, g: int) -> int:
        """Return the inverse of g; a mirroring is its own."""
        m, j = divmod(g, self.turns)
        return g if m else -j % self.turns

    def matrix(self, g: int) -> Matrix:
        """Return the matrix of g, exact at multiples of 90 degrees."""
        m, j = divmod(g, self.turns)
        angle = 2 * math.pi * j / self.turns
        c, s = (float(np.round(x, 15)) for x in (math.cos(angle), math.sin(angle)))
        return np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if m else 1.0, 1.0])


def C(turns: int) -> Planar:
    """Return the cyclic group of `turns`. C(1) has the identity alone: its correlations are those of a plain network."""
    return Planar(turns)


def D(turns: int) -> Planar:
    """Return the dihedral group of `turns` and a mirror. D(1) has the identity and the mirror."""
    return Planar(turns, mirrored=True)


@dataclass(frozen=True)
class Scale(Group):
    """The scales ratio^j for integers j; a feature map stores those from 0 to steps - 1.

    The axis has ends and is no circle: beyond them a feature map counts as 0, so that equivariance holds away from the ends alone. A kernel
    on the group reaches `reach` scales up and down.
    """

    steps: int
    ratio: float
    reach: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.ratio <= 1 or self.reach < 0:
            raise ValueError(f"expected a step, a ratio above 1 and a reach of at least 0, got {self}")

    @property
    def elements(self) -> range:
        """Return the exponents that feature maps store."""
        return range(self.steps)

    @property
    def offsets(self) -> range:
        """Return the differences of exponents within reach."""
        return range(-self.reach, self.reach + 1)

    def product(self, g: int, h: int) -> int:
        """Return g + h: exponents add."""
        return g + h

    def inverse(self, g: int) -> int:
        """Return -g."""
        return -g

    def matrix(self, g: int) -> Matrix:
        """Return ratio^g times the identity."""
        return self.ratio**g * np.eye(2)


def _signed_permutation(matrix: Matrix) -> bool:
    return bool(np.all(np.isin(matrix, (-1.0, 0.0, 1.0)))) and abs(float(np.linalg.det(matrix))) == 1


# --- the semi-direct product with translations ---

Element = tuple[Float[np.ndarray, "2"], int]


@dataclass(frozen=True)
class SemiDirect:
    """R^2 x| H: an element (x, h) acts on points by y -> h y + x. With turns it is SE(2), with scales the scale-translation group."""

    group: Group

    def product(self, g: Element, h: Element) -> Element:
        """Return g h = (x, h)(x', h') = (x + h x', h h')."""
        return g[0] + self.group.matrix(g[1]) @ h[0], self.group.product(g[1], h[1])

    def inverse(self, g: Element) -> Element:
        """Return (-h^-1 x, h^-1)."""
        back = self.group.inverse(g[1])
        return -self.group.matrix(back) @ g[0], back

    def act(self, g: Element, points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Return h y + x for each point y."""
        return points @ self.group.matrix(g[1]).T + g[0]


# --- representations on channels ---


def trivial(group: Group, channels: int) -> Representation:
    """Return the representation that keeps every channel: that of intensities and depths."""
    return torch.eye(channels).repeat(len(group.elements), 1, 1)


def sided(group: Planar, mirror: Sequence[int]) -> Representation:
    """Return the representation in which a mirror exchanges channel i with mirror[i]: that of heatmaps of left and right landmarks."""
    swap = torch.eye(len(mirror))[list(mirror)]
    keep = torch.eye(len(mirror))
    return torch.stack([swap if g >= group.turns else keep for g in group.elements])


def vectors(group: Planar) -> Representation:
    """Return the representation on the x and y of a vector, such as a surface normal's."""
    return torch.stack([torch.from_numpy(group.matrix(g)).float() for g in group.elements])


# --- left-regular representations ---


def moved(image: Images, matrix: Matrix) -> Images:
    """Return f(matrix^-1 x), the image turned, mirrored or scaled about its centre.

    A matrix that maps pixels to pixels permutes them; a quarter turn needs a square image. Others interpolate by splines of degree 5, with
    zeros beyond the image and without a gradient.
    """
    if _signed_permutation(matrix):
        if matrix[0, 0] == 0:  # x and y change places, and their signs with them
            image, matrix = image.transpose(-1, -2), matrix[:, ::-1]
        return image.flip([axis for axis, sign in ((-1, matrix[0, 0]), (-2, matrix[1, 1])) if sign < 0])
    middle = (np.array(image.shape[-2:]) - 1) / 2
    back = np.linalg.inv(matrix)[::-1, ::-1]  # of rows and columns
    planes = image.detach().cpu().flatten(0, 1).numpy()
    affine = np.column_stack([back, middle - back @ middle])
    turned = [affine_transform(plane, affine, order=5) for plane in planes]
    return torch.from_numpy(np.stack(turned)).reshape(image.shape).to(image)


def act_on_image(group: Group, g: int, image: Images, representation: Representation | None = None) -> Images:
    """Return (L_g f)(x) = rho(g) f(g^-1 x), where rho acts on channels and is trivial by default."""
    image = moved(image, group.matrix(g))
    return image if representation is None else torch.einsum("ij,bjhw->bihw", representation[g].to(image), image)


def act_on_features(group: Group, g: int, features: Images) -> Images:
    """Return (L_g F)(x, h) = F(g^-1 x, g^-1 h), with 0 where g^-1 h is not stored."""
    stored = features.unflatten(1, (-1, len(group.elements)))
    back = group.inverse(g)
    sources = [group.product(back, h) for h in group.elements]
    axis = [stored[:, :, h] if h in group.elements else torch.zeros_like(stored[:, :, 0]) for h in sources]
    return moved(torch.stack(axis, 2).flatten(1, 2), group.matrix(g))
