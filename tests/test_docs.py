"""Tests of the documentation: every printed command runs, links have targets, and figures equal those of the model cards.

A command is a line of a shell block, or of an indented block that begins with a command. All commands of a page run in order in one shell,
in an empty folder, against one running server. Python blocks run between them, or become the file that their first line names. Two kinds
of lines do not run: those of CANNOT_RUN, each with its reason, and trainings without `--steps`, which take hours and are only parsed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from models.contract.bundle import read_bundle
from tests.service.processes import stack

pytestmark = pytest.mark.long(110)

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
ADDRESS = "http://127.0.0.1:8000"
SHELL, PYTHON = ("sh", "bash"), ("python",)
COMMANDS = r"(curl|chiron|python|make|docker|pip|for|cp|cat|mkdir|source|export|[A-Z_]+=\S+) "
TIMEOUT_S = 600  # for one page: generous, because the machine may be busy
CANNOT_RUN = {
    r"^make (serve|worker|check|test|\.venv/\.made)\b": "makes an environment; the test has one",
    r"^source \.venv/bin/activate$": "the environment of the test is active",
    r"^cp -r own/hands-lab bundles/$": "changes the bundles of the checkout",
    r"^docker compose ": "needs Docker",
    r"^(cp deploy/kubernetes/|kubectl )": "needs a cluster; tests/test_deploy.py builds the overlays",
    r"^CHIRON_ROOT_PATH=": "runs until it is stopped; tests/test_deploy.py runs it behind both proxies",
    r"^pip install ": "changes the environment of the test",
    r"^CHIRON_REGISTRY=s3://": "needs a bucket",
    r"^chiron serve\b": "runs until it is stopped; the fixture starts a server",
    r"^import mediapipe$": "needs the package mediapipe and a camera",
    r"^curl -s -X DELETE \S+/datasets/own": "refused while the data set is being checked; tests/service/test_datasets.py removes one",
    r"^python -m training check scans$": "needs scans with landmarks; tests/training/tasks/faces/own has made-up ones",
    r"^recordings = read_assembly101\($": "needs Assembly101, which may not be passed on",
}
REFUSED = r"\[0, 0, true\]"  # in a request that the page sends in order to show the error


@dataclass(frozen=True)
class Block:
    """A code block of a page, with the number of its first line; `language` of an indented one is inferred."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def reason(self) -> str | None:
        """Return the reason why the whole block cannot run, or None."""
        reasons = [reason for pattern, reason in CANNOT_RUN.items() if re.search(pattern, self.text, re.MULTILINE)]
        return reasons[0] if reasons and self.language in PYTHON else None

    @property
    def needs_worker(self) -> bool:
        return "/jobs" in self.text or "/datasets" in self.text


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, and its indented blocks of commands or Python, in order."""
    lines = page.read_text().splitlines()
    start, language = 0, None
    indented: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("```"):
            if language is None:
                start, language = number + 1, line[3:].strip()
            else:
                yield Block(page, start, language, "\n".join(lines[start - 1 : number - 1]) + "\n")
                language = None
        elif language is None and line.startswith("    "):
            indented.append(line[4:])
        elif (
            indented
            and not line
            and re.match("from |import ", indented[0])
            and "".join(lines[number : number + 1])[:4] == "    "
        ):
            indented.append("")  # Python continues after a blank line, a command does not
        elif language is None and indented:
            language_of = {COMMANDS: "sh", "(from|import) ": "python"}
            for pattern, own in language_of.items():
                if re.match(pattern, indented[0] + " "):
                    yield Block(page, number - len(indented), own, "\n".join(indented) + "\n")
            indented = []


def script(page: Path, url: str, *, jobs: bool) -> str:
    """Return a page as one shell script: its commands that need a worker, or all others."""
    parts = ["set -euo pipefail"]
    for block in blocks(page):
        if block.language not in SHELL + PYTHON or block.reason or block.needs_worker is not jobs:
            continue
        parts.append(f"echo '{page.name}:{block.line}'")
        name = re.match(r"# (\w+\.py)\n", block.text)
        if block.language in SHELL:
            parts.append(_runnable(block.text))
        elif name:
            parts.append(f"cat > {name[1]} <<'PYTHON'\n{block.text}PYTHON")
        else:
            parts.append(f"python - <<'PYTHON'\n{block.text}PYTHON")
    text = "\n".join(parts).replace(ADDRESS, url).replace(".venv-serve/bin/", "")
    text = text.replace(ADDRESS.partition("//")[2], url.partition("//")[2])  # of clients that are told no scheme
    text = text.replace(ADDRESS.replace("http", "ws"), url.replace("http", "ws"))  # of streams
    return text.replace("benchmarks.plausible 20", "benchmarks.plausible 1")  # simulated faces of each kind


def _runnable(text: str) -> str:
    """Return shell commands without those of CANNOT_RUN; a request with REFUSED may fail."""
    lines = [":" if any(re.search(pattern, line) for pattern in CANNOT_RUN) else line for line in text.splitlines()]
    return "\n".join(f"REFUSED=1 {line}" if re.search(REFUSED, line) else line for line in lines)


def run(text: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a script in a folder. Fail with its output if a command fails."""
    result = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    output = f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    assert result.returncode == 0, output
    assert "Traceback" not in output, output


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """Yield a folder with `chiron` and `python` of this environment, preloaded, and a `curl` that fails on an error answer."""
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as name, interpreter(Path(name)) as python:
        write_programs(Path(name), python)
        yield Path(name)


def write_programs(folder: Path, python: str) -> None:
    """Write the programs; `python` is the command line of the interpreter."""
    parse = "import sys; from training.__main__ import _parser; from training.catalogue import find_run; "
    parse += "options = _parser().parse_args(sys.argv[1:]); hasattr(options, 'run') and find_run(options.run)"
    scripts = {
        "chiron": f'exec {python} -m service "$@"',
        "curl": f'exec {shutil.which("curl")} $([ -n "$REFUSED" ] || echo --fail-with-body) "$@"',
        "python": f"""
case "$*" in
  "-m training list" | "-m training check "* | *--steps*) ;;
  "-m training "*) shift 2; exec {python} -c "{parse}" "$@" ;;
esac
exec {python} "$@"
""",
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


@contextmanager
def interpreter(folder: Path) -> Iterator[str]:
    """Run a preloaded interpreter, and yield the command line that runs `python` in it."""
    program, address = ROOT / "tests/preloaded.py", folder / "python.sock"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([sys.executable, program, "serve", address], env=environment, start_new_session=True)
    try:
        until("an interpreter that listens", lambda: address.exists() or process.poll())
        yield f"{sys.executable} -I -S {program} run {address}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with commands that still run
        process.wait()


def environment_of(programs: Path, folder: Path, data_folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), str(ROOT / "clients/python"), os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": python_path,
        "CHIRON_BUNDLES": str(ROOT / "bundles"),
        "CHIRON_STATE": str(folder / "state"),
        "CHIRON_DATA": str(data_folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def write_recipe_files(page: Path, folder: Path) -> None:
    """Write the detectors' files that recipes.md takes as the reader's own."""
    if page.name == "recipes.md":
        keypoints = np.concatenate(
            [np.random.default_rng(0).uniform(400, 600, (6, 25, 2)), np.full((6, 25, 1), 0.9)], axis=-1
        )
        for detector in ("openpose", "yolo"):
            (folder / detector).mkdir()
        for number, points in enumerate(keypoints):
            person = {"pose_keypoints_2d": points.ravel().tolist()}
            (folder / f"openpose/{number:012d}_keypoints.json").write_text(json.dumps({"people": [person]}))
            x, y, visible = points[:17].T.tolist()
            detections = [{"confidence": 0.8, "keypoints": {"x": x, "y": y, "visible": visible}}]
            (folder / f"yolo/{number:06d}.json").write_text(json.dumps(detections))


def test_every_printed_command_runs(data_folder: Path, programs: Path, tmp_path: Path):
    """All pages run against one server: first the commands that need no worker, then those that send jobs."""
    write_recordings(data_folder, tmp_path)
    with stack(data_folder, ROOT / "bundles", CHIRON_DATA_ROOT=str(tmp_path), CHIRON_JOBS_A_PROCESS="20") as running:
        running.api()
        for page in PAGES:
            folder = tmp_path / page.stem
            folder.mkdir()
            write_recipe_files(page, folder)
            run(script(page, running.url, jobs=False), folder, environment_of(programs, folder, data_folder))
        running.worker()
        for page in PAGES:
            run(script(page, running.url, jobs=True), tmp_path, environment_of(programs, tmp_path, data_folder))


def write_recordings(data_folder: Path, folder: Path) -> None:
    """Write the recordings that jobs.md takes as the reader's own: own.zip, and the folder lab/2026."""
    hands = folder / "lab/2026/hands"
    (hands / "tzionas").mkdir(parents=True)
    splits = json.loads((data_folder / "hands/splits.json").read_text())
    (hands / "splits.json").write_text(json.dumps({"tzionas": splits["tzionas"]}))
    shutil.copyfile(data_folder / "hands/tzionas/tzionas.npz", hands / "tzionas/tzionas.npz")
    shutil.make_archive(str(folder / "own"), "zip", hands.parent)


def test_every_pattern_of_lines_that_cannot_run_is_on_a_page():
    printed = "\n".join(block.text for page in PAGES for block in blocks(page))
    assert [pattern for pattern in CANNOT_RUN if not re.search(pattern, printed, re.MULTILINE)] == []


def test_the_language_of_every_block_is_known():
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages <= {*SHELL, *PYTHON, "json", "text", "cpp", "csharp", "js"}


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_target_of_every_link_exists(page: Path):
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        headings = (
            re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if path.suffix == ".md" and path.is_file() else []
        )
        if not path.exists() or (heading and heading not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


FIGURES = {  # the metric in the bundle's card, by the figure in the README's table
    "mean error, 68 landmarks": "mean error, 68 landmarks",
    "mean over the next second": "MPJPE over 30+30@30, {hands} hand",
    "mean over the next 0.2 s": "MPJPE over 24+12@60 from each frame, {hands} hand",
    "MPJPE": "MPJPE",
    "PCK@0.05, mean over the next second": "PCK@0.05, mean over the horizon",
    "top-1": "top-1",
}


def test_the_readmes_figures_equal_those_of_the_cards():
    rows = re.findall(
        r"^\| ([a-z0-9-]+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    rows = [row for row in rows if (ROOT / "bundles" / row[0]).is_dir()]
    cards = [read_bundle(path).meta for path in (ROOT / "bundles").iterdir() if path.is_dir()]
    assert {row[0] for row in rows} == {
        card.name for card in cards if card.parameters
    }  # the others are what a row is beside
    for name, data, figure, value, baseline in rows:
        source, _, hands = data.partition(", ")
        metric = FIGURES[figure].format(hands=hands.split(" ")[0])
        (card,) = (
            m for m in read_bundle(ROOT / "bundles" / name).meta.measurements
            if m.source == source and m.metric in (metric, f"{metric}s")
        )  # fmt: skip
        assert value.strip("*") == f"{card.value:.1f} {card.unit}", (name, data)
        if card.baseline_value is not None:
            assert baseline.replace("*", "") == f"{card.baseline_value:.1f} {card.unit}, {card.baseline}", (name, data)
            gain = (card.value - card.baseline_value) * (1 if card.unit == "%" else -1)
            assert (value.startswith("**"), baseline.startswith("**")) == (gain > 0, gain < 0), (name, data)


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_pictures_have_full_colours_and_less_than_400_kilobytes():
    for path in ROOT.glob("docs/*.png"):
        data = path.read_bytes()
        assert data[25] in (2, 6), f"{path.name} has a palette"
        assert len(data) < 400_000, path.name
