"""The shape of the code: who imports whom, on how many floors, how long modules are, and what stays unloaded."""

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


def shown(path: Path) -> str:
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
    """Return the longest chain of imports, from the bottom; raise CycleError if the parts import each other in a circle."""
    chains: dict[str, list[str]] = {}
    for part in TopologicalSorter(parts).static_order():
        below = max((chains[other] for other in parts[part]), key=len, default=[])
        chains[part] = [*below, part]
    return max(chains.values(), key=len)


@pytest.mark.parametrize("package", FLOORS)
def test_the_parts_of_a_package_stand_on_few_floors_and_in_no_circle(graph, package: str):
    chain = longest_chain(imports_between(graph, package, depth=1))
    assert len(chain) <= FLOORS[package], " < ".join(chain)


@pytest.mark.parametrize("package", FLOORS)
def test_no_modules_import_each_other_in_a_circle(graph, package: str):
    assert longest_chain(imports_between(graph, package, depth=99))


def test_floors_are_counted_along_the_longest_chain():
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}) == ["c", "b", "a"]


def test_a_circle_is_found():
    with pytest.raises(ValueError, match="cycle"):
        longest_chain({"a": {"b"}, "b": {"c"}, "c": {"a"}})


# --- the rules of import-linter ---


def test_the_import_rules_hold():
    done = python(LINT, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_import_rule_is_found(tmp_path: Path):
    rule = tmp_path / "rules.ini"
    rule.write_text(
        "[importlinter]\nroot_packages =\n    models\n    training\n"
        "[importlinter:contract:1]\nname = training stands alone\ntype = forbidden\n"
        "source_modules =\n    training\nforbidden_modules =\n    models\n"
    )
    done = python(LINT, "--no-cache", "--config", str(rule))
    assert done.returncode == 1
    assert "training stands alone BROKEN" in done.stdout


# --- places ---


def importers_of(library: str, *folders: str) -> list[str]:
    def imports(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module

    def is_importer(path: Path) -> bool:
        names = [name for node in ast.walk(tree_of(path)) for name in imports(node)]
        return any(name.partition(".")[0] == library for name in names)

    return [shown(path) for path in modules_in(*folders) if is_importer(path)]


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
    """List the line of each HTTP status that is written as a number: an argument, value or operand named after a status."""

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
            found = names_status(ast.Name(node.arg or "")) and is_status(node.value)
        elif isinstance(node, ast.Compare):
            found = names_status(node) and is_status(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = any(map(names_status, targets)) and node.value is not None and is_status(node.value)
        else:
            found = isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("HTTPStatus.", "status.HTTP_"))
        if found:
            lines.append(getattr(node, "lineno", 0))
    return lines


def test_only_the_module_of_problems_knows_http_statuses():
    found = {shown(path): statuses_in(tree_of(path)) for path in modules_in("service")}
    assert found.pop("service/http/problems.py")
    assert {path: lines for path, lines in found.items() if lines} == {}


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
def test_a_status_that_is_written_as_a_number_is_found(code: str):
    assert statuses_in(ast.parse(code)) == [1]


# --- sizes ---


def test_no_module_is_too_long():
    lengths = {shown(path): len(path.read_text().splitlines()) for path in modules_in(*PACKAGES)}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_test_module_is_too_long():
    lengths = {shown(path): len(path.read_text().splitlines()) for path in modules_in("tests")}
    assert {path: length for path, length in lengths.items() if length > LONGEST_TEST} == {}


def test_the_root_of_the_service_has_the_entry_points_alone():
    names = {path.name for path in (CHECKOUT / "service").glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "app.py", "cli.py", "settings.py"}


@pytest.mark.parametrize("package", ["models", "training", "service"])
def test_a_package_itself_is_empty_and_typed(package: str):
    assert (CHECKOUT / package / "__init__.py").read_text() == ""
    assert (CHECKOUT / package / "py.typed").read_text() == ""


# --- what stays unloaded ---


@pytest.mark.parametrize("package", [*TORCH_FREE, "service"])
def test_no_module_of_a_torch_free_package_loads_torch(package: str):
    folder = "service" if package == "service" else f"models/{package}"
    paths = [path for path in modules_in(folder) if "migrations" not in path.parts and path.stem != "__main__"]
    modules = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in paths if path.stem != "__init__"]
    done = python(IMPORT_WITHOUT_TORCH, *modules)
    assert done.returncode == 0, done.stderr


def test_a_module_that_loads_torch_is_found():
    done = python(IMPORT_WITHOUT_TORCH, "models", "models.layers.perceptron")
    assert "models.layers.perceptron imports torch" in done.stderr


OPEN_A_SESSION = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
module.onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("module", ["service.inference.predictor", "training.engine.export"])
def test_the_runtime_keeps_no_id_of_the_device_and_reports_nothing(module: str, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path)}
    model = CHECKOUT / "bundles" / "hands-eqmotion" / "model.onnx"
    subprocess.run(
        [sys.executable, "-c", OPEN_A_SESSION, module, str(model)], cwd=CHECKOUT, env=environment, check=True
    )
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and "Microsoft" in path.parts]
    assert left == []
