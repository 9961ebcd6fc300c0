"""Tests of deploy/ and of the alerts: manifests against the published schemas, proxies that run, and metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from benchmarks.proxies import CHECKS, proxied
from service.settings import unknown_variables

CHECKOUT = Path(__file__).resolve().parents[1]
KUBERNETES = CHECKOUT / "deploy/kubernetes"
SCHEMAS = "1.32"  # of Kubernetes
MANIFESTS = sorted(
    path
    for folder in ("base", "components/stores")
    for path in (KUBERNETES / folder).glob("*.yaml")
    if path.name != "kustomization.yaml"
)
KUSTOMIZE = next(
    ([name, *rest] for name, *rest in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(name)), None
)
needs_kustomize = pytest.mark.skipif(KUSTOMIZE is None, reason="neither kustomize nor kubectl is installed")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_fits_the_published_schema(path):
    for manifest in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(manifest, SCHEMAS, strict=True)


def test_the_schema_refuses_a_field_that_does_not_exist():
    (budget, *_) = (one for one in of_kind("PodDisruptionBudget"))
    budget["spec"]["minAvailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="minAvailabel"):
        kubernetes_validate.validate(budget, SCHEMAS, strict=True)


def of_kind(kind: str) -> list[dict[str, Any]]:
    """Return all manifests of a kind."""
    every = [manifest for path in MANIFESTS for manifest in yaml.safe_load_all(path.read_text())]
    return [manifest for manifest in every if manifest["kind"] == kind]


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
@needs_kustomize
def test_an_overlay_builds_and_each_of_its_resources_fits_the_schema(overlay, tmp_path):
    resources = build(overlay, tmp_path)
    for resource in resources:
        kubernetes_validate.validate(resource, SCHEMAS, strict=True)
    workloads = [one for one in resources if one["kind"] in ("Deployment", "StatefulSet")]
    names = {(one["kind"], one["metadata"]["name"]) for one in resources}
    assert {one["metadata"]["name"] for one in workloads} >= {"chiron-api", "chiron-worker"}
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert (
            workload["spec"]["selector"]["matchLabels"].items()
            <= workload["spec"]["template"]["metadata"]["labels"].items()
        )
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            for source in container.get("envFrom", []):
                (reference,) = source.values()
                assert (
                    {"configMapRef": "ConfigMap", "secretRef": "Secret"}[next(iter(source))],
                    reference["name"],
                ) in names


@needs_kustomize
def test_the_gpu_overlay_gives_each_worker_a_gpu_and_grows_with_its_queue(tmp_path):
    resources = {(one["kind"], one["metadata"]["name"]): one for one in build("gpu", tmp_path)}
    (worker,) = resources["Deployment", "chiron-worker"]["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {mount["mountPath"] for mount in worker["volumeMounts"]} == {"/state", "/data", "/tmp", "/dev/shm"}
    (metric,) = resources["HorizontalPodAutoscaler", "chiron-worker"]["spec"]["metrics"]
    assert metric["external"]["metric"]["selector"]["matchLabels"] == {"queue": "gpu"}


@needs_kustomize
def test_an_overlay_without_its_secret_does_not_build(tmp_path):
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("secret.env"))
    assert KUSTOMIZE is not None
    built = subprocess.run([*KUSTOMIZE, str(tmp_path / "kubernetes/overlays/cpu")], capture_output=True, text=True)
    assert built.returncode != 0
    assert "secret.env" in built.stderr


def build(overlay: str, folder: Path) -> list[dict[str, Any]]:
    """Return the resources of an overlay with its example as secret."""
    shutil.copytree(KUBERNETES, folder / "kubernetes")
    place = folder / "kubernetes/overlays" / overlay
    shutil.copy(place / "secret.env.example", place / "secret.env")
    assert KUSTOMIZE is not None
    built = subprocess.run([*KUSTOMIZE, str(place)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(built.stdout))


def test_every_setting_that_the_manifests_make_exists():
    base = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    lines = [line for one in base["configMapGenerator"] for line in one["literals"]]
    for example in KUBERNETES.glob("overlays/*/secret.env.example"):
        lines += example.read_text().split()
    variables = {line.partition("=")[0] for line in lines}
    assert not unknown_variables(name for name in variables if name.startswith("CHIRON_"))
    (drain,) = (float(line.partition("=")[2]) for line in lines if line.startswith("CHIRON_DRAIN_DELAY_S="))
    (api,) = (one for one in of_kind("Deployment") if one["metadata"]["name"] == "chiron-api")
    assert api["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain + 10


def test_no_secret_is_committed():
    assert (KUBERNETES / ".gitignore").read_text().split() == ["secret.env"]


def metrics_of(expression: str) -> set[str]:
    """Return the names of Chiron's metrics in an expression of Prometheus."""
    return set(re.findall(r"\bchiron_\w+", expression))


def test_alerts_and_dashboard_name_metrics_that_exist():
    sources = "".join(
        (CHECKOUT / path).read_text() for path in ("service/telemetry/metrics.py", "service/jobs/metrics.py")
    )
    exist = set(re.findall(r'"(chiron_\w+)"', sources))
    rules = [
        rule
        for group in yaml.safe_load((CHECKOUT / "docker/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    dashboard = (CHECKOUT / "docker/grafana/dashboards/chiron.json").read_text()
    adapter = (KUBERNETES / "prometheus-adapter.yaml").read_text()
    named = metrics_of(dashboard) | metrics_of(adapter) | {name for rule in rules for name in metrics_of(rule["expr"])}
    (as_name,) = {rule["name"]["as"] for rule in yaml.safe_load(adapter)["rules"]["external"]}
    (growth,) = (one for one in of_kind("HorizontalPodAutoscaler") if one["metadata"]["name"] == "chiron-worker")
    assert growth["spec"]["metrics"][0]["external"]["metric"]["name"] == as_name
    assert len(named) > 10
    for name in named - {as_name}:
        assert re.sub(r"_(total|bucket|sum|count)$", "", name) in exist, f"expected {name} to be a metric"


def test_every_alert_is_tried_and_has_a_page():
    alerts = re.findall(r"alert: (\w+)", (CHECKOUT / "docker/alerts.yml").read_text())
    tried = re.findall(r"alertname: (\w+)\n\s+exp_alerts", (CHECKOUT / "docker/alerts_test.yml").read_text())
    page = (CHECKOUT / "docs/operations.md").read_text()
    assert set(tried) == set(alerts)
    assert not [name for name in alerts if f"`{name}`" not in page]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_alerts_fire_when_they_should():
    subprocess.run(["promtool", "test", "rules", str(CHECKOUT / "docker/alerts_test.yml")], check=True)


@pytest.mark.long(10)
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_service_works_under_a_prefix_behind_a_proxy(kind, tmp_path):
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    shutil.copytree(CHECKOUT / "bundles/hands-damped", tmp_path / "hands-damped")
    with proxied(kind, tmp_path) as client:
        for check in CHECKS:
            check(client)
