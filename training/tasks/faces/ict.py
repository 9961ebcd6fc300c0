"""Faces of the ICT-FaceKit model, Li et al. 2020 (CVPR, "Learning Formation of Physically-Based Face Attributes"): identity x expression.

`<folder>/ict_facekit/ict_facekit_light.npz`: a vertex is mean + sum_k id_k id_basis_k + sum_j w_j exp_basis_j, in millimetres, with id_k of
a standard normal distribution and w_j in [0, 1]; and `expression_presets.json`, 20 named sets of w. Millimetres become metres here. Axes:
+x to the subject's left, +y up, +z out of the nose.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models.contract.units import to_metres

Split = Literal["train", "validation", "test"]
SEEDS: dict[Split, range] = {  # of identities: no identity is in two splits
    "train": range(1_000_000),
    "validation": range(1_000_000, 1_100_000),
    "test": range(1_100_000, 1_200_000),
}
MOUTH = 2  # in `group`: 0 face, 1 head and neck, 2 inside of the mouth, 3 and 4 eyeballs
KEYS = (
    "mean",
    "id_basis",
    "exp_basis",
    "exp_names",
    "triangles",
    "group",
    "scan_mask",
    "front_mask",
    "narrow_mask",
    "landmarks68",
)


class MalformedModel(ValueError):
    """A file that is not what the face model's file is; the message says what was wanted."""


@dataclass(frozen=True)
class FaceModel:
    """The model; lengths in metres."""

    mean: Float[np.ndarray, "vertices 3"]
    identities: Float[np.ndarray, "modes coordinates"]
    expressions: Float[np.ndarray, "shapes coordinates"]
    expression_names: tuple[str, ...]
    presets: dict[str, Float[np.ndarray, " shapes"]]
    triangles: Int[np.ndarray, "triangles 3"]
    masks: dict[
        str, Bool[np.ndarray, "vertices"]
    ]  # scan: what a scanner sees; front: of it the face; narrow: without the ears; mouth
    landmarks: Int[np.ndarray, "68"]

    def vertices(
        self, identity: Float[np.ndarray, " modes"], expression: Float[np.ndarray, " shapes"]
    ) -> Float[np.ndarray, "vertices 3"]:
        """A face, in float32."""
        offsets = identity.astype(np.float32) @ self.identities
        for shape in np.flatnonzero(expression):
            offsets += np.float32(expression[shape]) * self.expressions[shape]
        return self.mean + offsets.reshape(-1, 3)

    def identity(self, seed: int) -> Float[np.ndarray, " modes"]:
        """The coefficients of an identity: a standard normal draw of its seed."""
        return np.random.default_rng(seed).standard_normal(len(self.identities))

    def expression(self, rng: np.random.Generator) -> Float[np.ndarray, " shapes"]:
        """Neutral, one of the presets at some strength, or a few shapes at random, mostly as much on the left as on the right."""
        weights = np.zeros(len(self.expressions))
        kind = rng.random()
        if kind < 0.2:
            return weights
        if kind < 0.55:
            name = list(self.presets)[rng.integers(len(self.presets))]
            return self.presets[name] * rng.uniform(0.4, 1.0)
        names = self.expression_names
        for shape in rng.choice(len(names), rng.integers(1, 9), replace=False):
            weights[shape] = rng.beta(1.2, 2.0)
            other = names[shape][:-1] + {"L": "R", "R": "L"}.get(names[shape][-1], "")
            if names[shape][-2:] in ("_L", "_R") and rng.random() < 0.7:
                weights[names.index(other)] = weights[shape] * rng.uniform(0.7, 1.0)
        blink = rng.random()
        if blink < 0.15:  # eyes shut, which many a scanner asks for
            weights[[names.index("eyeBlink_L"), names.index("eyeBlink_R")]] = rng.uniform(0.7, 1.0)
        weights[names.index("mouthClose")] = 0  # a corrective: nothing without jawOpen
        if rng.random() < 0.3:
            weights[names.index("mouthClose")] = weights[names.index("jawOpen")] * rng.uniform(0.3, 0.9)
        return weights


@lru_cache(maxsize=2)
def read_model(folder: Path) -> FaceModel:
    """The model of `<folder>/ict_facekit`. Raises MalformedModel."""
    path = folder / "ict_facekit" / "ict_facekit_light.npz"
    if not path.is_file():
        raise MalformedModel(f"no file {path}")
    with np.load(path, allow_pickle=False) as arrays:
        if missing := [key for key in KEYS if key not in arrays]:
            raise MalformedModel(f"{path} wants arrays {', '.join(KEYS)}; it has no {', '.join(missing)}")
        held = {key: arrays[key] for key in KEYS}
    vertices, names = len(held["mean"]), tuple(str(name) for name in held["exp_names"])
    for basis in ("id_basis", "exp_basis"):
        if held[basis].shape[1:] != (vertices, 3):
            raise MalformedModel(f"{path}: {basis} is wanted as (modes, {vertices}, 3); came {held[basis].shape}")
    unit = np.float32(to_metres("mm"))
    written = json.loads(path.with_name("expression_presets.json").read_text())["presets"]
    presets = {name: np.array([weights.get(shape, 0.0) for shape in names]) for name, weights in written.items()}
    masks = {name: held[f"{name}_mask"] for name in ("scan", "front", "narrow")}
    return FaceModel(
        mean=held["mean"] * unit,
        identities=held["id_basis"].reshape(len(held["id_basis"]), -1).astype(np.float32) * unit,
        expressions=held["exp_basis"].reshape(len(names), -1).astype(np.float32) * unit,
        expression_names=names,
        presets=presets,
        triangles=held["triangles"].astype(np.int64),
        masks=masks | {"mouth": held["group"] == MOUTH},
        landmarks=held["landmarks68"].astype(np.int64),
    )
