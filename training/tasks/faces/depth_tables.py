"""The table of landmark networks on depth maps, beside the SE(3)-UNet that ships.

    python -m training benchmark faces-depth --results benchmarks/results
    python -m training benchmark faces-depth --results benchmarks/results --models face-depth,face-se3unet

The second measures only the networks that ship, and leaves the other lines of the results as they are.
All networks see the same scans and are searched as the service searches: two looks, the direction of the camera estimated from the scan.
Simulated test faces are upright, rolled about the axis of the camera, resized, tilted, or turned at random; real scans
are turned at random.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.contract.bundle import read_bundle
from models.contract.symmetry import Tensors, random_rotation
from models.layers.freezing import frozen
from models.scans.head import face_axes
from models.scans.looks import FaceTask, find
from training.engine.benchmark import Choice, NoOptions, markdown, measured, refuse_options
from training.engine.export import onnx_runner, to_onnx
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.faces.data import Scan, scans_of
from training.tasks.faces.ict import FaceModel, read_model
from training.tasks.faces.report import Row, Subject, evaluate_function, real_subjects, scanned
from training.tasks.faces.runs.depth import COMPARED, RUN, TASK
from training.tasks.faces.study import fit_rest

FACES = 16  # simulated test faces in each pose
TILT_DEG, SIZES = 30.0, (0.8, 1.25)
BUNDLES = Path(__file__).parents[3] / "bundles"
SHIPPED = (RUN.name, "face-se3unet")  # measured as their bundles
REPEATS = 50  # runs of a graph, of which the fastest counts, because other work on a machine only adds time
FILE = "faces-depth"


@dataclass(frozen=True)
class Measured:
    """The figures of one network: errors by source, weights, and CPU time on one thread of one core."""

    name: str
    parameters: int
    graph_ms: float
    scan_ms: float  # of a whole search with the graph, with preprocessing
    rows: list[Row]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Measured":
        """Return the figures that `write` has written."""
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Measured":
        """Return the figures that `dataclasses.asdict` has turned into a dictionary."""
        return cls(**{**content, "rows": [Row.of(row) for row in content["rows"]]})


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return the table in Markdown; write it with its figures into the folder of results.

    `choice.models` are the networks to train and measure; the lines of others are those in the folder of results. Raises Stopped and
    NoOptions.
    """
    refuse_options(choice, "results", "models")
    runs = {run.name: run for run in COMPARED}
    names = (*runs, *SHIPPED)
    if unknown := set(choice.models) - set(names):
        raise NoOptions(f"expected models among {', '.join(names)}, got {', '.join(sorted(unknown))}")
    found = {network.name: network for network in _kept(choice.results)} if choice.models else {}
    for name in choice.models or names:
        found[name] = (
            measured(runs[name], 0, data_folder, out, Measured, measure, watch, file="test-depth.json")
            if name in runs
            else of_bundle(BUNDLES / name, data_folder)
        )
    networks = [found[name] for name in names if name in found]
    text = table(networks)
    if choice.results is not None:
        content = [asdict(network) for network in networks]
        (choice.results / f"{FILE}.json").write_text(json.dumps(content, indent=1) + "\n")
        (choice.results / f"{FILE}.md").write_text(f"## Landmarks on depth maps\n\n{text}\n")
    return text


def _kept(results: Path | None) -> list[Measured]:
    """Return the networks whose figures a folder of results has."""
    path = results and results / f"{FILE}.json"
    return [Measured.of(content) for content in json.loads(path.read_text())] if path and path.is_file() else []


def measure(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Measured:
    """Fit the shape prior and the confidence, then measure the network's graph."""
    batches = run.data.load(data_folder)
    fit_rest(network, batches)
    example, _ = batches.example()
    graph = onnx_runner(to_onnx(frozen(network.cpu()), example))
    weights = sum(p.numel() for p in network.parameters())
    return figures(run.name, graph, run.task, example, weights, data_folder)


def of_bundle(folder: Path, data_folder: Path) -> Measured:
    """Return the figures of a network that ships."""
    bundle = read_bundle(folder)
    graph = onnx_runner(bundle.model.read_bytes())
    task = bundle.meta.task
    assert isinstance(task, FaceTask)
    return figures(bundle.meta.name, graph, task, bundle.example()[0], bundle.meta.parameters, data_folder)


def figures(
    name: str, graph: Callable[[Tensors], Tensors], task: FaceTask, example: Tensors, weights: int, data_folder: Path
) -> Measured:
    """Measure a graph on every subject, and its time on an example and on the upright faces."""
    folder = data_folder / "faces"
    scans = subjects(read_model(folder), folder)
    report, _ = evaluate_function(graph, task, scans)
    upright = [scan.points for scan in scans if scan.source == "upright"][:20]
    scan_ms = min(cpu_ms(lambda points=points: find(points, task, graph)) for points in upright)
    return Measured(name, weights, min(cpu_ms(lambda: graph(example)) for _ in range(REPEATS)), scan_ms, report.rows)


def cpu_ms(function: Callable[[], Any]) -> float:
    """Return the CPU time of a call in milliseconds."""
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def subjects(model: FaceModel, folder: Path) -> list[Subject]:
    """Return the simulated test faces in each pose, and the real scans in any."""
    upright = scans_of(model, "test", "clean", FACES, TASK, upright=True)
    posed = {
        pose: [move(one, np.random.default_rng([7, i])) for i, one in enumerate(upright)]
        for pose, move in POSES.items()
    }
    posed["ict, varied, any pose"] = list(scans_of(model, "test", "varied", FACES, TASK))
    return [subject for pose, scans in posed.items() for subject in scanned(scans, pose)] + real_subjects(folder)


def rolled(scan: Scan, rng: np.random.Generator) -> Scan:
    """Return the scan rolled by a random angle about the z axis, at which a camera is."""
    return _moved(scan, _about(np.array([0.0, 0.0, 1.0]), rng.uniform(0, 2 * np.pi)))


def resized(scan: Scan, rng: np.random.Generator) -> Scan:
    """Return the scan at a random size."""
    return _moved(scan, np.exp(rng.uniform(*np.log(SIZES))) * np.eye(3))


def tilted(scan: Scan, rng: np.random.Generator) -> Scan:
    """Return the scan turned by up to TILT_DEG about a random axis across the view."""
    across, up, _ = face_axes(scan.landmarks)
    around = rng.uniform(0, 2 * np.pi)
    return _moved(scan, _about(np.cos(around) * across + np.sin(around) * up, np.deg2rad(rng.uniform(0, TILT_DEG))))


def turned(scan: Scan, rng: np.random.Generator) -> Scan:
    """Return the scan turned at random in space."""
    return _moved(scan, random_rotation(rng))


POSES: dict[str, Callable[[Scan, np.random.Generator], Scan]] = {
    "upright": lambda scan, _: scan,
    "any roll": rolled,
    "any size": resized,
    "any tilt": tilted,
    "any pose": turned,
}


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def _moved(scan: Scan, matrix: np.ndarray) -> Scan:
    return Scan(scan.points @ matrix.T, scan.landmarks @ matrix.T)


def table(networks: list[Measured]) -> str:
    """Return a Markdown table: a line for each network, mean errors in mm by source."""
    sources = [row.source for row in networks[0].rows]
    header = ("mean error, mm", *sources, "swapped, any pose", "parameters", "graph, CPU ms", "a scan, CPU ms")
    lines = []
    for network in networks:
        of = {row.source: row.scores for row in network.rows}
        lines.append((
            network.name,
            *(f"{of[source].mean_mm:.2f}" for source in sources),
            f"{100 * of['any pose'].swapped:.1f} %",
            f"{network.parameters:,}",
            f"{network.graph_ms:.1f}",
            f"{network.scan_ms:.0f}",
        ))  # fmt: skip
    return markdown(header, lines)
