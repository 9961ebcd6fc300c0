"""The bundle of a trained network: measured on the test split, exported, and staged as a version."""

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

from models.contract.bundle import Bundle
from models.contract.spec import TrainSpec
from service.jobs.worker.attempt import Attempt, Outcome
from service.jobs.worker.runs import changes_of, settings_of
from service.registry.versions import Lineage, Versions


def export_bundle(
    attempt: Attempt, spec: TrainSpec, run: Any, seed: int, data: Path, result: dict[str, Any], runs: Path
) -> Outcome:
    """Measure a network that was trained in `runs` on the test split, export its bundle, and stage the bundle as a version."""
    from training.catalogue import command_of
    from training.engine.checkpoints import BEST, load_best
    from training.engine.devices import device_of, on_device
    from training.engine.export import export
    from training.engine.folders import folder_of
    from training.studies import STUDIES

    network = load_best(run, folder_of(runs, run, seed) / BEST)
    attempt.log(f"measuring seed {seed} on the test split")
    with on_device(network, device_of(spec.device)):
        facts, table = STUDIES[run.task.kind].facts(run, network, data)
    report = folder_of(attempt.runs, run, seed) / "test.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(table + "\n")
    attempt.log("exporting the bundle and checking it against the network and its symmetries")
    bundle = export(
        network, attempt.folder / "bundle", facts, name=run.bundle_name, title=run.title, licence=run.licence, base=run.base,
        command=command_of(run, run.name, seed, changes_of(spec), settings_of(spec, run.base), export=True),
    )  # fmt: skip
    lineage = Lineage(
        job=attempt.lease.job,
        attempt=attempt.lease.attempt,
        run=run.name,
        seed=seed,
        data=spec.dataset or data.name,
        data_sha256=data_sha256(data, run.parts),
        git_commit=bundle.meta.git_commit,
        created_at=time.time(),
    )
    return _staged(attempt, bundle, lineage, result)


def _staged(attempt: Attempt, bundle: Bundle, lineage: Lineage, result: dict[str, Any]) -> Outcome:
    """Stage a bundle; the outcome publishes it as a version or discards the staged files."""
    versions, version = Versions.of(attempt.settings), bundle.meta.version
    attempt.log(f"{bundle.meta.name} {version} is ready")
    staging = versions.stage(bundle, lineage)
    finished = False

    def publish() -> None:
        nonlocal finished
        if not finished:
            versions.publish(staging, version)
        finished = True

    published = {"model": bundle.meta.name, "version": version}
    return Outcome(result | published, publish, lambda: shutil.rmtree(staging, ignore_errors=True))


def data_sha256(data: Path, parts: tuple[str, ...]) -> str:
    """Return the SHA-256 over the names and contents of all files in these parts of a data folder."""
    total = hashlib.sha256()
    for file in sorted(path for part in parts for path in (data / part).rglob("*") if path.is_file()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{file.relative_to(data)}:{digest}\n".encode())
    return total.hexdigest()
