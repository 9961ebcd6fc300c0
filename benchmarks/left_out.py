"""A hand forecaster trained on all of its sources but one, and measured on that one, for each source in turn.

    python -m benchmarks.left_out hands-eqmotion --least 100

A source takes one training, unless it was trained before. The last line is the mean ratio to the best forecast without weights.
"""

import argparse
import os
from pathlib import Path

import torch

from training.catalogue import find_run
from training.tasks.hands.left_out import table


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.left_out", description=__doc__)
    parser.add_argument("run", help="the name of a run of hands, or my_run.py:name")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the folder of checkpoints and reports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimiser steps, in place of the run's own")
    parser.add_argument("--least", type=int, default=1, help="leave groups of fewer windows out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = find_run(arguments.run).with_options(arguments.steps)
    print(table(run, arguments.seed, arguments.data, arguments.out, least=arguments.least))


if __name__ == "__main__":
    main()
