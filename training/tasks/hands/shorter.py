"""A masked hand forecaster as one with a shorter past and future: it is told that the earlier frames were not seen."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast


class Shorter(nn.Module):
    """A forecaster of `past` and `future` frames by one of a masked task with longer ones. Raises ValueError for any other."""

    def __init__(self, network: nn.Module, past: int, future: int) -> None:
        super().__init__()
        task: HandForecast = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
        if not task.masked or past > task.past or future > task.future:
            raise ValueError(
                f"expected a masked task with at least {past} past and {future} future frames, got "
                f"{'a' if task.masked else 'an un'}masked one with {task.past} and {task.future}"
            )
        self.network, self.earlier = network, task.past - past
        self.task = task.model_copy(update={"past": past, "future": future})

    def forward(
        self, past: Float[Tensor, "batch past nodes 3"], seen: Float[Tensor, "batch past nodes"]
    ) -> tuple[Tensor, ...]:
        """Return the first frames of the network's future and of its deviations, and its probabilities."""
        answer = self.network(F.pad(past, (0, 0, 0, 0, self.earlier, 0)), F.pad(seen, (0, 0, self.earlier, 0)))
        future, *rest = answer if isinstance(answer, tuple) else (answer,)
        first = self.task.future
        return (future[:, :, :first], *(x[:, :first] if x.ndim == 3 else x for x in rest))
