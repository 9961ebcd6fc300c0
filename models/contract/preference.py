"""The order in which models of one kind are preferred: a model is the default only where its card shows that it wins."""

from typing import NamedTuple

import numpy as np

from models.contract.bundle import BundleMeta

ERROR = "mm"  # the unit of measurements that are errors: the less, the better
LEAST = 100  # samples; an error on fewer says little


class Standing(NamedTuple):
    """A model's test errors beside the best forecast without weights on the same data.

    Of `rows` measurements, it is better in `better`. `ratio` is the mean of its error divided by the other one.
    """

    rows: int
    better: int
    ratio: float


def standing(meta: BundleMeta) -> Standing | None:
    """Return how a model stands by its card, or None if it has no test error in millimetres, on LEAST samples, beside another one."""
    pairs = [
        (one.value, one.baseline_value)
        for one in meta.measurements
        if one.split == "test" and one.unit == ERROR and one.baseline_value and one.windows >= LEAST
    ]
    if not pairs:
        return None
    ratios = np.array([own / other for own, other in pairs])
    return Standing(len(ratios), int((ratios < 1).sum()), round(float(ratios.mean()), 3))


def preference(meta: BundleMeta) -> tuple[int, float, float, str]:
    """Return a key by which the preferred of several models is the smallest.

    Models that win by their cards come first; then models without parameters, which are what the others have to beat; then all others, by
    name. Among those that win, and among those without parameters, a forecaster that reaches further into the future comes first, since it
    answers more requests and errors over different futures do not compare; then the lower mean ratio of errors decides. Models with a
    skeleton of one's own follow all of these, in the same order: they answer no request in another.
    """
    own = 3 * (getattr(meta.task, "skeleton", None) is not None)
    place = standing(meta)
    if place is not None and (place.ratio < 1 or meta.parameters == 0):
        reach_s = getattr(meta.task, "horizon_s", 0.0)
        return own + int(place.ratio >= 1), -reach_s, place.ratio, meta.name
    return own + 2, 0.0, 0.0, meta.name
