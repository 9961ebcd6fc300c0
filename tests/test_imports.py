"""Tests of the code's structure: import rules, import depth, module lengths, and libraries that are not loaded."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("models", "training", "service", "benchmarks")
FLOORS = {"service": 8, "training": 5, "models": 4}
LONGEST_MODULE, LONGEST_TEST = 350, 400
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
IMPORT_WITHOUT_TORCH = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if "torch" in sys.modules:
        sys.exit(f"{module} imports torch")
"""
TORCH_FREE = ["contract", "skeletons", "motion", "scans", "pictures"]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False, capture_output=True, text=True)


def modules_in(*folders: str) -> list[Path]:
    paths = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    assert paths
    return paths


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def relative(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


# --- the import graph ---


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imports_between(graph: grimp.ImportGraph, package: str, depth: int) -> dict[str, set[str]]:
    """Map each part of a package to the parts that it imports; a part is a module or package `depth` levels down."""

    def part(module: str) -> str:
        return ".".join(module.split(".")[: depth + 1])

    modules = {module for module in graph.modules if module.startswith(f"{package}.")}
    parts: dict[str, set[str]] = {part(module): set() for module in modules}
    for module in modules:
        imported = graph.find_modules_directly_imported_by(module) & modules
        parts[part(module)] |= {part(other) for other in imported} - {part(module)}
    return parts


def longest_chain(parts: dict[str, set[str]]) -> list[str]:
    """Return the longest chain of imports, from the bottom; raise CycleError if the parts import each other in a cycle."""
    chains: dict[str, list[str]] = {}
    for part in TopologicalSorter(parts).static_order():
        below = max((chains[other] for other in parts[part]), key=len, default=[])
        chains[part] = [*below, part]
    return max(chains.values(), key=len)


@pytest.mark.parametrize("package", FLOORS)
def test_import_chains_between_the_parts_of_a_package_are_short_and_acyclic(graph, package: str):
    chain = longest_chain(imports_between(graph, package, depth=1))
    assert len(chain) <= FLOORS[package], " < ".join(chain)


@pytest.mark.parametrize("package", FLOORS)
def test_modules_do_not_import_each_other_in_a_cycle(graph, package: str):
    assert longest_chain(imports_between(graph, package, depth=99))


def test_the_longest_import_chain_is_found():
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}) == ["c", "b", "a"]


def test_an_import_cycle_is_detected():
    with pytest.raises(ValueError, match="cycle"):
        longest_chain({"a": {"b"}, "b": {"c"}, "c": {"a"}})


# --- the rules of import-linter ---


def test_the_code_obeys_the_import_rules():
    process = python(LINT, "--no-cache")
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_broken_import_rule_is_detected(tmp_path: Path):
    rule = tmp_path / "rules.ini"
    rule.write_text(
        "[importlinter]\nroot_packages =\n    models\n    training\n"
        "[importlinter:contract:1]\nname = training stands alone\ntype = forbidden\n"
        "source_modules =\n    training\nforbidden_modules =\n    models\n"
    )
    process = python(LINT, "--no-cache", "--config", str(rule))
    assert process.returncode == 1
    assert "training stands alone BROKEN" in process.stdout


# --- where libraries and statuses are used ---


def importers_of(library: str, *folders: str) -> list[str]:
    def imports(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module

    def is_importer(path: Path) -> bool:
        names = [name for node in ast.walk(tree_of(path)) for name in imports(node)]
        return any(name.partition(".")[0] == library for name in names)

    return [relative(path) for path in modules_in(*folders) if is_importer(path)]


def test_only_pictures_plots_and_curves_import_matplotlib():
    importers = importers_of("matplotlib", *PACKAGES)
    assert importers
    for path in importers:
        assert path.startswith("models/pictures/") or Path(path).stem in ("plots", "curves"), path


def test_only_jobs_import_the_queue():
    for library in ("celery", "kombu", "redis"):
        importers = importers_of(library, "service")
        assert importers
        assert all(path.startswith("service/jobs/") for path in importers), importers


def statuses_in(tree: ast.Module) -> list[int]:
    """List the line of each HTTP status that is written as a number in an argument, value or operand named after a status."""

    def names_status(node: ast.AST | None) -> bool:
        return node is not None and "status" in ast.unparse(node).lower()

    def is_status(node: ast.AST) -> bool:
        return any(
            isinstance(part, ast.Constant) and type(part.value) is int and 100 <= part.value < 600
            for part in ast.walk(node)
        )

    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            matches = names_status(ast.Name(node.arg or "")) and is_status(node.value)
        elif isinstance(node, ast.Compare):
            matches = names_status(node) and is_status(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            matches = any(map(names_status, targets)) and node.value is not None and is_status(node.value)
        else:
            matches = isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("HTTPStatus.", "status.HTTP_"))
        if matches:
            lines.append(getattr(node, "lineno", 0))
    return lines


def test_only_the_problems_module_contains_http_statuses():
    statuses = {relative(path): statuses_in(tree_of(path)) for path in modules_in("service")}
    assert statuses.pop("service/http/problems.py")
    assert {path: lines for path, lines in statuses.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "get(status_code=404)",
        "status = 500",
        "ok = answer.status in (400, 416)",
        "x = HTTPStatus.OK",
        "a, status = 1, 200",
    ],
)
def test_a_status_that_is_written_as_a_number_is_detected(code: str):
    assert statuses_in(ast.parse(code)) == [1]


# --- sizes ---


def test_no_module_is_too_long():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in modules_in(*PACKAGES)}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_test_module_is_too_long():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in modules_in("tests")}
    assert {path: length for path, length in lengths.items() if length > LONGEST_TEST} == {}


def test_the_root_of_the_service_contains_only_entry_points():
    names = {path.name for path in (CHECKOUT / "service").glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "app.py", "cli.py", "settings.py"}


@pytest.mark.parametrize("package", ["models", "training", "service"])
def test_a_package_has_an_empty_init_and_a_type_marker(package: str):
    assert (CHECKOUT / package / "__init__.py").read_text() == ""
    assert (CHECKOUT / package / "py.typed").read_text() == ""


# --- libraries that are not loaded ---


@pytest.mark.parametrize("package", [*TORCH_FREE, "service"])
def test_no_module_of_a_torch_free_package_loads_torch(package: str):
    folder = "service" if package == "service" else f"models/{package}"
    paths = [path for path in modules_in(folder) if "migrations" not in path.parts and path.stem != "__main__"]
    modules = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in paths if path.stem != "__init__"]
    process = python(IMPORT_WITHOUT_TORCH, *modules)
    assert process.returncode == 0, process.stderr


def test_a_module_that_loads_torch_is_detected():
    process = python(IMPORT_WITHOUT_TORCH, "models", "models.layers.perceptron")
    assert "models.layers.perceptron imports torch" in process.stderr


OPEN_A_SESSION = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
module.onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("module", ["service.inference.predictor", "training.engine.export"])
def test_the_runtime_stores_no_device_id_and_sends_no_telemetry(module: str, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path)}
    model = CHECKOUT / "bundles" / "hands-eqmotion" / "model.onnx"
    subprocess.run(
        [sys.executable, "-c", OPEN_A_SESSION, module, str(model)], cwd=CHECKOUT, env=environment, check=True
    )
    files = [path.name for path in tmp_path.rglob("*") if path.is_file() and "Microsoft" in path.parts]
    assert files == []
