"""A hand forecaster at another rate than its own, as the service asks it: every so many frames in, and poses between its own out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast


class Served(nn.Module):
    """A forecaster of `past` and `future` frames at `fps`, a multiple of the rate of the network that it asks.

    The network sees each `stride`-th frame, the newest among them, as far back as it looks. Poses between its own are interpolated from the
    newest pose on. Raises ValueError for another rate, and for a future that the network does not reach.
    """

    between: Tensor

    def __init__(self, network: nn.Module, past: int, future: int, fps: float) -> None:
        super().__init__()
        task: HandForecast = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
        stride = round(fps / task.fps)
        if stride < 1 or stride * task.fps != fps or future > stride * task.future:
            raise ValueError(
                f"expected a multiple of {task.fps:g} fps and at most {task.horizon_s:g} s, got {future} frames at {fps:g} fps"
            )
        self.network, self.stride = network, stride
        self.task = task.model_copy(update={"past": past, "future": future, "fps": fps})
        place = torch.arange(1, future + 1) / stride
        frames = torch.arange(task.future + 1)
        weights = (1 - (place[:, None] - frames).abs()).clamp_min(
            0
        )  # (future, the newest pose and the network's frames)
        self.register_buffer("between", weights)

    def forward(
        self, past: Float[Tensor, "batch past nodes 3"], seen: Float[Tensor, "batch past nodes"] | None = None
    ) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return the future poses of each mode, in metres."""
        task: HandForecast = self.network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
        last = past.shape[1] - 1
        frames = [max(last - self.stride * age, 0) for age in range(task.past - 1, -1, -1)]
        if seen is None:
            answer = self.network(past[:, frames])
        else:
            exist = torch.tensor([last - self.stride * age >= 0 for age in range(task.past - 1, -1, -1)])
            answer = self.network(past[:, frames], seen[:, frames] * exist[None, :, None])
        future = answer[0] if isinstance(answer, tuple) else answer
        newest = past[:, None, -1:].expand(-1, future.shape[1], -1, -1, -1)
        return torch.einsum("tf,bmfnc->bmtnc", self.between, torch.cat([newest, future], dim=2))
