"""Pictures of the page at /, in Debian's Chromium: each section at the width of a desk, a phone and a 4K screen, light and dark.

    python -m benchmarks.screenshots OUT        about three minutes; http://127.0.0.1:8000 must serve, or --url

docs/page-hands.png and docs/page-faces.png are hands.png and faces.png of it. The sections of jobs and of data sets show those of
that service.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from service.routes.page import WEB

DESK, PHONE, WALL = (1440, 1000), (390, 844), (3840, 2160)
WAIT_MS = 60_000
SETTLE_MS = 1_500  # until three dimensions are drawn, by software


@dataclass(frozen=True)
class Shot:
    """A section of the page, what must be on it before the picture, and how it is shown."""

    name: str
    section: str
    awaited: str
    size: tuple[int, int] = DESK
    dark: bool = False
    frame: int | None = None  # of the slider of time


SHOTS = (
    Shot("hands", "hands", "text=/mm from what came on average/ >> nth=0", frame=42),
    Shot("hands-dark", "hands", "text=/mm from what came on average/ >> nth=0", dark=True, frame=42),
    Shot("hands-phone", "hands", "text=/mm from what came on average/ >> nth=0", PHONE, frame=42),
    Shot("hands-4k", "hands", "text=/mm from what came on average/ >> nth=0", WALL, frame=42),
    Shot("faces", "faces", "text=/found 68 landmarks/"),
    Shot("faces-dark", "faces", "text=/found 68 landmarks/", dark=True),
    Shot("faces-phone", "faces", "text=/found 68 landmarks/", PHONE),
    Shot("bodies", "bodies", "text=/poses of the sample/", frame=70),
    Shot("bodies-phone", "bodies", "text=/poses of the sample/", PHONE, dark=True, frame=70),
    Shot("jobs", "jobs", "text=/Newest first|No job yet/"),
    Shot("models", "models", "details.card >> nth=0"),
    Shot("models-phone", "models", "details.card >> nth=0", PHONE),
    Shot("data", "data", "text=Add a data set"),
    Shot("data-form", "data", "text=Add a data set"),
    Shot("data-form-phone", "data", "text=Add a data set", PHONE, dark=True),
    Shot("data-train", "data", "text=/Recordings that jobs/"),
    Shot("data-train-phone", "data", "text=/Recordings that jobs/", PHONE, dark=True),
)


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> None:
    """Save one picture as `name`.png."""
    width, height = shot.size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        color_scheme="dark" if shot.dark else "light",
    )
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{url}/#{shot.section}")
    page.wait_for_selector(shot.awaited)
    page.wait_for_timeout(SETTLE_MS)
    _prepare(page, shot)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / f"{shot.name}.png")
    page.close()


def _prepare(page: Page, shot: Shot) -> None:
    """Go to a moment of a clip, open the card of a model, or choose the newest job, a file or a data set that is ready."""
    if shot.frame is not None:
        page.get_by_role("slider", name="Time").fill(str(shot.frame))
    if shot.section == "models":
        page.locator('details[data-name="hands-forecast"] summary').click()
    if shot.section == "jobs" and (newest := page.locator("section table button")).count():
        newest.first.click()
    if shot.name.startswith("data-form"):
        page.locator("section input[type=file]").first.set_input_files(WEB / "samples" / "hands.json")
        page.get_by_label("licence").wait_for()
    if shot.name.startswith("data-train") and (ready := page.locator("tr:has(.good) a")).count():
        ready.first.click()
        page.get_by_role("button", name="Train").scroll_into_view_if_needed()


def problem(browser: Browser, url: str, folder: Path) -> None:
    """Save a picture of a refusal: a clip in millimetres that says it is in metres."""
    page = browser.new_page(viewport={"width": DESK[0], "height": DESK[1]}, reduced_motion="reduce")
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{url}/#hands")
    page.wait_for_selector(SHOTS[0].awaited)
    clip = page.request.get(f"{url}/web/samples/hands.json").json() | {"units": "m"}
    with tempfile.TemporaryDirectory() as place:
        (path := Path(place) / "metres.json").write_text(json.dumps(clip))
        page.locator("input[type=file]").first.set_input_files(path)
        page.wait_for_selector("[role=alert] >> text=/What to do/")
    page.screenshot(path=folder / "problem.png")
    page.close()


def main() -> None:
    """Save every picture into the folder that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.screenshots", description="Save pictures of every section of the page."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("expected chromium on the PATH, got none; `apt-get install chromium` brings it")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        switches = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=path, args=switches)
        for shot in SHOTS:
            take(browser, arguments.url.rstrip("/"), shot, arguments.folder)
        problem(browser, arguments.url.rstrip("/"), arguments.folder)


if __name__ == "__main__":
    main()
