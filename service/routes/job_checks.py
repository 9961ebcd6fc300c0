"""Checks of a job before it is queued: its names, fields and bundle, as far as this process knows them.

The API does not import training. It knows the names and fields that workers have published, and the metadata of bundles; whatever else is
wrong, the job says.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import ValidationError

from models.contract.bundle import BadBundle
from models.contract.grid import OF_TRAINING
from models.contract.spec import JOB_SPEC, OWN_RUNS, AnySpec, SweepSpec, TrainSpec
from models.skeletons.faults import shown
from service.http.decoding import malformed
from service.http.problems import Problem
from service.jobs.offers import OfferTable
from service.registry.catalogue import Catalogue
from service.registry.local import StoreAway
from service.registry.versions import UnknownVersion

SHOWN_NAMES = 5  # of runs in a problem
KINDS = [one.model_fields["kind"].default for one in get_args(AnySpec)]


def spec_of(body: bytes) -> AnySpec:
    """Return the spec in a request body. Raises the problems malformed-body and invalid-request."""
    try:
        return JOB_SPEC.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise malformed(body, ValueError(first["msg"])) from None
        if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
            raise Problem.at("invalid-request", "/kind", f"expected one of {', '.join(KINDS)}{_got(first)}") from None
        raise Problem.of_fields(error.errors(), lambda at: "".join(f"/{part}" for part in at[1:])) from None


def _got(error: Any) -> str:
    return f", got {shown(error['ctx']['tag'])}" if "tag" in error["ctx"] else ", got none"


def refuse_unknown(spec: AnySpec, offers: OfferTable, catalogue: Catalogue) -> None:
    """Raise the problem invalid-request for a name or field that no worker has published, or a base that does not fit.

    Any name is accepted if no worker has published one yet. Raises StoreUnavailable.
    """
    field: Literal["run", "table"] = "table" if spec.kind == "benchmark" else "run"
    name = getattr(spec, field, None)
    if name is None:  # a check has neither
        return
    names = offers.names(field)
    if names and name not in names:
        raise _unknown(field, name, names)
    if isinstance(spec, TrainSpec | SweepSpec):
        _refuse_training(spec, names, offers, catalogue)


def _refuse_training(
    spec: TrainSpec | SweepSpec, runs: Collection[str], offers: OfferTable, catalogue: Catalogue
) -> None:
    if spec.name is not None and spec.name != spec.run and spec.name in runs:
        detail = f"{spec.name!r} is the name of a run that comes with the package; choose another"
        raise Problem.at("invalid-request", "/name", detail)
    if spec.base is not None:
        _refuse_base(spec.run, spec.base, catalogue)
    if spec.architecture is not None:
        known = offers.names("architecture")
        if known and _plain(spec.architecture) not in map(_plain, known):
            raise _unknown("architecture", spec.architecture, known, len(known))
    elif spec.base is None:  # otherwise the network may be another than the run's
        _refuse_fields(spec, offers.fields(spec.run))


def _unknown(field: str, name: str, names: list[str], most: int = SHOWN_NAMES) -> Problem:
    """Return the problem of a name that is not among `names`, with similar ones if they are more than `most`."""
    similar = names if len(names) <= most else get_close_matches(name, names, most, 0.3)
    shown = f"{', '.join(similar)}{'' if similar == names else f', ... ({len(names)} in all)'}"
    return Problem.at("invalid-request", f"/{field}", f"no {field} {name!r}; there are {shown}")


def _plain(name: str) -> str:
    """Return the letters and digits of a name in lower case, by which training compares architectures."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _refuse_base(run: str, base: str, catalogue: Catalogue) -> None:
    """Raise the problem invalid-request for a base that does not exist, or that is of another kind of task than the run."""
    name, _, version = base.partition("@")
    try:
        meta = catalogue.meta(name, version)
    except UnknownVersion as error:
        raise Problem.at("invalid-request", "/base", str(error)) from None
    except (StoreAway, BadBundle):  # the job says so, if it still is so then
        return
    expected = _kind_of(run, catalogue)
    if meta is not None and expected not in (None, meta.task.kind):
        detail = f"expected a model of the task {expected} of {run}, got {name}, of the task {meta.task.kind}"
        raise Problem.at("invalid-request", "/base", detail)


def _kind_of(run: str, catalogue: Catalogue) -> str | None:
    """Return the kind of task of a run: of the bundle that has its name, None without one."""
    if run in OWN_RUNS:
        return OWN_RUNS[run]
    try:
        meta = catalogue.meta(run)
    except (UnknownVersion, StoreAway, BadBundle):
        return None
    return meta and meta.task.kind


def _refuse_fields(spec: TrainSpec | SweepSpec, fields: list[str] | None) -> None:
    """Raise the problem invalid-request for a field that the run's network lacks; accept any if none have been published."""
    if fields is None:
        return
    given: list[tuple[str, Iterable[str], set[str]]] = [("network", spec.network, {*fields})]
    if isinstance(spec, SweepSpec):
        given.append(("grid", spec.grid, {*fields, *OF_TRAINING}))
    for at, names, known in given:
        for unknown in sorted(set(names) - known):
            there = ", ".join(sorted(known)) or "none"
            detail = f"{spec.run} has no field {unknown!r}; there are {there}"
            raise Problem.at("invalid-request", f"/{at}/{unknown}", detail)
