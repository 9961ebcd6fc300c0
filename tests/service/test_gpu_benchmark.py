"""Test of benchmarks/gpu.py in small: one bundle and one run, on the device that is there."""

from dataclasses import replace

from synthetic_hands import LONG, write_hands

from benchmarks import gpu
from benchmarks.gpu import Clock, report
from training.catalogue import get_run


def test_the_benchmark_of_gpus_measures_a_bundle_and_a_run_and_says_on_which_device(bundles, tmp_path, monkeypatch):
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "hands-modes").symlink_to(bundles / "hands-modes")
    data = write_hands(tmp_path / "data", LONG)
    small = get_run("hands-eqmotion")
    small = replace(small, data=replace(small.data, sources=("leap", "tzionas")))
    monkeypatch.setattr(gpu, "all_runs", lambda: {run.name: run for run in (small, get_run("face-pointnet2"))})
    result = report("cpu", tmp_path / "bundles", data, None, seconds=600)
    assert (result["device"], result["tf32"]) == ("cpu", "off")
    assert "no GPU" in result["note"]
    assert result["all_reduce"]["backend"] == "gloo"
    assert result["all_reduce"]["ranks"] == 2
    assert list(result["bundles"]) == ["hands-modes"]
    measured = result["bundles"]["hands-modes"]
    assert measured["provider"] == "CPUExecutionProvider"
    assert set(measured["laws"]) == {"translation", "rotation", "mirror-swap", "from the stored example"}
    assert max(measured["laws"].values()) < 1e-4
    assert measured["calibration"]["max_batch"] >= 1
    assert set(measured["runs"]["batch 1"]) == {"host arrays", "IO binding"}
    assert set(result["bf16_training_steps"]) == {"hands-eqmotion"}
    assert result["bf16_training_steps"]["hands-eqmotion"]["loss"] > 0
    assert list(result["not_run"]) == ["face-pointnet2"], "expected a run without its data to be listed with the reason"
    assert result["left_out"] == []


def test_what_does_not_fit_in_the_time_is_listed():
    clock = Clock(0.0)
    assert list(clock.within(["a", "b"], 1.0)) == []
    assert clock.left_out == ["a", "b"]
