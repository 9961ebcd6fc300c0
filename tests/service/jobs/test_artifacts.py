"""Tests of the files of jobs: each attempt has its own folder and starts from the previous one's checkpoints."""

from pathlib import Path

from service.jobs import artifacts


def test_an_attempt_starts_from_complete_checkpoints_of_the_previous_one(tmp_path: Path):
    first = artifacts.begin(tmp_path, "j", 1) / "runs" / "r" / "f"
    first.mkdir(parents=True)
    for name, content in {
        "last.ckpt": "l", "best.ckpt": "b", "history.jsonl": '{"step": 1}\n{"st', "last.part": "half",
        "events.out.tfevents.1": "t",
    }.items():  # fmt: skip
        (first / name).write_text(content)
    (tmp_path / "j" / "2.part" / "runs").mkdir(parents=True)  # an attempt that was killed during its start
    third = artifacts.begin(tmp_path, "j", 3)
    copies = {path.relative_to(third / "runs" / "r" / "f").as_posix(): path for path in third.rglob("*.*")}
    assert set(copies) == {"last.ckpt", "best.ckpt", "history.jsonl"}
    assert copies["history.jsonl"].read_text() == '{"step": 1}\n', (
        "expected no incomplete line, which would stop the next attempt"
    )
    (first / "last.ckpt").write_text("written by an attempt that was thought dead")
    assert copies["last.ckpt"].read_text() == "l"
    artifacts.remove_before(tmp_path, "j", 3)
    assert not first.exists()
    assert "runs/r/f/last.ckpt" in artifacts.files(tmp_path, "j", 3)


def test_links_and_incomplete_files_are_not_artifacts(tmp_path: Path):
    folder = artifacts.begin(tmp_path, "j", 1)
    (folder / "secret").symlink_to("/etc/passwd")
    (folder / "last.part").write_text("half")
    (folder / "table.md").write_text("whole")
    artifacts.mark_released(tmp_path, "j", 1)
    assert list(artifacts.files(tmp_path, "j", 1)) == ["table.md"]
