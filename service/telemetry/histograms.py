"""A Prometheus histogram that one thread fills: an observation takes a tenth of the time of the library's, which locks and loops.

A forecast makes nine observations.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


class Series:
    """The observations with one set of label values."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts, self.total = [0] * (len(bounds) + 1), 0.0  # by bucket; the last is beyond every bound

    def observe(self, value: float) -> None:
        """Count a value in the bucket of the least bound that it does not exceed."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram:
    """A family of series by label values, registered under a name. Its series are filled by the event loop alone."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:  # fmt: skip
        """Register an empty histogram; `bounds` are the upper ends of its buckets, from the least on."""
        self._name, self._documentation, self._labels, self._bounds = name, documentation, tuple(labels), tuple(bounds)
        self._names = [*map(floatToGoString, bounds), "+Inf"]
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """Return the series with these label values, one for each label."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name}: expected a value for each of {self._labels}, got {values}")
            series = self._series[values] = Series(self._bounds)
        return series

    def describe(self) -> Iterator[Metric]:
        """Yield the family without its series, as the registry asks for to find names that are taken."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """Yield the family with its series; buckets are cumulative."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            cumulative, below = [], 0
            for bound, count in zip(self._names, series.counts, strict=True):
                below += count
                cumulative.append((bound, float(below)))
            family.add_metric(values, cumulative, series.total)
        yield family
