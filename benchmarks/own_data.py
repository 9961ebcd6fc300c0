"""The three ways from recordings of one's own to a model that answers a stream, with their times: command line, API and page.

    OMP_NUM_THREADS=1 python -m benchmarks.own_data [--steps 20] ["command line"] [API] [page]

`benchmarks.mediapipe_recordings` makes the recordings. The API and a worker run before their ways begin, and the page's way in Chromium
fills in the form of dataset.json. A way ends with the first forecast of the stream; the page's, with the forecasts of a whole clip.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, sync_playwright
from websockets.sync.client import connect

from benchmarks.mediapipe_recordings import write
from benchmarks.proxies import free_port, program
from benchmarks.timing import machine
from models.contract.cpus import usable_cpus

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "own_data.json"
RECORDINGS, SECONDS = 15, 4.0
PATIENCE_S = 1800.0  # of each step, on a busy machine
STEPS = ("upload and check", "train, measure and export", "promote", "first forecast of a stream")
SIDES = {"Left": "right", "Right": "left"}  # as MediaPipe names hands in an image that is not flipped
ENDED = ("ready", "refused", "succeeded", "failed", "cancelled")


class Laps:
    """The seconds of each step of a way."""

    def __init__(self) -> None:
        self.begun, self.seconds = time.perf_counter(), dict[str, float]()

    def end(self) -> None:
        """End the next of STEPS."""
        now = time.perf_counter()
        self.seconds[STEPS[len(self.seconds)]] = now - self.begun
        self.begun = now


def by_command_line(folder: Path, recordings: Path, steps: int) -> Laps:
    """Check, train and export with commands; the bundle is promoted by a service that starts with it."""
    laps, bundle = Laps(), folder / "bundles" / f"hands-{recordings.name}"
    training = [sys.executable, "-m", "training", "--out", str(folder / "runs")]
    run = ["hands-own", "--data", str(recordings), *_lengths(steps)]
    _command([sys.executable, "-m", "training", "check", str(recordings)])
    laps.end()
    _command([*training, "run", *run])
    _command([*training, "export", *run, "--bundle", str(bundle)])
    laps.end()
    with service(folder, bundle.parent) as url:
        laps.end()
        stream(url, bundle.name, recordings)
        laps.end()
    return laps


def by_api(folder: Path, recordings: Path, steps: int) -> Laps:
    """Run the service and a worker, and then take the way of the API."""
    with with_worker(folder, recordings) as url:
        return through_api(url, recordings, steps)


def through_api(url: str, recordings: Path, steps: int) -> Laps:
    """Upload a .zip, submit a job, promote its version and open a stream."""
    laps = Laps()
    with httpx2.Client(base_url=url, timeout=60) as client, zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for path in sorted(recordings.iterdir()):
            archive.write(path, path.name)
        archive.close()
        headers = {"content-type": "application/zip"}
        _sent(client.post("/datasets", params={"name": "api"}, content=buffer.getvalue(), headers=headers))
        _until(lambda: _sent(client.get("/datasets/api")), "ready")
        laps.end()
        spec = {"kind": "train", "run": "hands-own", "dataset": "api", "steps": steps, "validate_every": _every(steps)}
        job = _sent(client.post("/jobs", json=spec))["id"]
        made = _until(lambda: _sent(client.get(f"/jobs/{job}")), "succeeded")["result"]
        laps.end()
        _sent(client.post(f"/models/{made['model']}/versions/{made['version']}/promote"))
        laps.end()
    stream(url, made["model"], recordings)
    laps.end()
    return laps


def by_page(folder: Path, recordings: Path, steps: int) -> Laps:
    """Run the service, a worker and Chromium, and then take the way of the page. Raises LookupError without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise LookupError("expected chromium on the PATH, got none; `apt-get install chromium` brings it")
    with with_worker(folder, recordings) as url, sync_playwright() as playwright:
        switches = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        page = playwright.chromium.launch(executable_path=chromium, args=switches).new_page(reduced_motion="reduce")
        page.set_default_timeout(1000 * PATIENCE_S)
        return on_page(page, url, recordings, steps)


def on_page(page: Page, url: str, recordings: Path, steps: int) -> Laps:
    """Choose the files, fill in the forms and press the buttons of the page."""
    laps = Laps()
    page.goto(f"{url}/#data")
    page.locator("section input[type=file]").first.set_input_files(sorted(recordings.glob("*.jsonl")))
    declared = json.loads((recordings / "dataset.json").read_text())
    page.get_by_label("name of the data set").fill("page")
    page.get_by_label("licence").fill(declared["licence"])
    page.get_by_label("attribution: whose recordings").fill(declared["attribution"])
    page.get_by_label("joint order").select_option(declared["joints"])
    page.get_by_label("left and right are exchanged").check()
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text("It can be trained on.").wait_for()
    laps.end()
    page.get_by_label("length of the training").fill(str(steps))
    page.get_by_role("button", name="Train").click()
    page.get_by_role("button", name="Promote hands-page").wait_for()
    laps.end()
    page.get_by_role("button", name="Promote hands-page").click()
    page.get_by_role("link", name="Try hands-page on hands").wait_for()
    laps.end()
    page.get_by_role("link", name="Try hands-page on hands").click()
    page.locator("section").get_by_text("hands-page forecast").wait_for()
    page.get_by_role("button", name="Stream this clip").click()
    page.locator("section").get_by_text(re.compile(r"hands-page answered \d+ of \d+ frames")).wait_for()
    laps.end()
    return laps


WAYS = {"command line": by_command_line, "API": by_api, "page": by_page}


def stream(url: str, model: str, recordings: Path) -> None:
    """Send the frames of a recording until the model forecasts. Raises RuntimeError if it never does."""
    with connect(f"{url.replace('http', 'ws')}/forecast/hands/stream") as socket:
        socket.send(json.dumps({"fps": 30, "joints": "mediapipe", "model": model, "at": [0.1]}))
        answer = json.loads(socket.recv(60))
        for line in min(recordings.glob("*.jsonl")).read_text().splitlines():
            result = json.loads(line)
            names = [SIDES[hand[0]["category_name"]] for hand in result["handedness"]]
            socket.send(json.dumps(dict(zip(names, result["hand_world_landmarks"], strict=True))))
            answer = json.loads(socket.recv(60))
            if answer["kind"] == "forecast":
                return
    raise RuntimeError(f"expected a forecast of {model}, got {answer}")


@contextmanager
def service(folder: Path, bundles: Path) -> Iterator[str]:
    """Run the service on these bundles; yield its address once it is ready."""
    port = free_port()
    settings = {"CHIRON_STATE": str(folder / "state"), "CHIRON_BUNDLES": str(bundles), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    with program(command, folder / "serve.log", **settings):
        _until(lambda: {"state": "ready" if _ready(f"http://127.0.0.1:{port}/readyz") else ""}, "ready")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def with_worker(folder: Path, data: Path) -> Iterator[str]:
    """Run the service with the shipped bundles, and a worker that is connected; yield its address."""
    settings = {"CHIRON_STATE": str(folder / "state"), "CHIRON_DATA": str(data), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "service", "worker", "--device", "cpu"]
    with service(folder, CHECKOUT / "bundles") as url, program(command, folder / "worker.log", **settings):
        _until(lambda: {"state": "ready" if _sent(httpx2.get(f"{url}/workers"))["workers"] else ""}, "ready")
        yield url


def _ready(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def _until(look: Callable[[], dict[str, Any]], state: str) -> dict[str, Any]:
    """Return what `look` gives once it is in a state. Raises RuntimeError for another end, and TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found["state"] == state:
            return found
        if found["state"] in ENDED:
            raise RuntimeError(f"expected {state}, got {json.dumps(found)[:2000]}")
        time.sleep(0.1)
    raise TimeoutError(f"expected {state} within {PATIENCE_S:g} s")


def _sent(answer: httpx2.Response) -> Any:
    answer.raise_for_status()
    return answer.json()


def _command(command: list[str]) -> None:
    """Run a command in the checkout. Raises RuntimeError with its errors if it fails."""
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _every(steps: int) -> int:
    return max(1, steps // 2)


def _lengths(steps: int) -> list[str]:
    return ["--steps", str(steps), "--validate-every", str(_every(steps))]


def main() -> None:
    """Take the ways, print their times as a table, and save them beside those of other ways."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_data", description=__doc__)
    parser.add_argument("ways", nargs="*", choices=[[], *WAYS], help="default: all of them, one after the other")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument("--steps", type=int, default=20, help="of each training")
    arguments = parser.parse_args()
    for way in arguments.ways or WAYS:
        with tempfile.TemporaryDirectory(prefix="own-", dir="/tmp") as place:  # a short path, for the broker's socket
            folder, recordings = Path(place), Path(place) / "mine"
            write(recordings, arguments.data, "tzionas", RECORDINGS, SECONDS)
            seconds = WAYS[way](folder, recordings, arguments.steps).seconds
        results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"ways": {}}
        at, load = datetime.now(UTC).isoformat(timespec="minutes"), round(os.getloadavg()[2], 1)
        results["ways"][way] = {"at": at, "load": load, "steps": arguments.steps, "seconds": seconds}
        results |= {"machine": machine(), "cpus": usable_cpus(), "recordings": RECORDINGS, "of_seconds": SECONDS}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(table(results["ways"]), flush=True)


def table(ways: dict[str, Any]) -> str:
    """Return the seconds of each step, and of all, as Markdown; `load` is the mean number of waiting processes of 15 minutes."""
    rows = [["seconds", *ways]]
    rows += [[step, *(f"{way['seconds'][step]:.3g}" for way in ways.values())] for step in STEPS]
    rows += [["together", *(f"{sum(way['seconds'].values()):.0f}" for way in ways.values())]]
    rows += [["load", *(f"{way['load']:.1f}" for way in ways.values())]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
