"""Tests of the page at / in Chromium: from recordings of one's own to a model that is served, and what is wrong on the way."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_hands import write_set
from own_skeletons import write_own_set
from playwright.sync_api import Browser, Page, expect
from waiting import post, until

from service.jobs.offers import OfferTable

from .browser import tab, unnamed, upload
from .processes import Stack, stack

pytestmark = pytest.mark.long(120)

MODEL = "hands-thirty"
WORK_MS = 300_000  # for the worker: it imports torch, reads, trains and exports, beside other tests


@pytest.fixture(scope="module")
def lab(browser: Browser, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a service with small models, and a worker."""
    with stack(tmp_path_factory.mktemp("data"), bundles) as running:
        running.api()
        running.worker()
        yield running


@pytest.fixture
def recordings(tmp_path: Path) -> list[tuple[str, bytes]]:
    """Return logs of MediaPipe without a declaration."""
    return [(path.name, path.read_bytes()) for path in sorted(write_set(tmp_path / "wave", frames=40).glob("*.jsonl"))]


def declare(page: Page, name: str) -> None:
    """Fill the form of recordings that have no dataset.json, and send it."""
    page.get_by_label("name of the data set").fill(name)
    page.get_by_label("licence").fill("CC0-1.0")
    page.get_by_label("attribution: whose recordings").fill("our laboratory")
    page.get_by_label("joint order").select_option("mediapipe")
    page.get_by_label("left and right are exchanged").check()
    page.get_by_role("button", name="Upload", exact=True).click()


def zipped(files: list[tuple[str, bytes]], top: str = "") -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(f"{top}{name}", content)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["files", "zip"])
def test_recordings_without_a_declaration_are_declared_in_a_form_and_are_ready_after_their_check(
    browser, lab, recordings, form
):
    files = recordings if form == "files" else [("wave.zip", zipped(recordings, "wave/"))]
    with tab(browser, f"{lab.url}/#data", width=390, height=844) as page:
        upload(page, files)
        expect(page.locator("section").get_by_text("It has no dataset.json")).to_be_visible()
        page.get_by_role("button", name="Upload", exact=True).click()  # the browser asks for the licence
        declare(page, f"own-{form}")
        card = page.get_by_role("group", name=f"Data set own-{form}")
        expect(card.get_by_text("It can be trained on.")).to_be_visible(timeout=WORK_MS)
        expect(card.get_by_role("row").nth(1)).to_contain_text(re.compile(f"hands/own-{form}.*4.*1.*1"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert unnamed(page) == []


def test_recordings_in_a_skeleton_of_ones_own_are_declared_in_the_form(browser, lab, tmp_path):
    folder = write_own_set(tmp_path / "tail", frames=40)
    with tab(browser, f"{lab.url}/#data") as page:
        upload(page, [(path.name, path.read_bytes()) for path in folder.iterdir() if path.name != "dataset.json"])
        page.get_by_label("name of the data set").fill("tails")
        page.get_by_label("licence").fill("CC0-1.0")
        page.get_by_label("attribution: whose recordings").fill("our laboratory")
        page.get_by_label("joint order").select_option("its own, in skeleton.json")
        page.get_by_label("frames a second, if without times").fill("30")
        page.get_by_role("button", name="Upload", exact=True).click()
        card = page.get_by_role("group", name="Data set tails")
        expect(card.get_by_text("It can be trained on.")).to_be_visible(timeout=WORK_MS)


def test_recordings_that_cannot_be_trained_on_are_named_each_with_its_fault(browser, lab, recordings):
    declared = {"name": "broken", "licence": "MIT", "attribution": "us", "joints": "mediapipe", "exchange_hands": True}
    declared["splits"] = {"seed": 0, "validation": 0.2, "test": 0.2}
    lines = recordings[0][1].splitlines(keepends=True)
    broken = [("bad-a.jsonl", b"".join(lines[:5])), ("bad-b.jsonl", lines[0] + b"{not json\n"), *recordings[2:]]
    with tab(browser, f"{lab.url}/#data") as page:
        upload(page, [*broken, ("dataset.json", json.dumps(declared).encode())])
        expect(page.locator("section").get_by_text("Its dataset.json declares them.")).to_be_visible()
        expect(page.get_by_label("licence")).to_be_hidden()
        page.get_by_label("name of the data set").fill("broken")
        page.get_by_role("button", name="Upload", exact=True).click()
        faults = page.get_by_role("alert").get_by_role("listitem")
        expect(faults).to_have_count(2, timeout=WORK_MS)
        expect(faults.nth(0)).to_contain_text("bad-a.jsonl: expected at least 12 frames, got 5")
        expect(faults.nth(1)).to_contain_text("bad-b.jsonl: line 2:")
        expect(page.get_by_role("link", name="Why broken is refused")).to_be_visible()


def test_files_that_are_no_recordings_are_refused(browser, lab):
    with tab(browser, f"{lab.url}/#data", refused=True) as page:
        upload(page, [("hands.mp4", b"film")])
        expect(page.get_by_role("alert")).to_contain_text("Expected recordings (.jsonl")


@pytest.fixture(scope="module")
def ready(lab: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a data set that is ready."""
    folder = write_set(tmp_path_factory.mktemp("own") / "lab", frames=40)
    content = zipped([(path.name, path.read_bytes()) for path in folder.iterdir()])
    assert post(f"{lab.url}/datasets?name=lab", content=content, headers={"content-type": "application/zip"}).is_success
    until("a ready data set", lambda: True if lab.get("/datasets/lab")["state"] == "ready" else None)
    OfferTable(lab.table()._engine).publish("architecture", ["Temporal"])  # the worker does so when it has time
    return "lab"


def test_a_ready_data_set_is_trained_on_and_the_model_is_promoted_tried_and_rolled_back(browser, lab, ready):
    """The model has the name of one that is shipped here, so that there is a version to roll back to."""
    with tab(browser, f"{lab.url}/#data/{ready}", width=390, height=844) as page:
        form = page.get_by_role("form", name="Train on lab")
        form.get_by_label("name of the model").fill(MODEL)
        form.get_by_label("architecture").select_option("Temporal")
        form.get_by_label("its sizes").fill("hidden=8")
        form.get_by_label("past, in frames").fill("10")
        form.get_by_label("future, in frames").fill("10")
        form.get_by_label("length of the training").fill("3")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        form.get_by_role("button", name="Train").click()
        expect(page.get_by_role("heading", name="train hands-own")).to_be_visible()
        promote = page.get_by_role("button", name=re.compile(f"Promote {MODEL}"))
        expect(promote).to_be_visible(timeout=WORK_MS)
        expect(page.get_by_role("group", name="Measured on test data")).to_contain_text("lab, ")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        (job,) = [job for job in lab.get("/jobs")["jobs"] if job["kind"] == "train"]
        spec = {name: job["spec"][name] for name in ("run", "dataset", "preset", "steps", "architecture", "network")}
        assert spec == {
            "run": "hands-own", "dataset": "lab", "preset": "10+10@30", "steps": 3, "architecture": "Temporal",
            "network": {"hidden": 8},
        }  # fmt: skip
        promote.click()
        page.get_by_role("link", name=f"Try {MODEL} on hands").click()
        expect(page.locator("section").get_by_text(f"{MODEL} forecast 0.33 s of the sample")).to_be_visible()
        expect(page.get_by_label("model", exact=True)).to_have_value(MODEL)
        page.get_by_role("button", name="Stream this clip").click()
        answered = page.locator("section").get_by_text(re.compile(rf"{MODEL} answered \d+ of \d+ frames .* mm off"))
        expect(answered).to_be_visible()
        version = lab.get(f"/models/{MODEL}")["version"]
        assert version == job["result"]["version"]

        page.goto(f"{lab.url}/#models/{MODEL}")
        page.locator(f'[data-name="{MODEL}"]').get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("status")).to_contain_text(f"{MODEL} serves version")
        assert lab.get(f"/models/{MODEL}")["version"] != version
