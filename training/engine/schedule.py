"""The optimiser of a training, and what changes from step to step: its learning rate and the momentum of batch normalisation."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from training.engine.run import Optimisation


def optimiser_of(options: Optimisation, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser: AdamW, Adam with AMSGrad (Reddi et al. 2018), or SGD with Nesterov's momentum of 0.9."""
    rate, decay, betas = options.learning_rate, options.weight_decay, (0.9, options.beta2)
    if options.algorithm == "amsgrad":
        return torch.optim.Adam(parameters, lr=rate, betas=betas, weight_decay=decay, amsgrad=True)
    if options.algorithm == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)


def learning_rate(options: Optimisation, step: int) -> float:
    """Return the learning rate of a step: a line up over `warmup` steps, then a cosine to zero at the last step, or `decay` by epochs.

    With `restarts`, the cosine begins again so many times, in equal periods (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if options.decay is not None:
        return options.learning_rate * options.decay.factor ** options.decay.times(epoch_of(options, step))
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    share = (step - options.warmup) / max(1, options.steps - options.warmup)
    periods = (1 + options.restarts) * share
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (periods - min(int(periods), options.restarts))))


def epoch_of(options: Optimisation, step: int) -> int:
    """Return the number of epochs that are complete before a step, of `epochs` equal parts of the training."""
    return step * options.epochs // options.steps


def set_norm_momentum(options: Optimisation, network: nn.Module, step: int) -> None:
    """Set the momentum of every batch normalisation to that of a step's epoch, if it has a schedule.

    It falls exponentially, first * (last / first)^(epoch / epochs), as in Pavllo et al. 2019 (arXiv:1811.11742).
    """
    if options.norm_momentum is None:
        return
    first, last = options.norm_momentum
    momentum = first * (last / first) ** (epoch_of(options, step) / options.epochs)
    for module in network.modules():
        if isinstance(getattr(module, "momentum", None), float):
            module.momentum = momentum  # pyright: ignore[reportArgumentType] - Module declares tensors and modules only
