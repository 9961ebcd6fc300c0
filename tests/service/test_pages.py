"""Tests of the page at / in Chromium: each demonstration with its sample and with one's own input, errors, keys, prefix and phone."""

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hand_motion import moving_hands
from PIL import Image
from playwright.sync_api import Locator, expect

from service.routes.page import WEB

from .browser import drawn, tab, unnamed, upload
from .processes import stack

pytestmark = pytest.mark.long(90)

BUNDLES = Path(__file__).parents[2] / "bundles"
KEY = "key-of-the-page"


def clip(**changes) -> tuple[str, bytes]:
    body = {"fps": 30, "joints": "assembly101", "past": moving_hands(60, hands=2).tolist()} | changes
    return "own.json", json.dumps(body).encode()


def test_hands_are_forecast_at_once_beside_what_came_and_the_models_without_weights(browser, site):
    with tab(browser, site.url) as page:
        expect(
            page.locator("section").get_by_text(
                re.compile(r"hands-forecast forecast 1\.00 s of the sample, .* mm from what came")
            )
        ).to_be_visible()
        expect(page.locator("section table tbody tr")).to_have_count(6)
        expect(page.get_by_text(re.compile("On the test recordings of tzionas it was off by"))).to_be_visible()
        page.get_by_role("slider", name="Time").fill("45")
        assert drawn(page.locator("canvas").first) > 0.02
        page.get_by_label("model", exact=True).select_option("hands-hold")
        expect(page.locator("section").get_by_text(re.compile("hands-hold forecast"))).to_be_visible()


def test_an_own_clip_is_forecast_and_its_request_can_be_copied(browser, site):
    with tab(browser, site.url) as page:
        expect(page.locator("section").get_by_text(re.compile("mm from what came on average"))).to_be_visible()
        upload(page, [clip()])
        expect(page.locator("section").get_by_text(re.compile("forecast 1.00 s of own.json"))).to_be_visible()
        page.get_by_role("button", name="Python").click()
        source = page.locator("pre code").inner_text()
        compile(source, "copied", "exec")
        assert f"{site.url}/forecast/hands" in source


def unbroken(canvas: Locator) -> int:
    """Return the most columns of pixels side by side that have some of the blue axis, which lies along the face's surface."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    blue = np.max(pixels[..., 2] - pixels[..., 0], axis=0) > 60
    return max(len(run) for run in "".join("#" if there else " " for there in blue).split(" "))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (clip(past=(1000 * moving_hands(60, hands=2)).tolist()), "implausible"),
        (("own.json", b"{not json"), "Expected a clip as JSON"),
        (("own.json", b'{"joints": "webxr"}'), "found none of them"),
    ],
    ids=["a wrong unit", "no JSON", "no hands"],
)
def test_what_is_refused_says_what_came_and_what_to_do(browser, site, sent, said):
    with tab(browser, site.url, refused=True) as page:
        expect(page.locator("section").get_by_text(re.compile("mm from what came on average"))).to_be_visible()
        upload(page, [sent])
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(said)
        if said == "implausible":
            expect(alert).to_contain_text("What to do:")
        page.get_by_role("button", name="Sample").click()
        expect(alert).to_be_hidden()


def test_a_face_is_shown_in_its_own_coordinates_with_its_landmarks(browser, site):
    with tab(browser, f"{site.url}/#faces") as page:
        expect(page.locator("section").get_by_text(re.compile("found 68 landmarks on 30204 vertices"))).to_be_visible()
        canvas = page.locator("canvas").first
        page.wait_for_timeout(500)
        assert drawn(canvas) > 0.1
        assert unbroken(canvas) > 110
        expect(page.get_by_role("row", name=re.compile("between the eyes, in mm"))).to_be_visible()
        box = canvas.bounding_box()
        assert box is not None
        note = page.locator(".note")
        for column in range(30, 70):  # a row of pixels across the face meets a landmark
            page.mouse.move(box["x"] + box["width"] * column / 100, box["y"] + box["height"] * 0.47)
            if "%" in note.inner_text():
                break
        expect(note).to_contain_text(re.compile(r"\d+ .* \d+ % within 3 mm"))
        with page.expect_download() as saved:
            page.get_by_role("button", name=".mrk.json (Slicer)").click()
        markups = json.loads(Path(saved.value.path()).read_text())
        assert len(markups["markups"][0]["controlPoints"]) == 68


def test_several_scans_are_a_list_in_which_a_bad_one_says_why(browser, site):
    scan = gzip.decompress((WEB / "samples" / "face.ply.gz").read_bytes())
    with tab(browser, f"{site.url}/#faces", refused=True) as page:
        expect(page.locator("section").get_by_text(re.compile("found 68 landmarks"))).to_be_visible()
        upload(page, [("one.ply", scan), ("two.stl", b"no scan"), ("three.ply", scan)])
        expect(page.get_by_role("status")).to_have_text("2 of 3 scans answered")
        rows = page.get_by_role("group", name="3 scans").locator("tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.nth(2)).to_contain_text(re.compile(r"% sure.*± [\d.]+ mm"))
        page.get_by_role("button", name="two.stl").click()
        expect(page.get_by_role("alert")).to_contain_text("What to do:")


def test_a_key_is_asked_for_once_behind_a_prefix(browser, tmp_path):
    with stack(tmp_path, BUNDLES, CHIRON_API_KEYS=KEY, CHIRON_ROOT_PATH="/chiron") as running:
        running.api()
        with tab(browser, f"{running.url}/chiron/", refused=True) as page:
            dialog = page.get_by_role("dialog")
            for key in ("wrong", KEY):
                expect(dialog).to_be_visible()
                page.get_by_label("API key").fill(key)
                page.get_by_role("button", name="Use", exact=True).click()
            expect(page.locator("section").get_by_text(re.compile("mm from what came on average"))).to_be_visible()
            page.get_by_role("link", name="Faces").click()
            expect(page.locator("section").get_by_text(re.compile("found 68 landmarks"))).to_be_visible()
            expect(dialog).to_be_hidden()
            assert "$CHIRON_KEY" in page.locator("pre code").inner_text()
            assert KEY not in page.content()


@pytest.mark.parametrize("section", ["hands", "faces"])
def test_a_phone_scrolls_only_downwards(browser, site, section):
    with tab(browser, f"{site.url}/#{section}", width=390, height=844) as page:
        expect(page.locator("section h2").first).to_be_visible()
        expect(page.locator("section table").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name_and_the_keyboard_reaches_it(browser, site):
    with tab(browser, site.url) as page:
        expect(page.locator("section").get_by_text(re.compile("mm from what came on average"))).to_be_visible()
        assert unnamed(page) == []
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.locator("canvas").first.focus()
        before = drawn(page.locator("canvas").first)
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert drawn(page.locator("canvas").first) != before
