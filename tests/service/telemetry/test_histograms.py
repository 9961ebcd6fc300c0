"""Tests of histograms against those of the library."""

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.histograms import Histogram

BOUNDS = (0.001, 0.5, 1, 2.5)
VALUES = st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(-1, 10)), max_size=30)


def exposed(registry: prometheus_client.CollectorRegistry) -> set[str]:
    """Return the lines of an exposition without the times at which the library made its series."""
    lines = prometheus_client.generate_latest(registry).decode().splitlines()
    return {line for line in lines if "_created" not in line}


@given(VALUES, VALUES)
def test_an_exposition_is_that_of_the_library(ones, others):
    own, library = prometheus_client.CollectorRegistry(), prometheus_client.CollectorRegistry()
    first = Histogram("seconds", "of a part", ["route", "part"], bounds=BOUNDS, registry=own)
    second = prometheus_client.Histogram("seconds", "of a part", ["route", "part"], buckets=BOUNDS, registry=library)
    for part, values in (("decode", ones), ("encode", others)):
        for value in values:
            first.labels("/a", part).observe(value)
            second.labels("/a", part).observe(value)
    assert exposed(own) == exposed(library)


def test_a_name_is_taken_once():
    registry = prometheus_client.CollectorRegistry()
    Histogram("seconds", "of a part", bounds=BOUNDS, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus_client.Counter("seconds_count", "of a part", registry=registry)


def test_a_missing_label_is_refused():
    histogram = Histogram("s", "of", ["a", "b"], bounds=BOUNDS, registry=prometheus_client.CollectorRegistry())
    with pytest.raises(ValueError, match="a value for each"):
        histogram.labels("one")
