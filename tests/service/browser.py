"""The page in Debian's Chromium, driven by Playwright: what one tab shows, and what went wrong in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

PATIENCE_MS = 60_000  # a machine without a GPU draws three dimensions slowly
# Software draws WebGL; the camera is Chromium's own test picture, which nobody has to allow.
SWITCHES = (
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's Chromium; skip the test, with the reason, where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the PATH; `apt-get install chromium` brings it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, url: str, *, width: int = 1280, height: int = 900, refused: bool = False) -> Iterator[Page]:
    """Open an address; fail if a script fails, another host is asked, or, unless `refused`, a request is refused."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce", permissions=["camera", "clipboard-read"]
    )
    context.set_default_timeout(PATIENCE_MS)
    page, faults, host = context.new_page(), [], url.split("/")[2]
    page.on("pageerror", lambda error: faults.append(f"a script failed: {error}"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" and not refused else None)
    page.on("request", lambda request: faults.append(request.url) if not at_home(request.url, host) else None)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert faults == [], faults


def at_home(url: str, host: str) -> bool:
    """Return whether an address is this host's, or data that the page made."""
    return url.startswith(("blob:", "data:")) or url.split("/")[2] == host


def drawn(canvas: Locator) -> float:
    """Return the share of a canvas that differs from its background."""
    pixels = np.asarray(Image.open(BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    background = np.median(pixels.reshape(-1, 3), axis=0)
    return float((np.abs(pixels - background).max(axis=-1) > 24).mean())


def upload(page: Page, files: list[tuple[str, bytes]]) -> None:
    """Choose files, each a name and its content, in the first field for files of the section."""
    page.locator("section input[type=file]").first.set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files]
    )


def unnamed(page: Page) -> list[str]:
    """Return the controls that a screen reader has no name for."""
    return page.evaluate("""[...document.querySelectorAll('button, select, input, textarea, a, canvas')].filter(e =>
        !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim())).map(e => e.outerHTML)""")
