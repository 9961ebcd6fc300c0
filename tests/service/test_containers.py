"""The files of the containers: what they copy is there, and the dashboard asks for metrics that the service has."""

import json
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_runs_as_nobody_takes_its_base_as_an_argument_and_copies_what_there_is(image):
    lines = (CHECKOUT / "docker" / f"{image}.Dockerfile").read_text().splitlines()
    code = [line for line in lines if not line.startswith("#")]
    assert code[0].startswith("ARG BASE_IMAGE=")
    assert code[1] == "FROM ${BASE_IMAGE}"
    assert "USER chiron" in code
    allowed = (CHECKOUT / ".dockerignore").read_text().splitlines()
    copied = [source for line in code if line.startswith("COPY") for source in line.split()[1:-1]]
    assert copied
    for source in copied:
        assert (CHECKOUT / source).exists()
        assert f"!{source}" in allowed
    assert ("training" in copied) == (image == "worker"), "the API has no torch"


def test_the_dashboard_asks_for_metrics_that_there_are(client):
    there = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE")}
    dashboard = json.loads((CHECKOUT / "docker" / "grafana" / "dashboards" / "chiron.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"chiron_\w+", target["expr"])
    }
    assert asked
    for name in asked:
        assert name in there or name.removesuffix("_bucket") in there, name
