"""One training in several processes, one a device (DDP by Fabric): begun from here, watched from here, and ended with this process.

Each is a new Python, told what to do through a socket of its own; what it says comes back through it, and where it breaks off the other
side is gone. A worker's child may have such processes, which multiprocessing would deny it. Where something else has begun the ranks
(torchrun), this process is one of them.
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
    """A process of a training ended without saying why: killed, or out of memory."""


def strategy(devices: int) -> Strategy | Literal["auto"]:
    """How Fabric is to use so many devices."""
    if devices == 1:
        return "auto"
    # not every batch reaches every weight: one of single hands has nothing to say of how two hands move
    return DDPStrategy(find_unused_parameters=True)


def launch(devices: int, function: Callable[..., None], watch: Watch, *given: Any) -> None:
    """Call `function(watch, *given)` in a process for each device; where there are several, both can be pickled.

    `watch` is this process's: what rank 0 tells it arrives here, and all are stopped together. Raises RankLost, and what the first to fail
    raised.
    """
    if devices == 1 or "LOCAL_RANK" in os.environ:
        function(watch, *given)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [_begin(rank, port) for rank in range(devices)]
    try:
        for _, ours in ranks:
            ours.send((torch.get_num_threads(), watch.bar, function, given))
        _listen({ours: process for process, ours in ranks}, watch)
    finally:
        for process, ours in ranks:
            ours.close()  # which ends it, if it has not ended
            process.wait()


def _begin(rank: int, port: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """A process that waits to be told what to do, and this end of its socket."""
    ours, its = Pipe()
    environment = os.environ | {
        "LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    with its:
        command = [sys.executable, "-m", "training.engine.rank", str(its.fileno())]
        return subprocess.Popen(command, env=environment, pass_fds=[its.fileno()]), ours


def _listen(ranks: dict[Connection, subprocess.Popen[bytes]], watch: Watch) -> None:
    """Pass on what they say until all have ended."""
    open_ones, stopped = list(ranks), False
    while open_ones:
        for connection in wait(open_ones, POLL_S):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except (EOFError, ConnectionResetError):
                open_ones.remove(connection)
                if code := ranks[connection].wait():
                    raise RankLost(f"a process of the training ended with code {code}") from None
                continue
            if isinstance(said, Exception):
                raise said
            watch.progress(said)
        if not stopped and watch.stop():
            stopped = True
            for connection in open_ones:
                connection.send(STOP)


def be_rank(connection: Connection) -> None:
    """What each process does: as it is told. It ends when the other side is gone, even in the middle of a collective operation."""
    threads, bar, function, given = connection.recv()  # pickled by the process that began this one
    torch.set_num_threads(threads)
    stop, saying = threading.Event(), threading.Lock()

    def hear() -> None:
        try:
            while connection.recv() == STOP:
                stop.set()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=hear, name="hear", daemon=True).start()

    def say(what: Any) -> None:
        with saying:
            connection.send(what)

    tells = say if os.environ["LOCAL_RANK"] == "0" else _nothing
    try:
        function(Watch(tells, stop.is_set, bar), *given)
    except Exception as error:  # whatever it is, it is raised where the ranks were begun
        say(_portable(error))
        raise SystemExit(1) from error


def _nothing(_: Any) -> None: ...


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def reduced(fabric: Fabric, value: torch.Tensor, how: Literal["mean", "sum"] = "mean") -> torch.Tensor:
    """The mean or sum of a value over all processes, the same in each."""
    if fabric.world_size == 1:
        return value
    found: Any = fabric.all_reduce(value.to(fabric.device), reduce_op=how)
    return found


def agreed(fabric: Fabric, stop: bool) -> bool:
    """Whether any process was told to stop; all get the same answer."""
    return stop if fabric.world_size == 1 else bool(reduced(fabric, torch.tensor(float(stop)), "sum") > 0)


def share(fabric: Fabric, draw: Callable[[int, int], Any]) -> tuple[Any, float]:
    """This process's share of a batch, and what a mean over it counts for, so that the mean over all is that of the whole batch.

    `draw(rank, ranks)` is the share of a rank: inputs and target. One that has none gets that of rank 0, which counts nothing.
    """
    inputs, target = draw(fabric.global_rank, fabric.world_size)
    if fabric.world_size == 1:
        return (inputs, target), 1.0
    whole = float(reduced(fabric, torch.tensor(float(len(target))), "sum"))
    batch = (inputs, target) if len(target) else draw(0, fabric.world_size)
    return batch, len(target) * fabric.world_size / whole
