"""Test of runs whose data have no validation samples."""

from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.engine.loop import NothingToValidate, validate
from training.engine.run import Run
from training.tasks.hands.data import HandBatches


@pytest.mark.parametrize("windows", [None, 0])
def test_data_without_validation_samples_are_refused(tiny: Run, synthetic_data: Path, windows: int | None):
    class Empty(HandBatches):
        def validation_batches(self, limit: int = 500):
            if windows is not None:
                past = np.zeros((windows, 6, 21, 3), np.float32)
                yield "leap", ({"past": past}, past)

    class Still(nn.Module):
        def forward(self, past: Tensor) -> Tensor:
            return past.unsqueeze(1)

    with pytest.raises(NothingToValidate, match=f"expected validation samples for {tiny.name}, got none"):
        validate(Fabric(accelerator="cpu"), tiny, Still(), Empty(tiny.data, synthetic_data))
