"""CPU time of face landmarks: preprocessing, the network in ONNX Runtime, and a literal implementation of its layers.

    OMP_NUM_THREADS=1 python -m benchmarks.landmarks

The scan is simulated and has 8192 points; the denser ones are its points again, moved by 0.3 mm of noise. The reference's network takes
9.6 s on the same kind of processor. The literal form computes a kernel per edge. It is measured in our sizes and in the reference's
(degrees to 2, 40 neighbours, 5 channels).
"""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import cpu_ms, machine
from models.contract.task import FaceLandmarks
from models.landmarks.pointnet2 import PointNet2Config
from models.landmarks.se3_unet import SE3UNetConfig
from models.layers.freezing import frozen
from models.scans.cloud import Tree, centre
from models.scans.files import read_scan
from models.scans.levels import levels
from models.scans.sampling import farthest_points
from training.engine.export import onnx_runner, runner, to_onnx
from training.tasks.faces.data import scans_of
from training.tasks.faces.ict import read_model

DENSER = (50_000, 1_000_000, 5_000_000)
NOISE_M = 3e-4
RESULTS = Path(__file__).parent / "results" / "landmarks.json"
TASK = FaceLandmarks()
REFERENCE_TASK = FaceLandmarks(levels=(1024, 666), neighbours=40)
LITERAL = {
    "ours, literally": (TASK, SE3UNetConfig(literal=True)),
    "reference's sizes, literally": (
        REFERENCE_TASK,
        SE3UNetConfig(
            channels=((5, 5, 5), (5, 5, 5)), layers=3, functions=32, key_functions=32, harmonics=4, literal=True
        ),
    ),
}


def main() -> None:
    """Measure, print tables, and save them with a description of the machine."""
    torch.set_num_threads(1)
    model = read_model(Path(os.environ.get("CHIRON_DATA", "../shared/data")) / "faces")
    points = scans_of(model, "test", "clean", 1, TASK)[0].points
    before, networks = preprocessing(points) | {name: ms for n in DENSER for name, ms in denser(points, n).items()}, {}
    for name, config in (("SE3UNet", SE3UNetConfig()), ("PointNet2", PointNet2Config())):
        example = levels(points, TASK).tensors
        network = frozen(config.build(TASK))
        graph, eager = onnx_runner(to_onnx(network, example)), runner(network, TASK)
        networks[name] = cpu_ms(lambda: graph(example), runs=50)[0]  # noqa: B023 - called at once
        networks[f"{name}, PyTorch"] = cpu_ms(lambda: eager(example), runs=20)[0]  # noqa: B023 - called at once
    for name, (task, config) in LITERAL.items():
        example, run = levels(points, task).tensors, runner(frozen(config.build(task)), task)
        networks[name] = cpu_ms(lambda: run(example), runs=3, warmup=1)[0]  # noqa: B023 - called at once
    for title, figures in ((f"preprocessing {len(points)} points", before), ("network", networks)):
        print(f"| {title} | CPU ms |\n|---|---|")
        print("\n".join(f"| {name} | {ms:.1f} |" for name, ms in figures.items()), end="\n\n")
    RESULTS.write_text(
        json.dumps({"machine": machine(), "preprocessing_ms": before, "network_ms": networks}, indent=1) + "\n"
    )


def preprocessing(points: np.ndarray) -> dict[str, float]:
    """Measure the preprocessing and its parts, in ms."""
    centred = centre(points)[0]
    sampled = centred[farthest_points(centred, TASK.levels[0])]
    trees = [Tree(sampled[:size]) for size in TASK.levels]
    parts = {
        "all": lambda: levels(points, TASK),
        "farthest points": lambda: farthest_points(centred, TASK.levels[0]),
        "neighbours": lambda: [Tree(sampled[:size]).neighbours(TASK.neighbours) for size in TASK.levels],
        "parents": lambda: [coarse.nearest(fine.points, TASK.parents) for fine, coarse in pairwise(trees)],
    }
    return dict(zip(parts, cpu_ms(*parts.values(), runs=50), strict=True))


def denser(points: np.ndarray, count: int) -> dict[str, float]:
    """Measure the preprocessing of a denser scan and, beside it, reading its binary PLY, in ms."""
    rng = np.random.default_rng(0)
    dense = points[rng.integers(len(points), size=count)] + NOISE_M * rng.standard_normal((count, 3))
    data = ply(dense.astype("<f4"))
    parts = {
        f"all, {count:,} points": lambda: levels(dense, TASK),
        f"reading {count:,} points": lambda: read_scan(data, ".ply", max_bytes=len(data), max_points=count),
    }
    return dict(zip(parts, cpu_ms(*parts.values(), runs=10, warmup=1), strict=True))


def ply(points: np.ndarray) -> bytes:
    """Return a cloud as binary PLY."""
    lines = ("ply", "format binary_little_endian 1.0", f"element vertex {len(points)}")
    properties = (f"property float {axis}" for axis in "xyz")
    return "\n".join((*lines, *properties, "end_header\n")).encode() + points.tobytes()


if __name__ == "__main__":
    main()
