"""The forecasters of the comparison by name: their networks, and what the published comparison says of them.

The published figures are of other data (Assembly101, 60+60 frames) in a unit that is not stated; only their order can be compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

from models.contract.task import HandForecast
from models.forecast.eqmotion import REFERENCE, STANDARD
from training.engine.run import Network


class UnknownModel(LookupError):
    """A name that no model of the comparison has; the message lists those that do."""


@dataclass(frozen=True)
class Published:
    """The parameters, in words, and the test loss of a model in the published comparison, where they are known."""

    size: str
    test: float | None = None


@dataclass(frozen=True)
class Model:
    """One row of the comparison; `seeds` limits the seeds of a network that is dear to train.

    A network of `any_skeleton` has no weights or bones that only hands have.
    """

    network: Callable[[], Network[HandForecast]]
    published: Published | None = None
    seeds: int = 16
    any_skeleton: bool = True


def _of(module: str, config: str, **options: Any) -> Callable[[], Network[HandForecast]]:
    """Return a function that makes the configuration of a network, so that only the networks of a table are imported."""
    return partial(_configured, module, config, options)


def _configured(module: str, config: str, options: dict[str, Any]) -> Network[HandForecast]:
    return getattr(import_module(f"models.forecast.{module}"), config)(**options)


# the published 74K: agent tokens, node features with places, neither a DCT nor a residual output
PUBLISHED_EQMOTION = replace(REFERENCE, tokens="node", dct=False, place_features=True)

MODELS: Mapping[str, Model] = {
    "Temporal": Model(_of("temporal", "TemporalConfig", residual=False), Published("15K", 0.116)),
    "GCN": Model(_of("gcn", "GCNConfig", residual=False), Published("17K", 0.128), any_skeleton=False),
    "GAT": Model(_of("gat", "GATConfig", residual=False), Published("17K", 0.118)),
    "LSTM": Model(_of("lstm", "LSTMConfig", residual=False), Published("558K", 0.129), any_skeleton=False),
    "GWNET": Model(_of("gwnet", "GWNetConfig", residual=False), Published("334K", 0.126)),
    "ENN": Model(_of("enn", "ENNConfig"), Published("3K", 0.072)),
    "ETNN": Model(_of("etnn", "ETNNConfig"), Published("17K", 0.070)),
    "EGNN": Model(_of("egnn", "EGNNConfig"), Published("17K")),
    "ESTGCN": Model(_of("estgcn", "ESTGCNConfig"), Published("44K")),
    "ATT": Model(_of("att", "ATTConfig"), Published("42K")),
    "GMN": Model(_of("gmn", "GMNConfig"), Published("27K"), any_skeleton=False),
    "LSTM (GMN)": Model(_of("gmn", "GMNConfig", memory="vectors"), Published("33K"), any_skeleton=False),
    "LSTM_INV": Model(_of("gmn", "GMNConfig", memory="invariants"), Published("33K"), any_skeleton=False),
    "EqMotion (published)": Model(lambda: PUBLISHED_EQMOTION, Published("74K", 0.103)),
    "EqMotion": Model(lambda: STANDARD),
    "siMLPe": Model(_of("simlpe", "SiMLPeConfig"), any_skeleton=False),
    "LTD": Model(_of("ltd", "LTDConfig"), seeds=1, any_skeleton=False),
}
PUBLISHED_CONSTANT = Published("0", 0.124)  # the row "hold" of this project

READ_OUTS: Mapping[str, tuple[str, str]] = {  # title -> the model without and with "residual to the last pose"
    **{name: (name, f"{name} (last pose)") for name in ("GWNET", "Temporal", "GCN", "GAT", "LSTM")},
    "EqMotion": ("EqMotion (absolute)", "EqMotion"),
}
VARIANTS: Mapping[str, Model] = {  # rows of the read-out table that the comparison lacks
    "Temporal (last pose)": Model(_of("temporal", "TemporalConfig", residual=True)),
    "GCN (last pose)": Model(_of("gcn", "GCNConfig", residual=True)),
    "GAT (last pose)": Model(_of("gat", "GATConfig", residual=True)),
    "LSTM (last pose)": Model(_of("lstm", "LSTMConfig", residual=True)),
    "GWNET (last pose)": Model(_of("gwnet", "GWNetConfig", residual=True)),
    "EqMotion (absolute)": Model(lambda: replace(STANDARD, residual_output=False)),
}
