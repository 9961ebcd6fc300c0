"""One training in several processes, one for each device (DDP by Fabric): started, watched and ended from here.

Each process is a new Python with a socket to this one: what to run arrives through it, progress and errors come back through it, and a
closed socket ends the process. Children of a worker may start such processes, which multiprocessing denies to daemons. Under torchrun, this
process is already one of the ranks.
"""

import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from training.engine.watch import Watch

POLL_S = 0.1
STOP = "stop"


class RankLost(RuntimeError):
    """A process of a training that ended without a reason: killed, or out of memory."""


def strategy(devices: int) -> Strategy | Literal["auto"]:
    """Return Fabric's strategy for a number of devices."""
    if devices == 1:
        return "auto"
    # not every batch reaches every weight: one of single hands has no gradient for the weights between two hands
    return DDPStrategy(find_unused_parameters=True)


def launch(devices: int, function: Callable[..., None], watch: Watch, *arguments: Any) -> None:
    """Call `function(watch, *arguments)` in one process for each device; several devices need both to be picklable.

    `watch` is that of this process: reports of rank 0 arrive here, and a stop reaches all ranks. Raises RankLost, and the error of the
    first rank that fails.
    """
    if devices == 1 or "LOCAL_RANK" in os.environ:
        function(watch, *arguments)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [_start(rank, port) for rank in range(devices)]
    try:
        for _, connection in ranks:
            connection.send((torch.get_num_threads(), watch.bar, function, arguments))
        _listen({connection: process for process, connection in ranks}, watch)
    finally:
        for process, connection in ranks:
            connection.close()  # which ends a process that has not ended
            process.wait()


def _start(rank: int, port: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a process that waits for what to run, and return it with this end of its socket."""
    ours, theirs = Pipe()
    environment = os.environ | {
        "LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    with theirs:
        command = [sys.executable, "-m", "training.engine.rank", str(theirs.fileno())]
        return subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()]), ours


def _listen(ranks: dict[Connection, subprocess.Popen[bytes]], watch: Watch) -> None:
    """Pass reports on to `watch`, and its stop to the ranks, until all ranks have ended."""
    reports = {"progress": watch.progress, "activity": watch.activity}
    running, stopped = list(ranks), False
    while running:
        for connection in wait(running, POLL_S):
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionResetError):
                running.remove(connection)
                if code := ranks[connection].wait():
                    raise RankLost(f"a process of the training ended with code {code}") from None
                continue
            if kind == "error":
                raise content
            reports[kind](content)
        if not stopped and watch.stop():
            stopped = True
            for connection in running:
                connection.send(STOP)


def _ended(code: int) -> str:
    return f"a process of the training ended with code {code}"


def be_rank(connection: Connection) -> None:
    """Run what arrives through the socket; end when the other side is gone, even within a collective operation."""
    threads, bar, function, arguments = connection.recv()  # pickled by the process that started this one
    torch.set_num_threads(threads)
    stop, sending = threading.Event(), threading.Lock()

    def listen() -> None:
        try:
            while connection.recv() == STOP:
                stop.set()
        except (EOFError, OSError):
            os._exit(1)

    def send(kind: str, content: Any) -> None:
        with sending:
            connection.send((kind, content))

    def report(kind: str) -> Callable[[Any], None]:
        """Return a function that reports for rank 0 and does nothing for the others."""
        return lambda content: send(kind, content) if os.environ["LOCAL_RANK"] == "0" else None

    threading.Thread(target=listen, name="listen", daemon=True).start()
    try:
        function(Watch(report("progress"), stop.is_set, bar, report("activity")), *arguments)
    except Exception as error:  # any error is raised again in the process that started the ranks
        send("error", _portable(error))
        raise SystemExit(1) from error


def _portable(error: Exception) -> Exception:
    """Return the error, or a RuntimeError in its words if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def reduced(fabric: Fabric, value: torch.Tensor, how: Literal["mean", "sum"] = "mean") -> torch.Tensor:
    """Return the mean or sum of a value over all processes, the same in each."""
    if fabric.world_size == 1:
        return value
    result: Any = fabric.all_reduce(value.to(fabric.device), reduce_op=how)
    return result


def agreed(fabric: Fabric, stop: bool) -> bool:
    """Return whether any process is to stop; all processes get the same answer."""
    return stop if fabric.world_size == 1 else bool(reduced(fabric, torch.tensor(float(stop)), "sum") > 0)


def share(fabric: Fabric, draw: Callable[[int, int], Any]) -> tuple[Any, float]:
    """Return this process's share of a batch, and the weight that makes the mean over all shares that of the whole batch.

    `draw(rank, ranks)` returns the share of a rank: inputs and target. A process whose share is empty gets that of rank 0 with weight 0.
    """
    inputs, target = draw(fabric.global_rank, fabric.world_size)
    if fabric.world_size == 1:
        return (inputs, target), 1.0
    total = float(reduced(fabric, torch.tensor(float(len(target))), "sum"))
    batch = (inputs, target) if len(target) else draw(0, fabric.world_size)
    return batch, len(target) * fabric.world_size / total
