"""Tests of recordings in a skeleton of one's own: they are read, checked, trained on and exported, and what does not fit is refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_hands import FPS, write_set
from own_skeletons import SKELETONS, TAIL_JOINTS, wagging, write_own_set

from models.contract.bundle import read_bundle
from models.skeletons.hand import ASSEMBLY101
from training.__main__ import main
from training.catalogue import get_run
from training.check import check
from training.data.reading import MalformedData
from training.engine.run import Base, Run
from training.engine.settings import Settings, WrongSetting
from training.settings import with_settings
from training.tasks.hands.carrying import with_carried_hands
from training.tasks.hands.data import Augmentation, augment
from training.tasks.hands.faults import Faults, with_faults, without_unseen_hands
from training.tasks.hands.models import MODELS
from training.tasks.hands.own.check import check_set
from training.tasks.hands.own.sets import own_sets

ROOT = Path(__file__).parents[5]
SMALL = {"channels": 4, "hidden": 4, "products": 2, "layers": 1, "curves": 1}
PRESET = "6+6@30"


def own(folder: Path, **settings: Any) -> Run[Any, Any]:
    return with_settings(get_run("hands-own"), Settings(preset=PRESET, **settings), folder)


def read(folder: Path, name: str, content: str) -> np.ndarray:
    """Return the joints of the first body of a recording, beside those of a set."""
    (folder / name).write_text(content)
    (one,) = [one for one in own_sets(folder / "hands")["lab"].read(folder / "hands", None) if one.name == name]
    assert one.clip.order.name == "tail"
    return one.clip.joints[:, 0]


def test_every_form_without_an_order_of_its_own_gives_the_same_bodies(tmp_path: Path):
    folder, tail = write_own_set(tmp_path / "lab"), wagging(20, seed=9)
    rows, writer = [[i / FPS, *np.ravel(points)] for i, points in enumerate(tail)], csv.writer(text := io.StringIO())
    writer.writerows([["time", *(f"{joint}_{axis}" for joint in TAIL_JOINTS for axis in "xyz")], *rows])
    for name, content in {
        "a.csv": text.getvalue(),
        "b.json": json.dumps({"fps": FPS, "joints": "tail", "past": tail.tolist()}),
        "c.jsonl": "\n".join(
            json.dumps({"time": i / FPS, "left": dict(zip(TAIL_JOINTS, points.tolist(), strict=True))})
            for i, points in enumerate(tail)
        ),
    }.items():
        np.testing.assert_allclose(read(folder, name, content), tail, atol=1e-6)


def test_a_table_of_a_body_with_two_sides_is_no_table_of_two_hands(tmp_path: Path):
    folder, puppet = write_own_set(tmp_path / "lab", "puppet"), wagging(20, "puppet")
    names = [f"{joint}_{axis}" for joint in SKELETONS["puppet"].joints for axis in "xyz"]
    writer = csv.writer(text := io.StringIO())
    writer.writerows([["time", *names], *([i / FPS, *np.ravel(points)] for i, points in enumerate(puppet))])
    (folder / "a.csv").write_text(text.getvalue())
    (one,) = [one for one in own_sets(folder / "hands")["lab"].read(folder / "hands", None) if one.name == "a.csv"]
    np.testing.assert_allclose(one.clip.joints[:, 0], puppet, atol=1e-6)


def test_a_package_of_many_recordings_may_be_in_it_too(tmp_path: Path):
    folder = write_own_set(tmp_path / "lab")
    both = wagging(40, bodies=2).reshape(40, 2, 7, 3) * 1000
    np.savez(
        folder / "many.npz", joints=both.astype(np.float32), valid=np.ones((40, 2), bool), timestamp=np.arange(40) / FPS,
        seq_start=np.array([0, 20, 40]), seq_name=np.array(["a", "b"]), label=np.array(["wag", "wag"]),
    )  # fmt: skip
    read_ones = {one.name: one.clip for one in own_sets(folder / "hands")["lab"].read(folder / "hands", None)}
    np.testing.assert_allclose(read_ones["many.npz#b"].joints, both[20:] / 1000, atol=1e-6)


def test_the_check_counts_bodies_of_any_size_and_the_digest_covers_the_skeleton(tmp_path: Path):
    folder = write_own_set(tmp_path / "lab")
    assert check(folder) == {"hands": {"lab": {"train": 4, "validation": 1, "test": 1}}}
    assert dict(check_set(folder).hands) == {"one body": 6}
    before = own_sets(folder / "hands")["lab"].sha256
    changed = {**SKELETONS["tail"].model_dump(exclude_none=True), "root": "joint6"}
    (folder / "skeleton.json").write_text(json.dumps(changed))
    assert own_sets(folder / "hands")["lab"].sha256 != before


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"skeleton": None}, r'dataset\.json: expected "skeleton": "skeleton\.json", which is beside it, got none'),
        ({"joints": "mediapipe"}, "expected `joints` or `skeleton`, got joints mediapipe and a skeleton; leave one out"),
        ({"skeleton": "bones.txt"}, "skeleton: expected skeleton.json, which is beside dataset.json, or a skeleton, got 'bones.txt'"),
        ({"skeleton": {"name": "tail"}}, r"skeleton\.joints: expected a value, got none"),
        ({"skeleton": SKELETONS["sixteen"].model_dump(exclude_none=True)}, "expected 16 joints of sixteen, got 7"),
        ({"units": "ft", "fps": 1}, "fps: expected a number greater than or equal to 5, got 1"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_of_a_skeleton_is_refused(declared: dict[str, Any], message: str, tmp_path: Path):
    folder = write_own_set(tmp_path / "lab")
    content = json.loads((folder / "dataset.json").read_text()) | declared
    (folder / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(MalformedData, match=message):
        check(folder)


def test_a_wrong_skeleton_a_trackers_log_and_an_impossible_size_are_refused(tmp_path: Path):
    folder = write_own_set(tmp_path / "lab")
    (folder / "a.json").write_text(json.dumps({"fps": FPS, "joints": "leap", "past": wagging(20).tolist()}))
    with pytest.raises(
        MalformedData, match=r"a\.json: expected joints of tail, the skeleton that dataset\.json declares, got"
    ):
        check(folder)
    (folder / "a.json").write_text(json.dumps({"fps": FPS, "units": "m", "past": (wagging(20) * 1e4).tolist()}))
    with pytest.raises(MalformedData, match=r"a\.json: expected a body in tail order of 1 mm to 100 m, got"):
        check(folder)
    (folder / "skeleton.json").write_text('{"name": "tail", "joints": ["a", "b"], "bones": [["a", "c"]]}')
    with pytest.raises(MalformedData, match=r"skeleton\.json: expected the joints a, b, got 'c'"):
        check(folder)
    (folder / "skeleton.json").unlink()
    with pytest.raises(
        MalformedData, match=r"^skeleton\.json: expected this file, which dataset\.json names, got none"
    ):
        check(folder)


def test_bodies_and_hands_do_not_mix(tmp_path: Path):
    write_own_set(tmp_path / "hands/lab")
    write_set(tmp_path / "hands/more", name="more")
    with pytest.raises(
        WrongSetting, match="expected sources of one skeleton, got lab tail, more hands; choose some with"
    ):
        own(tmp_path)
    assert own(tmp_path, sources=("lab",)).task.order == "tail"
    assert own(tmp_path, sources=("more",)).task.layout is ASSEMBLY101


def test_a_network_that_knows_hands_alone_is_refused_and_the_others_are_built(tmp_path: Path):
    folder = write_own_set(tmp_path / "lab")
    for name, model in MODELS.items():
        if not model.any_skeleton:
            with pytest.raises(
                WrongSetting, match=r"expected a network of any joints for the skeleton tail, one of Temporal"
            ):
                own(folder, architecture=name)
            continue
        run = own(folder, architecture=name)
        assert run.task.axes["nodes"] == (7, 14)
        assert sum(parameter.numel() for parameter in run.build().parameters()) > 0


@pytest.mark.parametrize("bodies", [1, 2])
def test_a_batch_has_the_bodies_of_the_recordings(bodies: int, tmp_path: Path):
    run = own(write_own_set(tmp_path / "lab", "puppet", bodies=bodies))
    batches = run.data.load(tmp_path / "lab")
    shapes = {batches.training_batch(0, step)[0]["past"].shape[1:3] for step in range(8)}
    assert shapes == ({(6, 4)} if bodies == 1 else {(6, 4), (6, 8)})


def test_windows_are_changed_along_the_skeleton():
    puppet, clip = SKELETONS["puppet"].layout, wagging(12, "puppet", bodies=2).astype(np.float32)[None]
    rng = np.random.default_rng(0)
    mirrored = augment(clip, Augmentation(mirror=1.0, one_hand=0.0), rng, puppet)
    np.testing.assert_array_equal(mirrored, (clip * np.array([-1, 1, 1], np.float32))[:, :, [6, 5, 4, 7, 2, 1, 0, 3]])
    assert augment(clip, Augmentation(one_hand=1.0), rng, puppet).shape[2] == 4
    _, seen = with_faults(clip, Faults(lost=1.0), rng, puppet)
    assert sorted(seen[0, -1].reshape(2, 4).all(axis=1)) == [False, True], "expected one body lost at the end"
    seen[0, :, :4] = False
    future = without_unseen_hands(clip, seen, puppet)
    assert np.isnan(future[0, :, :4]).all()
    assert np.isfinite(future[0, :, 4:]).all()
    steps = np.diff(with_carried_hands(clip, 1.0, 5, FPS, rng, puppet) - clip, axis=1)
    np.testing.assert_allclose(steps[:, :, :4], np.repeat(steps[:, :, :1], 4, axis=2), atol=1e-6)


def test_a_bundle_of_another_skeleton_is_no_beginning(tmp_path: Path):
    folder, base = write_own_set(tmp_path / "lab", frames=90), Base.of(ROOT / "bundles/hands-forecast")
    with pytest.raises(
        WrongSetting,
        match=r"hands-forecast \w+ has weights for the joints of assembly101, got recordings of tail; train without --from",
    ):
        with_settings(get_run("hands-own"), Settings(base=base), folder)


@pytest.mark.parametrize(("skeleton", "architecture"), [("tail", None), ("sixteen", "EqMotion")])
def test_a_forecaster_of_bodies_is_trained_and_exported_with_its_skeleton_and_is_a_beginning(
    skeleton: str, architecture: str | None, tmp_path: Path
):
    folder = write_own_set(tmp_path / "lab", skeleton, frames=30, bodies=1 if architecture is None else 2)
    sizes = SMALL if architecture is None else {"channels": 4, "hidden": 4, "layers": 1}
    common = ["hands-own", "--data", str(folder), "--preset", PRESET, "--steps", "4", "--device", "cpu"]
    common += [part for name, value in sizes.items() for part in ("--set", f"{name}={value}")]
    common += ["--architecture", architecture] if architecture else []
    out = ["--out", str(tmp_path / "runs")]
    main([*out, "run", *common, "--name", "wag"])
    main([*out, "export", *common, "--name", "wag", "--bundle", str(tmp_path / "wag")])
    meta = read_bundle(tmp_path / "wag").meta
    assert (meta.task.order, meta.task.skeleton) == (skeleton, SKELETONS[skeleton])  # pyright: ignore[reportAttributeAccessIssue] - hands
    assert {"translation", "rotation", "mirror-swap"} == set(meta.symmetries)
    assert all(one.baseline_value is not None for one in meta.measurements)
    assert (
        f"Skeleton `{skeleton}`, {len(SKELETONS[skeleton].joints)} joints: " in (tmp_path / "wag/README.md").read_text()
    )
    if architecture is None:  # its graph is traced, which is slow
        return
    further = ["--from", str(tmp_path / "wag"), "--name", "wag-more"]
    main([*out, "run", *common, *further])
    main([*out, "export", *common, *further, "--bundle", str(tmp_path / "wag-more")])
    assert read_bundle(tmp_path / "wag-more").meta.base == f"wag {read_bundle(tmp_path / 'wag').meta.version}"
