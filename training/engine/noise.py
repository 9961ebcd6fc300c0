"""The state of the random number generators of dropout, in a checkpoint: a resumed run draws the numbers it would have drawn."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed


def drawn(fabric: Fabric) -> dict[str, Any]:
    """Return {"noise": {kind of generator: (ranks, bytes)}}, the states of every process's generators."""
    states = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(fabric.device)
    return {"noise": {kind: _of_all(fabric, state) for kind, state in states.items()}}


def restore(fabric: Fabric, states: dict[str, torch.Tensor] | None, seed: int) -> None:
    """Set this process's generators to their saved states; without any, seed them so that no two processes draw the same."""
    mine = {
        kind: of_ranks[fabric.global_rank].cpu().clone()  # torch reads beyond the end of a row of a table
        for kind, of_ranks in (states or {}).items()
        if fabric.global_rank < len(of_ranks)
    }
    if "cpu" in mine:
        torch.set_rng_state(mine["cpu"])
    elif fabric.global_rank:
        torch.manual_seed(seed * fabric.world_size + fabric.global_rank)
    if "cuda" in mine and fabric.device.type == "cuda":
        torch.cuda.set_rng_state(mine["cuda"], fabric.device)


def _of_all(fabric: Fabric, state: torch.Tensor) -> torch.Tensor:
    """Return the states of all processes, stacked."""
    mine = state.to(fabric.device)
    every = [mine]
    if fabric.world_size > 1:
        every = [torch.empty_like(mine) for _ in range(fabric.world_size)]
        distributed.all_gather(every, mine)
    return torch.stack(every).cpu()
