"""Tests of metrics: counters, histograms and their labels."""

import pytest
from hand_motion import moving_hands
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

from ..exchange import CLOUD, FACE_URL, HANDS_URL, NPY, npy

BODY = {"fps": 30, "past": moving_hands(30, hands=1).tolist(), "model": "hands-thirty"}


def samples(client) -> dict[tuple, float]:
    text = client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def increase(client, name: str, act, **labels: str) -> float:
    """Return the increase of a metric with these labels while `act` runs."""

    def total() -> float:
        return sum(v for key, v in samples(client).items() if key[0] == name and set(labels.items()) <= set(key[1:]))

    before = total()
    act()
    return total() - before


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("chiron_requests_total", {"route": HANDS_URL, "method": "POST", "status": "200"}),
        ("chiron_request_seconds_count", {"route": HANDS_URL}),
        ("chiron_queue_seconds_count", {"model": "hands-thirty"}),
        ("chiron_compute_seconds_count", {"model": "hands-thirty"}),
        ("chiron_batch_items_sum", {"model": "hands-thirty"}),
        ("chiron_stage_seconds_count", {"route": HANDS_URL, "stage": "decode"}),
        ("chiron_stage_seconds_count", {"route": HANDS_URL, "stage": "encode"}),
    ],
)
def test_a_forecast_is_counted_once(client, name, labels):
    assert increase(client, name, lambda: client.post(HANDS_URL, json=BODY), **labels) == 1


@pytest.mark.parametrize(
    ("name", "labels", "times"),
    [
        ("chiron_requests_total", {"route": FACE_URL, "method": "POST", "status": "200"}, 1),
        ("chiron_compute_seconds_count", {"model": "face-shells"}, 1),
        ("chiron_stage_seconds_count", {"route": FACE_URL, "stage": "decode"}, 1),
        ("chiron_stage_seconds_count", {"route": FACE_URL, "stage": "prepare"}, 1),
        ("chiron_stage_seconds_count", {"route": FACE_URL, "stage": "step"}, 2),
        ("chiron_stage_seconds_count", {"route": FACE_URL, "stage": "encode"}, 1),
    ],
)
def test_a_scan_is_counted_once_with_a_step_before_and_after_the_network(client, name, labels, times):
    def act() -> None:
        client.post(FACE_URL, content=npy(CLOUD), headers={"content-type": NPY})

    assert increase(client, name, act, **labels) == times


def test_errors_are_counted_by_route_and_status(client):
    def act() -> None:
        client.post(HANDS_URL, content=b"{", headers={"content-type": "application/json"})

    assert increase(client, "chiron_requests_total", act, route=HANDS_URL, status="400") == 1


def test_unknown_paths_and_methods_share_one_time_series(client):
    def act() -> None:
        for i in range(5):
            client.request(f"BREW{i}", f"/nothing/{i}")

    assert increase(client, "chiron_requests_total", act, route="unmatched", method="other") == 5
    assert not any("BREW" in str(key) for key in samples(client))


def test_a_request_is_counted_under_its_route_and_not_its_path(client):
    assert increase(client, "chiron_requests_total", lambda: client.get("/models/nobody"), route="/models/{name}") == 1


def test_every_model_has_its_version_and_provider(client, bundles):
    infos = [dict(key[1:]) for key in samples(client) if key[0] == "chiron_model_info"]
    assert {info["model"] for info in infos} == {path.name for path in bundles.iterdir()}
    assert all(info["version"] and info["provider"] for info in infos)


def test_the_delay_of_the_event_loop_is_measured_all_the_time(client):
    name = ("chiron_event_loop_lag_seconds_count",)
    before = samples(client)[name]
    until("it is measured again", lambda: True if samples(client)[name] > before else None)
