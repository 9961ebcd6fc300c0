"""Tests of the page at / in Chromium with small models, one in its own skeleton, and no worker: what is compared, and what waits."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from waiting import post

from models.contract.task import HandForecast

from .browser import tab, unnamed, upload
from .conftest import make_hands
from .processes import Stack, stack
from .tasks.hands.test_own_skeletons import make_own
from .test_page_own_data import zipped
from .test_pages import clip

pytestmark = pytest.mark.long(90)


@pytest.fixture(scope="module")
def mixed(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a service with the same forecast over a third of a second and over a second, and a tail's."""
    folder: Path = tmp_path_factory.mktemp("mixed")
    make_hands(folder, "hands-ten", HandForecast(past=10, future=10, fps=30))
    make_hands(folder, "hands-thirty", HandForecast(past=30, future=30, fps=30))
    make_own(folder, "tail", "tail")
    with stack(tmp_path_factory.mktemp("data"), folder) as running:
        running.api()
        yield running


def says(page: Page, pattern: str) -> None:
    expect(page.locator("section").get_by_text(re.compile(pattern))).to_be_visible()


def test_errors_are_compared_over_equal_times(browser, mixed):
    """Both models continue at the last velocity, so that they are equally far off while both go on."""
    with tab(browser, f"{mixed.url}/#hands/hands-thirty") as page:
        says(page, "hands-thirty forecast .* mm from what came")
        table = page.get_by_role("group", name=re.compile("Distance from what came"))
        expect(table.get_by_role("columnheader")).to_have_text(
            ["model", "mean to 0.33 s", "at 0.33 s", "mean to 1 s", "at 1 s"]
        )
        expect(table.locator("tbody tr")).to_have_count(2)
        rows = {row[0]: row[1:] for row in (line.split("\t") for line in table.locator("tbody tr").all_inner_texts())}
        ten, thirty = rows["hands-ten"], next(row for name, row in rows.items() if name.startswith("hands-thirty"))
        assert ten[:2] == thirty[:2]
        assert float(thirty[2]) > float(thirty[0]) > 0
        assert ten[2:] == ["\u2013"] * 2
        says(page, "The sample is the whole test recording of tzionas with two hands")
        expect(page.get_by_role("link", name="errors on all test recordings")).to_have_attribute(
            "href", "#models/hands-thirty"
        )


def test_a_model_of_its_own_skeleton_is_named_beside_the_comparison_and_has_its_own_example(browser, mixed):
    with tab(browser, mixed.url) as page:
        says(page, "hands-ten forecast .* of the sample")
        says(page, "Not compared, since they take other joints: tail")
        expect(page.locator("section").get_by_role("link", name="tail")).to_have_attribute("href", "#models/tail")
        page.get_by_label("model", exact=True).select_option("tail")
        says(page, "tail forecast 0.33 s of the example of tail")
        says(page, "Not compared, since they take other joints: hands-ten, hands-thirty")
        expect(page.get_by_label("joint order").locator("option")).to_have_text(["tail"])
        upload(page, [clip()])  # of hands: a model of hands is chosen for it
        says(page, "hands-ten forecast 0.33 s of own.json")
        page.get_by_label("model", exact=True).select_option("tail")
        expect(page.get_by_role("alert")).to_contain_text("tail takes its own skeleton, tail of 7 joints")
        assert unnamed(page) == []
        page.get_by_role("button", name="Open the example of tail").click()
        says(page, "tail forecast 0.33 s of the example of tail")
        expect(page.get_by_role("alert")).to_be_hidden()
        page.get_by_role("button", name="Stream this clip").click()
        says(page, "tail answered 1 of 10 frames of the example of tail")
        page.goto(f"{mixed.url}/#hands/hands-thirty")
        says(page, "hands-thirty forecast 1.00 s of the sample")


def test_a_set_that_is_checked_by_nobody_says_so(browser, mixed):
    headers = {"content-type": "application/zip"}
    sent = post(f"{mixed.url}/datasets?name=alone", content=zipped([("wave.jsonl", b"{}")]), headers=headers)
    assert sent.is_success, sent.text
    with tab(browser, f"{mixed.url}/#data") as page:
        expect(page.get_by_text("checking", exact=True)).to_be_visible()
        says(
            page,
            "No worker is connected: a data set stays “checking” until one is. The command make worker starts one.",
        )


def test_jobs_are_told_apart_by_their_settings_and_a_failed_one_by_its_error(browser, mixed):
    train = {"kind": "train", "run": "hands-forecast"}
    several = ({"steps": 5}, {"steps": 6, "seeds": [1]}, {"steps": 5, "learning_rate": 0.002})
    jobs = [post(f"{mixed.url}/jobs", json=train | more).json()["id"] for more in several]
    table = mixed.table()
    lease = table.claim(jobs[0], "worker")
    assert lease is not None
    table.finish(lease, "failed", error={"type": "ValueError", "detail": "no recordings\nof hands", "lines": []})
    with tab(browser, f"{mixed.url}/#jobs", width=390, height=844) as page:
        rows = page.get_by_role("table", name="Newest first").locator("tbody tr")
        for job, said in zip(jobs, ("steps 5 · seed 0", "steps 6 · seed 1", "learning rate 0.002"), strict=True):
            expect(rows.filter(has_text=job[:8])).to_contain_text(said)
        expect(rows.filter(has_text=jobs[0][:8])).to_contain_text("no recordings")
        expect(rows.filter(has_text=jobs[0][:8])).not_to_contain_text("of hands")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
