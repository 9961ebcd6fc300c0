"""The ICT-FaceKit face model, Li et al. 2020 (CVPR, "Learning Formation of Physically-Based Face Attributes").

`<folder>/ict_facekit/ict_facekit_light.npz` has the model: a vertex is mean + sum_k id_k id_basis_k + sum_j w_j exp_basis_j, in
millimetres, with standard normal id_k and w_j in [0, 1]. `expression_presets.json` beside it has 20 named sets of w. Reading turns
millimetres into metres. The axes are +x to the subject's left, +y up and +z out of the nose.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from models.skeletons.units import to_metres
from training.data.licences import Source
from training.data.splits import Split
from training.data.untrusted import load_arrays

SOURCE = Source(
    "ict_facekit",
    "MIT",
    "Li et al., ICT-FaceKit, (c) 2020 USC Institute for Creative Technologies; simulated scans of it",
)
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
    """A file that does not have the face model's format; the message says what was expected."""


@dataclass(frozen=True)
class FaceModel:
    """The mean face and its bases, in metres.

    `masks` are sets of vertices: "scan" is what a scanner sees, "front" the face in it, "narrow" the face without ears, "mouth" the inside
    of the mouth.
    """

    mean: Float[np.ndarray, "vertices 3"]
    identities: Float[np.ndarray, "modes coordinates"]
    expressions: Float[np.ndarray, "shapes coordinates"]
    expression_names: tuple[str, ...]
    presets: dict[str, Float[np.ndarray, " shapes"]]
    triangles: Int[np.ndarray, "triangles 3"]
    masks: dict[str, Bool[np.ndarray, "vertices"]]
    landmarks: Int[np.ndarray, "68"]

    def vertices(
        self, identity: Float[np.ndarray, " modes"], expression: Float[np.ndarray, " shapes"]
    ) -> Float[np.ndarray, "vertices 3"]:
        """Return the vertices of an identity with an expression, in metres, float32."""
        offsets = identity.astype(np.float32) @ self.identities
        for shape in np.flatnonzero(expression):
            offsets += np.float32(expression[shape]) * self.expressions[shape]
        return self.mean + offsets.reshape(-1, 3)

    def identity(self, seed: int) -> Float[np.ndarray, " modes"]:
        """Return the coefficients of an identity, drawn from a standard normal distribution with its seed."""
        return np.random.default_rng(seed).standard_normal(len(self.identities))

    def expression(self, rng: np.random.Generator) -> Float[np.ndarray, " shapes"]:
        """Return random weights of the expression shapes: neutral, a scaled preset, or a few shapes, most of them symmetric."""
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
        if blink < 0.15:  # eyes shut, as many scanners require
            weights[[names.index("eyeBlink_L"), names.index("eyeBlink_R")]] = rng.uniform(0.7, 1.0)
        weights[names.index("mouthClose")] = 0  # a corrective shape, which needs jawOpen
        if rng.random() < 0.3:
            weights[names.index("mouthClose")] = weights[names.index("jawOpen")] * rng.uniform(0.3, 0.9)
        return weights


@lru_cache(maxsize=2)
def read_model(folder: Path) -> FaceModel:
    """Read the model in `<folder>/ict_facekit`. Raises MalformedModel, UntrustedFile."""
    path = folder / "ict_facekit" / "ict_facekit_light.npz"
    if not path.is_file():
        raise MalformedModel(f"no file {path}")
    arrays = load_arrays(path)
    if missing := [key for key in KEYS if key not in arrays]:
        raise MalformedModel(f"{path}: expected the arrays {', '.join(KEYS)}; missing: {', '.join(missing)}")
    content = {key: arrays[key] for key in KEYS}
    vertices, names = len(content["mean"]), tuple(str(name) for name in content["exp_names"])
    for basis in ("id_basis", "exp_basis"):
        if content[basis].shape[1:] != (vertices, 3):
            raise MalformedModel(f"{path}: expected {basis} as (modes, {vertices}, 3), got {content[basis].shape}")
    unit = np.float32(to_metres("mm"))
    written = json.loads(path.with_name("expression_presets.json").read_text())["presets"]
    presets = {name: np.array([weights.get(shape, 0.0) for shape in names]) for name, weights in written.items()}
    masks = {name: content[f"{name}_mask"] for name in ("scan", "front", "narrow")}
    return FaceModel(
        mean=content["mean"] * unit,
        identities=content["id_basis"].reshape(len(content["id_basis"]), -1).astype(np.float32) * unit,
        expressions=content["exp_basis"].reshape(len(names), -1).astype(np.float32) * unit,
        expression_names=names,
        presets=presets,
        triangles=content["triangles"].astype(np.int64),
        masks=masks | {"mouth": content["group"] == MOUTH},
        landmarks=content["landmarks68"].astype(np.int64),
    )
