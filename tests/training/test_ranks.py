"""Training in several processes: the curve of one, stopped together, and ended with the process that began them."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from models.contract.task import HandForecast
from training.engine.loop import (
    BEST,
    HISTORY,
    LAST,
    NotANumber,
)
from training.engine.ranks import RankLost, share
from training.engine.run import Run
from training.tasks.hands.data import HandData

from .test_loop import CHECKOUT, history, must_be_the_same, not_a_number, trained, undisturbed

pytestmark = pytest.mark.long

__all__ = ["undisturbed"]


@pytest.fixture(scope="module")
def by_two(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny run, trained by two processes in one go."""
    folder = tmp_path_factory.mktemp("by-two")
    told: list[dict] = []
    trained(tiny, made_data, folder, devices=2, progress=told.append)
    assert [said["step"] for said in told] == list(range(1, 13)), "one process tells, and nothing is lost"
    measured = [said for said in told if "score" in said]
    assert measured == [{"stage": "tiny", "seed": 0} | said for said in history(folder)]
    return folder


def test_two_processes_draw_the_curve_of_one(by_two: Path, undisturbed: Path):
    for one, two in zip(history(undisturbed), history(by_two), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    one, two = (torch.load(folder / BEST, weights_only=True)["average"] for folder in (undisturbed, by_two))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_mean_over_shares_is_that_of_the_batch_however_it_is_divided(size: int, processes: int):
    whole = np.arange(1.0, size + 1) ** 2
    means = []
    for rank in range(processes):
        fabric = Mock(spec=Fabric, global_rank=rank, world_size=processes, device=torch.device("cpu"))
        fabric.all_reduce.return_value = torch.tensor(float(size))
        (inputs, target), weight = share(fabric, lambda rank, ranks: ({"past": whole[rank::ranks]}, whole[rank::ranks]))
        assert len(target) > 0, "what has no share goes through the motions, for the others wait for it"
        assert inputs["past"] is not None
        means.append(weight * target.mean())
    assert np.mean(means) == pytest.approx(whole.mean())


def test_they_stop_together_and_go_on_to_the_same_curve(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, by_two: Path
):
    reached = 0

    def progress(said: dict) -> None:
        nonlocal reached
        reached = said["step"]

    trained(tiny, made_data, tmp_path, devices=2, progress=progress, stop=lambda: reached >= 2)
    assert 2 <= torch.load(tmp_path / LAST, weights_only=True)["step"] == reached
    trained(tiny, made_data, tmp_path, devices=2)
    must_be_the_same(tmp_path, by_two)


def test_what_one_of_them_raises_is_raised(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path):
    with pytest.raises(NotANumber, match="loss of tiny, seed 0, is nan at step 1"):
        trained(replace(tiny, loss=not_a_number), made_data, tmp_path, devices=2)


def test_one_that_is_killed_ends_them_all(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path):
    def kill_the_last(said: dict) -> None:
        if said["step"] == 2:
            os.kill(children(os.getpid())[-1], signal.SIGKILL)

    before = children(os.getpid())
    with pytest.raises(RankLost, match="ended with code -9"):
        trained(tiny, made_data, tmp_path, devices=2, progress=kill_the_last)
    assert children(os.getpid()) == before


def children(process: int) -> list[int]:
    """Of any thread of a process, the oldest first."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return sorted(int(child) for task in tasks for child in task.read_text().split())


LONG = """
import pickle, sys
import torch
from training.engine.loop import train
from training.engine.watch import Watch
if __name__ == "__main__":
    torch.set_num_threads(1)
    run, data, folder = pickle.load(open(sys.argv[1], "rb"))
    train(run, 0, data, folder, accelerator="cpu", devices=2, watch=Watch(bar=False))
"""


def test_they_die_with_the_process_that_began_them(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path):
    long = replace(tiny, optimisation=replace(tiny.optimisation, steps=100_000, patience=100_000))
    given, program = tmp_path / "given", tmp_path / "long.py"
    given.write_bytes(pickle.dumps((long, made_data, tmp_path)))
    program.write_text(LONG)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, program, given], env=environment)
    try:
        give_up = time.monotonic() + 120
        while not (tmp_path / HISTORY).exists():
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.1)
        ranks = children(process.pid)
        assert len(ranks) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    give_up = time.monotonic() + 30
    while not all(map(_is_over, ranks)):
        assert time.monotonic() < give_up, "they go on without it"
        time.sleep(0.1)
    steps = [json.loads(line)["step"] for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert steps == sorted(steps)


def _is_over(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
