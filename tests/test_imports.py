"""Who may import whom, and what stays unloaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
UNSEEN = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if "torch" in sys.modules:
        sys.exit(f"{module} imports torch")
"""
CONTRACT = [f"models.contract.{path.stem}" for path in (CHECKOUT / "models" / "contract").glob("[a-z]*.py")]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)


def test_the_import_rules_hold():
    done = python(LINT, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_import_rule_is_found_out(tmp_path: Path):
    rule = tmp_path / "rules.ini"
    rule.write_text(
        "[importlinter]\nroot_packages =\n    models\n    training\n"
        "[importlinter:contract:1]\nname = training stands alone\ntype = forbidden\n"
        "source_modules =\n    training\nforbidden_modules =\n    models\n"
    )
    done = python(LINT, "--no-cache", "--config", str(rule))
    assert done.returncode == 1
    assert "training stands alone BROKEN" in done.stdout


@pytest.mark.parametrize(
    "modules", [["models", *CONTRACT], ["service.app", "service.cli"]], ids=["contract", "service"]
)
def test_torch_is_not_imported_by(modules: list[str]):
    done = python(UNSEEN, *modules)
    assert done.returncode == 0, done.stderr


def test_an_import_of_torch_would_be_seen():
    done = python(UNSEEN, "models", "models.layers.perceptron")
    assert "models.layers.perceptron imports torch" in done.stderr


@pytest.mark.parametrize("package", ["models", "training", "service"])
def test_a_package_itself_is_empty(package: str):
    assert (CHECKOUT / package / "__init__.py").read_text() == ""


SESSION = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
module.onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("module", ["service.inference.predictor", "training.engine.export"])
def test_the_runtime_keeps_no_id_of_the_device_and_reports_nothing(module: str, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", SESSION, module, str(CHECKOUT / "bundles" / "hands-eqmotion" / "model.onnx")]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and "Microsoft" in path.parts]
    assert left == []
