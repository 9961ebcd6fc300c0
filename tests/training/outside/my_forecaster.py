"""A forecaster outside the package: a learnt linear mix of the past, with its own loss and data."""

from dataclasses import dataclass

from torch import Tensor, nn

from models.contract.task import HandForecast
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import HandData
from training.tasks.hands.windows import Window


class Mix(nn.Module):
    """The linear forecast y_t = x_T + sum_s A_ts (x_s - x_T), with learnt A."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast) -> None:
        super().__init__()
        self.task, self.mix = task, nn.Linear(task.past, task.future, bias=False)

    def forward(self, past: Tensor) -> Tensor:
        last = past[:, -1:]
        moved = self.mix((past - last).flatten(2).mT).mT
        return (last + moved.unflatten(2, past.shape[2:])).unsqueeze(1)


@dataclass(frozen=True)
class MixConfig:
    def build(self, task: HandForecast) -> nn.Module:
        return Mix(task)


def mean_square_dm2(futures: Tensor, true: Tensor, *_: Tensor) -> Tensor:
    return 100 * (futures[:, 0] - true).square().sum(dim=-1).mean()


TASK = HandForecast(past=6, future=6, fps=30)
RUN = Run(
    name="hands-mix",
    title="Hands, a learnt linear mix of the past",
    task=TASK,
    network=MixConfig(),
    data=HandData(("lab",), Window(TASK.past, TASK.future, TASK.fps), batch=4),
    licence="MIT",
    loss=mean_square_dm2,
    score=mean_square_dm2,
    optimisation=Optimisation(steps=6, warmup=1, validate_every=3, checkpoint_every=3),
)
