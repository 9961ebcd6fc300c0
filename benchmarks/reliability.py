"""Reliability of the shipped face model's confidence: of the landmarks with a stated confidence, how many are right.

    OMP_NUM_THREADS=1 CHIRON_DATA=../shared/data python -m benchmarks.reliability [--calibrate BUNDLE]

It prints, for each kind of scan, the mean confidence, the share of landmarks within 3 mm, the expected calibration error, and the share of
right landmarks in each bin of confidence. The scans are simulated test scans (clean and varied) and all real ones, searched as the service
searches them. `--calibrate BUNDLE` first fits the coefficients of the scan (`training.tasks.faces.confidence`) on simulated validation
scans, and writes the bundle with them to BUNDLE. A minute of a core.
"""

import argparse
import itertools
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.contract.bundle import Bundle, read_bundle, write_bundle
from models.contract.runtime import onnxruntime
from models.contract.task import FaceLandmarks
from models.landmarks.voting import QUARTER
from models.scans.levels import find
from models.scans.plausible_faces import check_face
from models.skeletons.units import Implausible
from service.inference.predictor import Predictor
from training.engine.benchmark import markdown
from training.tasks.faces.confidence import as_served, calibration_error, of_scans
from training.tasks.faces.report import Subject, subjects

BUNDLE = Path(__file__).parents[1] / "bundles" / "face-se3unet"
SIZES = (1, 0.1, 0.3, 0.5, 1.4, 1.8, 2.54, 10)  # 1.8 and more: no person has such a face
EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


def main() -> None:
    """Calibrate if asked to, and print the table."""
    parser = argparse.ArgumentParser(description="Reliability of the face model's confidence")
    parser.add_argument("--calibrate", type=Path, metavar="BUNDLE", help="a new folder for the calibrated bundle")
    target = parser.parse_args().calibrate
    bundle = read_bundle(BUNDLE)
    task = bundle.meta.task
    assert isinstance(task, FaceLandmarks)
    folder = Path(os.environ.get("CHIRON_DATA", "../shared/data")) / "faces"
    if target is not None:
        scans = [(subject.points, subject.true) for subject in subjects(folder, "validation", task)]
        coefficients = of_scans(*as_served(Predictor(bundle).run, task, scans))
        print("coefficients:", ", ".join(f"{x:.4f}" for x in coefficients))
        bundle = calibrated(bundle, coefficients, target)
    scans = subjects(folder, "test", task)
    print(reliability(bundle, task, scans))
    print(sizes(bundle, task, scans))


def reliability(bundle: Bundle, task: FaceLandmarks, scans: list[Subject]) -> str:
    """Return the table."""
    run = Predictor(bundle).run
    bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(EDGES)]
    rows = []
    for source in dict.fromkeys(scan.source for scan in scans):
        own = [scan for scan in scans if scan.source == source]
        odds, right = as_served(run, task, [(scan.points, scan.true) for scan in own])
        known = np.isfinite(right)
        confidence, correct = 1 / (1 + np.exp(-odds[known])), right[known] == 1
        cells = []
        for low, high in itertools.pairwise(EDGES):
            inside = (confidence >= low) & (confidence < high)
            cells.append(f"{100 * correct[inside].mean():.0f} % of {inside.sum()}" if inside.any() else "")
        least = (1 / (1 + np.exp(-odds))).mean(axis=1).min()
        error = calibration_error(confidence, correct)
        figures = (f"{confidence.mean():.3f}", f"{correct.mean():.3f}", f"{error:.3f}", f"{least:.2f}")
        rows.append((source, str(len(own)), str(known.sum()), *figures, *cells))
    header = (
        "scans",
        "looks",
        "landmarks",
        "mean confidence",
        "within 3 mm",
        "calibration error",
        "least mean of a scan",
    )
    return markdown((*header, *bins), rows)


def sizes(bundle: Bundle, task: FaceLandmarks, scans: list[Subject]) -> str:
    """Return a table of the mean confidence in scans that are too large or too small, where the landmarks have the size of a face."""
    run = Predictor(bundle).run
    some = [
        scan
        for source in dict.fromkeys(s.source for s in scans)
        for scan in [s for s in scans if s.source == source][:100:4]
    ]
    rows = []
    for size in SIZES:
        confidence = []
        for scan in some:
            points = scan.points * size
            face = find(points, task, run)
            with suppress(Implausible):
                check_face(face.landmarks, points[face.sampled], "m")
                confidence.append(float(face.confidence.mean()))
        least, most = (f"{min(confidence):.2f}", f"{max(confidence):.2f}") if confidence else ("", "")
        rows.append((f"{size:g}", str(len(some)), str(len(confidence)), least, most))
    return markdown(("size", "scans", "of a face's size", "least mean confidence", "most"), rows)


def calibrated(bundle: Bundle, coefficients: np.ndarray, folder: Path) -> Bundle:
    """Write the bundle at `folder` with the coefficients of the scan in its graph. Its landmarks and heatmaps stay bit for bit."""
    graph = with_coefficients(bundle.model.read_bytes(), coefficients)
    inputs, _ = bundle.example()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = list(bundle.meta.task.outputs)
    outputs = dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))
    command = f"{bundle.meta.command} && python -m benchmarks.reliability --calibrate bundles/{bundle.meta.name}"
    return write_bundle(folder, bundle.meta.model_copy(update={"command": command}), graph, inputs, outputs)


def with_coefficients(graph: bytes, coefficients: np.ndarray) -> bytes:
    """Return a graph whose confidence has the coefficients of the scan, as models.landmarks.voting.Confidence computes it.

    Raises ValueError unless the graph's confidence is the sigmoid of log-odds without such coefficients.
    """
    model = onnx.load_from_string(graph)
    (last,) = [node for node in model.graph.node if "confidence" in node.output]
    if last.op_type != "Sigmoid" or any(x.name == "confidence.own" for x in model.graph.initializer):
        raise ValueError("expected a graph whose confidence has no coefficients of the scan")
    odds = last.input[0]
    landmarks = next(x.dims[0] for x in model.graph.initializer if x.name == "confidence.bias")
    constants = {
        "confidence.own": coefficients[:1].astype(np.float32),
        "confidence.lowest": coefficients[1:2].astype(np.float32),
        "confidence.offset": coefficients[2:].astype(np.float32),
        "confidence.count": np.array([landmarks // QUARTER]),
        "confidence.axis": np.array([1]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(x, name) for name, x in constants.items())
    model.graph.node.remove(last)
    make = helper.make_node
    model.graph.node.extend([
        make("TopK", [odds, "confidence.count"], ["lowest_odds", "lowest_index"], axis=1, largest=0),
        make("ReduceMean", ["lowest_odds", "confidence.axis"], ["lowest_mean"], keepdims=1),
        make("Mul", ["lowest_mean", "confidence.lowest"], ["lowest_part"]),
        make("Mul", [odds, "confidence.own"], ["own_part"]),
        make("Add", ["own_part", "lowest_part"], ["both_parts"]),
        make("Add", ["both_parts", "confidence.offset"], ["scan_odds"]),
        make("Sigmoid", ["scan_odds"], ["confidence"]),
    ])  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


if __name__ == "__main__":
    main()
