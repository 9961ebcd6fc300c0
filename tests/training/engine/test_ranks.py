"""Tests of training in several processes: same curve as one process, common stop, and common end."""

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from waiting import until

from training.engine.checkpoints import BEST, LAST
from training.engine.folders import HISTORY
from training.engine.loop import NotANumber, Training
from training.engine.ranks import RankLost, share

from .test_loop import CHECKOUT, HandRun, assert_same_results, checkpoint, history, not_a_number, trained, uninterrupted

pytestmark = pytest.mark.long(60)

__all__ = ["uninterrupted"]


@pytest.fixture(scope="module")
def by_two(tiny: HandRun, synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny run in two processes without an interruption; return its folder."""
    reports: list[dict] = []
    activities: list[str | None] = []
    out = tmp_path_factory.mktemp("by-two")
    folder = trained(tiny, synthetic_data, out, devices=2, progress=reports.append, activity=activities.append)
    assert [report["step"] for report in reports] == list(range(1, 13)), "expected each step to be reported once"
    assert all(report.pop("batch_loss") > 0 for report in reports)
    measured = [report for report in reports if "score" in report]
    assert measured == [{"stage": "tiny", "seed": 0} | line for line in history(folder)]
    assert {"writing last.ckpt", "writing best.ckpt", None} == set(activities)
    return folder


def test_two_processes_give_the_curve_of_one(by_two: Path, uninterrupted: Path):
    for one, two in zip(history(uninterrupted), history(by_two), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    one, two = (checkpoint(folder, BEST)["average"] for folder in (uninterrupted, by_two))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_mean_over_shares_is_the_mean_of_the_batch(size: int, processes: int):
    batch = np.arange(1.0, size + 1) ** 2
    means = []
    for rank in range(processes):
        fabric = Mock(spec=Fabric, global_rank=rank, world_size=processes, device=torch.device("cpu"))
        fabric.all_reduce.return_value = torch.tensor(float(size))
        (inputs, target), weight = share(fabric, lambda rank, ranks: ({"past": batch[rank::ranks]}, batch[rank::ranks]))
        assert len(target) > 0, "expected an example for every process, since the others wait for it"
        assert inputs["past"] is not None
        means.append(weight * target.mean())
    assert np.mean(means) == pytest.approx(batch.mean())


def test_processes_stop_together_and_resume_to_the_same_curve(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, by_two: Path
):
    steps = [0]
    folder = trained(
        tiny,
        synthetic_data,
        tmp_path,
        devices=2,
        progress=lambda report: steps.append(report["step"]),
        stop=lambda: steps[-1] >= 2,
    )
    assert 2 <= checkpoint(folder, LAST)["step"] == steps[-1]
    trained(tiny, synthetic_data, tmp_path, devices=2)
    assert_same_results(folder, by_two)


def test_an_error_in_one_process_is_raised_in_the_parent(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    with pytest.raises(NotANumber, match="loss of tiny, seed 0, is nan at step 1"):
        trained(replace(tiny, loss=not_a_number), synthetic_data, tmp_path, devices=2)


def test_the_death_of_one_process_ends_all(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    def kill_the_last(report: dict) -> None:
        if report["step"] == 2:
            os.kill(children(os.getpid())[-1], signal.SIGKILL)

    before = children(os.getpid())
    with pytest.raises(RankLost, match="ended with code -9"):
        trained(tiny, synthetic_data, tmp_path, devices=2, progress=kill_the_last)
    assert children(os.getpid()) == before


def children(process: int) -> list[int]:
    """Return the child processes of all threads of a process, the oldest first."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return sorted(int(child) for task in tasks for child in task.read_text().split())


LONG = """
import pickle, sys
import torch
from training.engine.loop import train
from training.engine.watch import Watch
if __name__ == "__main__":
    torch.set_num_threads(1)
    train(pickle.load(open(sys.argv[1], "rb")), Watch(bar=False))
"""


def test_processes_end_with_their_parent(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    long = replace(tiny, optimisation=replace(tiny.optimisation, steps=100_000, patience=100_000))
    training = Training(long, 0, synthetic_data, tmp_path, "cpu", 2)
    pickled, program = tmp_path / "training", tmp_path / "long.py"
    pickled.write_bytes(pickle.dumps(training))
    program.write_text(LONG)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, program, pickled], env=environment)
    try:

        def validated() -> bool | None:
            assert process.poll() is None
            return True if (training.folder / HISTORY).exists() else None

        until("the first validation", validated)
        ranks = children(process.pid)
        assert len(ranks) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until("the end of its processes", lambda: True if all(map(_has_ended, ranks)) else None)
    steps = [json.loads(line)["step"] for line in (training.folder / HISTORY).read_text().splitlines()]
    assert steps == sorted(steps)


def _has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
