"""CPU time of two graphs of one model, such as a bundle before and after its graph was written again, and how far their answers differ.

    OMP_NUM_THREADS=1 python -m benchmarks.graphs BEFORE AFTER

Both are folders of bundles with the same task. They run as served, one item on one thread, in turns, at every size that the task allows.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.timing import cpu_ms, machine
from models.contract.bundle import read_bundle
from models.contract.symmetry import Tensors, largest_difference
from models.contract.task import Task, tried_sizes
from service.inference.predictor import Predictor
from training.engine.export import sizes


def main() -> None:
    """Measure both graphs and print a table."""
    parser = argparse.ArgumentParser(description="Compare the CPU time and the answers of two graphs of one model.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    old, new = read_bundle(arguments.before), read_bundle(arguments.after)
    before, after = Predictor(old, "cpu"), Predictor(new, "cpu")
    print(f"{new.meta.name}, {old.meta.version} and {new.meta.version}, on {machine()['processor']}\n")
    print("| size | before, ms | after, ms | ratio | largest difference |\n|---|---|---|---|---|")
    for inputs in alone(new.meta.task, old.example()[0]):
        difference = largest_difference(after.run(inputs), before.run(inputs))
        first, second = cpu_ms(lambda: before.run(inputs), lambda: after.run(inputs), runs=arguments.runs)  # noqa: B023 - called at once
        print(
            f"| {size_of(new.meta.task, inputs)} | {first:.2f} | {second:.2f} | {second / first:.2f} | {difference:.1e} |"
        )


def alone(task: Task, example: Tensors) -> list[dict[str, np.ndarray]]:
    """Return the example at every size that the task allows, one item each."""
    return [inputs for inputs in sizes(task, example) if all(len(x) == 1 for x in inputs.values())]


def size_of(task: Task, inputs: Tensors) -> str:
    """Return the sizes of a task's free axes in some inputs, in words."""
    name, spec = next(iter(task.inputs.items()))
    found = {axis: inputs[name].shape[spec.shape.index(axis)] for axis in tried_sizes(task)}
    return ", ".join(f"{size} {axis}" for axis, size in found.items()) or "one item"


if __name__ == "__main__":
    main()
