"""Where the random numbers of dropout stand, for a checkpoint: an interrupted run goes on with the very noise it would have had."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed


def drawn(fabric: Fabric) -> dict[str, Any]:
    """{"noise": {kind of generator: (ranks, bytes)}}: where the generators of every process stand."""
    states = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(fabric.device)
    return {"noise": {kind: _of_all(fabric, state) for kind, state in states.items()}}


def restore(fabric: Fabric, held: dict[str, torch.Tensor] | None, seed: int) -> None:
    """Go on where this process's generators stood; where nothing is held of them, begin: no two processes with the same noise."""
    mine = {
        kind: states[fabric.global_rank].cpu().clone()  # torch reads a row of a table from beyond its end
        for kind, states in (held or {}).items()
        if fabric.global_rank < len(states)
    }
    if "cpu" in mine:
        torch.set_rng_state(mine["cpu"])
    elif fabric.global_rank:
        torch.manual_seed(seed * fabric.world_size + fabric.global_rank)
    if "cuda" in mine and fabric.device.type == "cuda":
        torch.cuda.set_rng_state(mine["cuda"], fabric.device)


def _of_all(fabric: Fabric, state: torch.Tensor) -> torch.Tensor:
    mine = state.to(fabric.device)
    every = [mine]
    if fabric.world_size > 1:
        every = [torch.empty_like(mine) for _ in range(fabric.world_size)]
        distributed.all_gather(every, mine)
    return torch.stack(every).cpu()
