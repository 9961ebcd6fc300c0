"""Tests of the Dockerfiles, docker-compose.yml, and the configuration of Prometheus and Grafana."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.jobs.database import open_database
from service.jobs.workers import WorkerTable, queues_of

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _code(dockerfile: str) -> list[str]:
    lines = (CHECKOUT / dockerfile).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_is_unprivileged_has_a_base_argument_and_copies_existing_sources(image):
    code = _code(f"docker/{image}.Dockerfile")
    assert code[0].startswith("ARG BASE_IMAGE=")
    assert code[1] == "FROM ${BASE_IMAGE}"
    assert "USER chiron" in code
    allowed = (CHECKOUT / ".dockerignore").read_text().splitlines()
    copied = [source for line in code if line.startswith("COPY") for source in line.split()[1:-1]]
    assert copied
    for source in copied:
        assert (CHECKOUT / source).exists()
        assert f"!{source}" in allowed
    assert ("training" in copied) == (image == "worker"), "expected training in the worker's image only"


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_installs_the_tested_versions_and_has_the_licence(image):
    code = _code(f"docker/{image}.Dockerfile")
    installs = [number for number, line in enumerate(code) if "pip install" in line]
    copies = {source: number for number, line in enumerate(code) if line.startswith("COPY") for source in line.split()}
    assert installs
    for number in installs:
        assert "--constraint constraints.txt" in code[number]
        assert copies["constraints.txt"] < number
    assert {"LICENSE", "NOTICE"} <= copies.keys()


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_disables_the_telemetry_of_onnx_runtime(image):
    assert any("ORT_DISABLE_TELEMETRY=1" in line for line in _code(f"docker/{image}.Dockerfile"))


def test_compose_builds_each_image_once_with_arguments_that_it_declares():
    built = {name: service["build"] for name, service in SERVICES.items() if "build" in service}
    assert built
    for build in built.values():
        declared = {line.split()[1].partition("=")[0] for line in _code(build["dockerfile"]) if line.startswith("ARG ")}
        assert set(build["args"]) <= declared
    names = [SERVICES[name]["image"] for name in built]
    assert len(set(names)) == len(names), "expected different image names, since builds run concurrently"
    for service in SERVICES.values():
        assert service["image"] in names or ":" in service["image"], (
            f"expected {service['image']} to be built or to have a tag"
        )


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_has_a_health_check_a_memory_limit_and_existing_mounts(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert not (service.get("read_only") and service.get("configs")), (
        "expected no configs: they are copied into the root"
    )
    for mount in service["volumes"]:
        source = mount["source"] if isinstance(mount, dict) else mount.partition(":")[0]
        if source.startswith("./"):
            assert (CHECKOUT / source).exists()
        elif not source.startswith("$"):
            assert source in COMPOSE["volumes"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", ["api", "api-gpu", "worker", "worker-gpu"])
def test_a_service_of_ours_has_a_bounded_log_and_time_to_stop(name):
    service = SERVICES[name]
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_compose_refuses_a_data_folder_that_does_not_exist(name):
    (data,) = [mount for mount in SERVICES[name]["volumes"] if isinstance(mount, dict) and mount["target"] == "/data"]
    assert (data["bind"]["create_host_path"], data["read_only"]) == (False, True)


def test_a_worker_is_healthy_while_its_heartbeat_is_recent(tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    workers = WorkerTable(open_database(url), lease_s=60)
    mine, queues = f"{socket.gethostname()}:1:abc", queues_of("cpu", 1)

    def healthy() -> bool:
        _, python, *arguments = SERVICES["worker"]["healthcheck"]["test"]
        assert python == "python"
        environment = {**os.environ, "CHIRON_DATABASE_URL": url, "PYTHONPATH": str(CHECKOUT)}
        process = subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, text=True, env=environment
        )
        assert "Traceback" not in process.stderr, process.stderr
        return process.returncode == 0

    workers.register("another:1:abc", queues, "cpu")
    assert not healthy()
    workers.register(mine, queues, "cpu")
    assert healthy()
    workers.register(mine, queues, "cpu", problem="there is no data folder /data")
    assert not healthy()
    workers.register(mine, queues, "cpu", failed_starts=1)
    assert not healthy()
    workers.register(mine, queues, "cpu")
    assert healthy()
    workers.unregister(mine)
    assert not healthy()


def test_the_gpu_profile_reserves_a_gpu_and_installs_its_runtime():
    api = SERVICES["api-gpu"]
    assert api["profiles"] == ["gpu"]
    assert api["build"]["args"]["EXTRA"] == "gpu"
    assert api["environment"]["CHIRON_DEVICE"] == "cuda"
    (device,) = api["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(requirement.startswith("onnxruntime-gpu[cuda,cudnn]") for requirement in extras["gpu"])


def test_prometheus_uses_the_port_of_the_api_and_the_first_of_several_keys(tmp_path):
    (job,) = yaml.safe_load((CHECKOUT / "docker" / "prometheus.yml").read_text())["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert set(discovery["names"]) == {name for name in SERVICES if name.startswith("api")}
    assert f"EXPOSE {discovery['port']}" in _code("docker/api.Dockerfile")
    service, key_file = SERVICES["prometheus"], job["authorization"]["credentials_file"]
    assert service["environment"]["KEYS"] == "${CHIRON_METRICS_KEY:-${CHIRON_API_KEYS:-local}}"
    assert service["entrypoint"] == ["sh", "-c"]
    (script,) = service["command"]
    assert key_file in script
    script = script.replace("$$", "$").replace(key_file, str(tmp_path / "key")).replace("exec prometheus", "exec echo")
    for keys, expected in (("local", "local"), ("first,second", "first")):
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, env={**os.environ, "KEYS": keys})
        assert (tmp_path / "key").read_text() == expected


def test_the_dashboard_queries_existing_metrics(client):
    metrics = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE")}
    dashboard = json.loads((CHECKOUT / "docker" / "grafana" / "dashboards" / "chiron.json").read_text())
    queried = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"chiron_\w+", target["expr"])
    }
    assert queried
    for name in queried:
        assert name in metrics or name.removesuffix("_bucket") in metrics, f"expected the metric {name}"
