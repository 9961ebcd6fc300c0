"""Tests of /docs in Chromium: schemas open, a request is tried, a scan is uploaded, and a key is entered, behind a path prefix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from waiting import get

from .browser import tab
from .processes import Stack, stack

pytestmark = pytest.mark.long(40)

BUNDLES = Path(__file__).parents[2] / "bundles"
KEY = "key-of-the-reference"
PREFIX = "/chiron"


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory) -> Iterator[Stack]:
    """A service with keys, behind a prefix; the browser comes first, so that nothing starts where there is none."""
    options = {"CHIRON_API_KEYS": KEY, "CHIRON_ROOT_PATH": PREFIX}
    with stack(tmp_path_factory.mktemp("data"), BUNDLES, **options) as running:
        running.api()
        yield running


def opened(page: Page, operation: str) -> Locator:
    """Open an operation; return it."""
    box = page.locator(f"#operations-{operation}")
    box.locator(".opblock-summary-control").click()
    expect(box.get_by_role("button", name="Execute")).to_be_visible()
    return box


def execute(box: Locator, status: str) -> None:
    """Send the request of an operation; wait for an answer of this status."""
    box.get_by_role("button", name="Execute").click()
    expect(box.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(status)


def test_an_example_is_refused_without_a_key_and_answered_with_one(browser, site):
    with tab(browser, f"{site.url}{PREFIX}/docs", refused=True) as page:
        hands = opened(page, "forecast-forecast_hands")
        execute(hands, "401")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".auth-container input").nth(1).fill(KEY)
        page.get_by_role("button", name="Apply credentials").nth(1).click()
        page.get_by_role("button", name="Close", exact=True).last.click()
        execute(hands, "200")
        expect(hands.locator(".request-url")).to_contain_text(f"{site.url}{PREFIX}/forecast/hands")
        body = hands.locator(".opblock-section-request-body")
        body.get_by_text("Schema", exact=True).click()
        body.get_by_role("button", name="Expand all").first.click()
        expect(body).to_contain_text("frames a second of the request and of the answer")


def test_a_scan_is_uploaded_with_fields_that_were_left_as_they_are(browser, site, tmp_path):
    scan = get(f"{site.url}{PREFIX}/models/face-se3unet/example", headers={"x-api-key": KEY})
    (tmp_path / "scan.ply").write_bytes(scan.content)
    with tab(browser, f"{site.url}{PREFIX}/docs") as page:
        face = opened(page, "landmarks-landmarks_face")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".auth-container input").nth(0).fill(KEY)
        page.get_by_role("button", name="Apply credentials").nth(0).click()
        page.get_by_role("button", name="Close", exact=True).last.click()
        face.locator("input[type=file]").set_input_files(tmp_path / "scan.ply")
        execute(face, "200")
        expect(face.locator(".live-responses-table")).to_contain_text("interocular")


def test_the_reference_fits_a_phone_and_names_every_operation(browser, site):
    with tab(browser, f"{site.url}{PREFIX}/docs", width=390, height=800) as page:
        expect(page.locator(".opblock").first).to_be_visible()
        paths = get(f"{site.url}{PREFIX}/openapi.json").json()["paths"]
        assert page.locator(".opblock").count() == sum(len(methods) for methods in paths.values())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
