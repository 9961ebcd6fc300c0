"""Tests of the page at / in Chromium: bodies, jobs, models, data sets and the camera."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from waiting import post, until

from models.skeletons.body_orders import BODIES
from models.skeletons.hand import HANDS
from service.jobs import artifacts
from service.jobs.records import Lease
from service.jobs.table import JobTable
from service.routes.page import CAMERA, WEB
from training.engine.sweep import Cell, Sweep

from .browser import drawn, tab, upload

pytestmark = pytest.mark.long(90)

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture(scope="module")
def person(site) -> np.ndarray:
    """(frames, joints, 3): x and y in pixels of 1000 by 1000, and confidence, in Human3.6M's order."""
    frames = site.get("/models/poses-lift/example")["keypoints"]
    return np.array([[point or (0, 0, 0) for point in frame] for frame in frames])


def in_order(person: np.ndarray, name: str) -> np.ndarray:
    """Return a person in another order; joints that Human3.6M's lacks are unseen."""
    known, same = BODIES["h36m-17"].joints, {"nose": "head_base", "neck": "thorax"}
    wanted = [same.get(joint, joint) for joint in BODIES[name].joints]
    blank = np.zeros_like(person[:, 0])
    return np.stack([person[:, known.index(joint)] if joint in known else blank for joint in wanted], axis=1)


def test_a_body_is_lifted_forecast_and_recognised_at_once(browser, site):
    with tab(browser, f"{site.url}/#bodies") as page:
        facts = page.locator("section")
        expect(facts.get_by_text(re.compile("poses-lift lifted 86 poses of the sample"))).to_be_visible()
        expect(
            facts.get_by_text(re.compile(r"On average [\d.]+ % of the person.s height from what came"))
        ).to_be_visible()
        expect(facts.locator("meter")).to_have_count(5)
        page.get_by_role("slider", name="Time").fill("70")
        page.wait_for_timeout(500)
        for canvas in page.locator("canvas").all():
            assert drawn(canvas) > 0.005


@pytest.mark.parametrize("detector", ["openpose", "coco", "mediapipe"])
def test_what_detectors_write_is_read(browser, site, person, detector):
    if detector == "openpose":  # a file a frame
        frames = in_order(person, "openpose-25").round(2)
        documents = [{"version": 1.3, "people": [{"pose_keypoints_2d": frame.ravel().tolist()}]} for frame in frames]
        files = [(f"clip_{i}_keypoints.json", json.dumps(document).encode()) for i, document in enumerate(documents)]
    elif detector == "coco":
        frames = in_order(person, "coco-17").round(2)
        results = [{"image_id": i, "score": 1, "keypoints": frame.ravel().tolist()} for i, frame in enumerate(frames)]
        files = [("results.json", json.dumps(results).encode())]
    else:
        frames = in_order(person, "mediapipe-33")
        points = [
            [{"x": x / 1000, "y": y / 1000, "z": 0, "visibility": seen} for x, y, seen in f.tolist()] for f in frames
        ]
        files = [("poses.json", json.dumps([{"pose_landmarks": [frame]} for frame in points]).encode())]
    with tab(browser, f"{site.url}/#bodies") as page:
        facts = page.locator("section")
        expect(facts.get_by_text(re.compile("86 poses of the sample"))).to_be_visible()
        upload(page, files)
        name = f"{len(files)} files" if len(files) > 1 else files[0][0]
        expect(facts.get_by_text(re.compile(f"lifted 86 poses of {name}"))).to_be_visible()
        expect(facts.get_by_text(re.compile("of the person.s height from what came"))).to_be_visible()
        assert drawn(page.locator("canvas").first) > 0.002


def test_a_body_that_is_none_says_why(browser, site):
    with tab(browser, f"{site.url}/#bodies", refused=True) as page:
        expect(page.locator("section").get_by_text(re.compile("86 poses of the sample"))).to_be_visible()
        upload(page, [("keypoints.json", json.dumps([{"people": 3}]).encode())])
        expect(page.get_by_role("alert")).to_contain_text("What to do:")


def test_a_job_is_submitted_followed_cancelled_and_removed(browser, site):
    with tab(browser, f"{site.url}/#jobs", refused=True) as page:
        expect(page.get_by_text("No worker is connected")).to_be_visible()
        page.get_by_text("Submit a job").click()
        page.get_by_label("Fields of the job, as JSON").fill('{"kind": "train", "steps": "many"}')
        page.get_by_role("button", name="Submit", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("/run")
        page.get_by_role("button", name="train", exact=True).click()
        page.get_by_role("button", name="Submit", exact=True).click()
        expect(page.get_by_role("heading", name=re.compile("train hands-forecast"))).to_be_visible()
        (job,) = site.get("/jobs")["jobs"]
        table = site.table()
        lease = table.claim(job["id"], "worker")
        assert lease is not None
        for step in (10, 20, 30):  # as a worker reports them
            table.report(
                lease, ("metrics", {"step": step, "steps": 40, "loss": 1 / step}), ("log", {"text": f"at {step}"})
            )
        table.report(lease, *(("progress", {"step": step, "steps": 40, "loss": 2 / step}) for step in (31, 32)))
        expect(page.get_by_role("img", name="loss by step", exact=True)).to_be_visible()
        expect(page.get_by_role("img", name="training loss by step")).to_be_visible()
        expect(page.get_by_text("step 32 of 40")).to_be_visible()
        expect(page.get_by_label("Log")).to_contain_text("at 30")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("cancelling", exact=True)).to_be_visible()
        table.release(lease)
        expect(page.get_by_role("button", name="Retry")).to_be_visible()
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("No job yet.")).to_be_visible()
        assert site.get("/jobs")["jobs"] == []


def claimed(table: JobTable, job: str) -> Lease:
    return until("the job to be queued", lambda: table.claim(job, "worker"))


def test_a_sweep_shows_its_trainings_which_are_not_in_the_list(browser, site):
    sweep = post(f"{site.url}/jobs", json={"kind": "sweep", "run": "hands-forecast", "grid": {"layers": [2, 3]}}).json()
    table = site.table()
    children = table.children(sweep["id"])
    with tab(browser, f"{site.url}/#jobs/{sweep['id']}") as page:
        expect(page.get_by_role("heading", name=re.compile("sweep hands-forecast"))).to_be_visible()
        expect(page.get_by_text(re.compile("waits for its trainings"))).to_be_visible()
        rows = page.get_by_role("table", name="Trainings of the sweep").get_by_role("row")
        expect(rows).to_have_count(1 + len(children))
        expect(rows.nth(1)).to_contain_text("2")
        expect(page.get_by_role("table", name="Newest first").get_by_role("row")).to_have_count(2)
        rows.nth(1).get_by_role("link").click()
        expect(page.get_by_role("heading", name=re.compile("train hands-forecast"))).to_be_visible()
        page.get_by_role("link", name=sweep["id"][:8]).click()
        scores = (2.0, 1.0)
        for child, score in zip(children, scores, strict=True):  # as a worker ends them
            table.finish(claimed(table, child.id), "succeeded", result={"best": {"score": score}})
        lease = claimed(table, sweep["id"])
        cells = [Cell(settings={"layers": i}, score=score, job=children[i].id) for i, score in enumerate(scores)]
        Sweep(run="r", cells=tuple(cells)).write(artifacts.begin(site.state / "jobs", lease.job, lease.attempt))
        result = {"best_cell": 1, "cells": [cell.model_dump(mode="json") for cell in cells]}
        table.finish(lease, "succeeded", result=result)
        expect(rows.nth(2)).to_contain_text("1.000, the best")
        expect(page.get_by_role("img", name=re.compile("Validation score of each cell"))).to_be_visible()
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("No job yet.")).to_be_visible()
        assert site.get("/jobs")["jobs"] == []


def test_models_have_cards_with_their_errors_beside_those_without_weights(browser, site):
    with tab(browser, f"{site.url}/#models") as page:
        cards = page.locator("details.card")
        expect(cards).to_have_count(len(site.get("/models")["models"]))
        marked = cards.filter(has=page.get_by_text("default", exact=True))
        defaults = ["actions-hdm05", "face-se3unet", "hands-forecast", "poses-forecast", "poses-lift"]
        expect(marked.locator("summary b")).to_have_text(defaults)
        card = page.locator('details[data-name="face-se3unet"]')
        card.locator("summary").click()
        expect(card.get_by_text("mean face, aligned").first).to_be_visible()
        expect(card.get_by_text("ict_facekit")).to_be_visible()


def test_an_archive_that_is_none_is_refused_with_the_reason(browser, site):
    with tab(browser, f"{site.url}/#data", refused=True) as page:
        expect(page.get_by_text("No data set yet")).to_be_visible()
        upload(page, [("own.zip", b"no archive")])
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("What to do:")


def test_a_page_without_the_finder_of_hands_says_how_to_get_it(browser, site):
    with tab(browser, f"{site.url}/web/index.html", refused=True) as page:
        page.route("**/web/parts.json", lambda route: route.fulfill(json={"camera": False}))
        page.goto(site.url)
        expect(page.get_by_text("make page-camera")).to_be_visible()
        expect(page.get_by_role("button", name="Start the camera")).to_be_hidden()


STAND_IN = """
globalThis.Hands = class {
  constructor() { this.frame = 0 }
  setOptions() {}
  onResults(listen) { this.listen = listen }
  async send({ image }) {
    if (!image.videoWidth) throw new Error('no picture')
    const world = POINTS.map(([x, y, z]) => ({ x, y, z })), shift = 0.1 * Math.sin(this.frame++ / 15)
    const flat = world.map(({ x, y, z }) => ({ x: 0.5 + shift + x / (0.6 + z), y: 0.5 + (y * 4 / 3) / (0.6 + z), z: 0 }))
    this.listen({ multiHandLandmarks: [flat], multiHandWorldLandmarks: [world], multiHandedness: [{ label: 'Left' }] })
  }
  close() {}
}
"""


def test_hands_of_the_camera_are_forecast_through_the_stream(browser, site):
    """Chromium's own picture has no hand: a stand-in for MediaPipe finds one in each frame of it, so that all else is real."""
    sample = json.loads((WEB / "samples" / "hands.json").read_text())
    order, wanted = HANDS["assembly101"].joints, HANDS["mediapipe"].joints
    hand = np.array(sample["right"][0]) / 1000
    hand -= hand.mean(axis=0)
    near = {joint: joint.replace("cmc", "mcp") for joint in wanted}
    points = [hand[order.index(joint if joint in order else near[joint])].tolist() for joint in wanted]
    wrist, knuckle = order.index("wrist"), order.index("thumb_mcp")
    points[wanted.index("thumb_cmc")] = ((hand[wrist] + hand[knuckle]) / 2).tolist()
    with tab(browser, f"{site.url}/web/index.html", refused=True) as page:
        page.route("**/web/parts.json", lambda route: route.fulfill(json={"camera": True}))
        script = f"const POINTS = {json.dumps(points)}\n{STAND_IN}"
        page.route(
            "**/vendor/mediapipe/hands.js", lambda route: route.fulfill(body=script, content_type="text/javascript")
        )
        page.goto(site.url)
        page.get_by_role("button", name="Start the camera").click()
        expect(page.get_by_text(re.compile(r"right in view · .* a forecast takes [\d.]+ ms"))).to_be_visible()
        page.get_by_role("button", name="Stop the camera").click()
        expect(page.get_by_text("Stopped.")).to_be_visible()


@pytest.mark.skipif(not (WEB / CAMERA).is_file(), reason="no finder of hands; `make page-camera` fetches it")
def test_the_finder_of_hands_runs_on_the_camera(browser, site):
    with tab(browser, site.url) as page:
        page.get_by_role("button", name="Start the camera").click()
        expect(page.get_by_text(re.compile("no hand in view · .* finding a hand takes"))).to_be_visible(timeout=120_000)


@pytest.mark.parametrize("section", ["bodies", "jobs", "models", "data"])
def test_a_phone_scrolls_only_downwards(browser, site, section):
    with tab(browser, f"{site.url}/#{section}", width=390, height=844) as page:
        expect(page.locator("section h2").first).to_be_visible()
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_fine_tuning_has_the_network_and_window_of_its_base_and_the_chosen_sources(browser, site):
    """No worker runs here: the test answers for its check, and the page says what the job waits for."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("wave.jsonl", "{}")
    headers = {"content-type": "application/zip"}
    sent = post(f"{site.url}/datasets?name=wait", content=buffer.getvalue(), headers=headers).json()
    table = site.table()
    lease = table.claim(sent["job"], "worker")
    assert lease is not None
    table.finish(lease, "succeeded", result={"counts": {"hands": {"wait": {"train": 4}, "leap": {"train": 9}}}})
    with tab(browser, f"{site.url}/#data/wait") as page:
        form = page.get_by_role("form", name="Train on wait")
        expect(form.get_by_text("No worker is connected")).to_be_visible()
        form.get_by_label("fine-tune from").select_option("hands-forecast")
        expect(form.get_by_label("past, in frames")).to_be_disabled()
        form.get_by_label("length of the training").fill("2")
        form.get_by_label("counted in").select_option("epochs")
        form.get_by_label("leap").uncheck()
        form.get_by_role("button", name="Train").click()
        expect(page.get_by_text("no worker of queue cpu is connected")).to_be_visible()
    (job,) = [job for job in site.get("/jobs")["jobs"] if job["kind"] == "train"]
    fields = ("base", "epochs", "sources", "dataset", "preset", "steps")
    assert [job["spec"].get(name) for name in fields] == ["hands-forecast", 2, ["wait"], "wait", None, None]
