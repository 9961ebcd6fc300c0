"""A linear network that learns the mean of four numbers: a second of one core."""

from dataclasses import dataclass

from torch import Tensor, nn

from models.contract.task import ToyMean
from training.engine.run import Optimisation, Run
from training.tasks.toy.data import ToyData


class ToyNetwork(nn.Module):
    """One linear map."""

    symmetries = ()

    def __init__(self, task: ToyMean) -> None:
        super().__init__()
        self.task = task
        self.map = nn.Linear(4, 1)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.map(numbers)


@dataclass(frozen=True)
class ToyConfig:
    """The network has no options."""

    def build(self, task: ToyMean) -> nn.Module:
        return ToyNetwork(task)


def distance(answer: Tensor, target: Tensor, numbers: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return (answer - target).abs().mean()


RUN = Run(
    name="toy-mean",
    title="Toy: the mean of four numbers",
    task=ToyMean(),
    network=ToyConfig(),
    data=ToyData(),
    licence="Apache-2.0",
    loss=distance,
    score=distance,
    optimisation=Optimisation(steps=300, learning_rate=0.05, validate_every=100),
)
