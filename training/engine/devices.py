"""The device that a network computes on while it is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

Accelerator = Literal["auto", "cpu", "cuda"]


class NoDevice(ValueError):
    """A device that this machine does not have."""


def device_of(accelerator: Accelerator) -> torch.device:
    """Return the device; `auto` is a GPU if torch can use one, else the CPU. Raises NoDevice for `cuda` without a GPU."""
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise NoDevice("expected a CUDA device that torch can use, got none; --device cpu works without one")
    return torch.device("cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda")


@contextmanager
def on_device(network: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Have a network compute on `device` inside the context, though its inputs come from the CPU and its answers go back there.

    The network is on the CPU afterwards.
    """
    cpu = torch.device("cpu")
    hooks = (
        network.register_forward_pre_hook(lambda _, inputs: moved(inputs, device)),
        network.register_forward_hook(lambda _, inputs, answer: moved(answer, cpu)),
    )
    try:
        yield network.to(device)
    finally:
        for hook in hooks:
            hook.remove()
        network.to(cpu)


def moved(value: Any, device: torch.device) -> Any:
    """Return a tensor, or a tuple of tensors, on a device."""
    return tuple(moved(x, device) for x in value) if isinstance(value, tuple) else value.to(device)
