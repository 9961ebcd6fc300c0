"""`chiron landmarks`: scans in files to landmarks in files, by the functions of POST /landmarks/face."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.contract.bundle import Bundle
from models.contract.task import FaceLandmarks
from models.contract.units import to_metres
from models.pictures.faces import draw_face
from models.scans.cloud import Scan
from models.scans.files import read_scan
from models.scans.levels import Face, find
from models.skeletons.face import FACE68
from service.inference.predictor import Predictor
from service.tasks.faces import answers
from service.tasks.faces import prepare as faces
from service.tasks.faces.schemas import Heatmaps
from service.tasks.fields import Unit
from service.tasks.files import (
    SAID,
    Refused,
    check_picture,
    check_target,
    sentence,
)

Form = Literal["json", "csv", "npz", "ply"]
FORMS = (".json", ".csv", ".npz", ".ply")
WITH_HEATMAPS = {"none": FORMS, "points": (".json", ".npz"), "full": (".npz",)}
MAX_BYTES, MAX_POINTS = 2 << 30, 50_000_000  # of a file of one's own; a server takes less


@dataclass(frozen=True)
class Job:
    """One scan, where its landmarks go (None: to be printed) and where its picture goes, if there is to be one."""

    scan: Path
    output: Path | None
    picture: Path | None

    @property
    def suffix(self) -> str:
        return ".json" if self.output is None else self.output.suffix.lower()


def jobs_of(scans: Sequence[Path], output: str | None, plot: str | None, form: Form, heatmaps: Heatmaps) -> list[Job]:
    """What is to be done, checked as far as it can be before anything is read or made.

    `output` and `plot` are files for one scan, or folders, in which a file is called as its scan. Raises Refused, NoMatplotlib,
    UnknownFormat.
    """
    if len(scans) > 1 and not _is_folder(output):
        came = "nothing" if output is None else output
        raise Refused(f"landmarks of {len(scans)} scans want a folder, -o FOLDER{os.sep}; came {came}")
    if len(scans) > 1 and plot is not None and not _is_folder(plot):
        raise Refused(f"pictures of {len(scans)} scans want a folder, --plot FOLDER{os.sep}; came {plot}")
    jobs = [Job(scan, _target(output, scan, f".{form}"), _target(plot, scan, ".png")) for scan in scans]
    taken: dict[str, Path] = {}
    for job in jobs:
        if (other := taken.setdefault(job.scan.stem, job.scan)) is not job.scan:
            raise Refused(f"{other} and {job.scan} would both be written as {job.scan.stem}{job.suffix}")
        check_target(job.output, job.scan, FORMS, folder=_is_folder(output))
        check_picture(job.picture, job.scan, folder=_is_folder(plot))
        if job.suffix not in WITH_HEATMAPS[heatmaps]:
            raise Refused(f"--heatmaps {heatmaps} wants {' or '.join(WITH_HEATMAPS[heatmaps])}; came {job.suffix}")
    return jobs


def _is_folder(text: str | None) -> bool:
    return text is not None and (text.endswith(("/", os.sep)) or Path(text).is_dir())


def _target(text: str | None, scan: Path, suffix: str) -> Path | None:
    if text is None or not _is_folder(text):
        return None if text is None else Path(text)
    return Path(text) / f"{scan.stem}{suffix}"


def find_landmarks(
    job: Job, bundle: Bundle, predictor: Predictor, units: Unit | Literal["auto"] = "auto", heatmaps: Heatmaps = "none"
) -> bytes:
    """Do one job; the answer in the form of its output, which is written if it has one.

    Raises Refused, BadCloud, UnclearUnits, NoFace, OSError.
    """
    meta, task = bundle.meta, faces.task_of(bundle.meta)
    size = job.scan.stat().st_size
    if size > MAX_BYTES:
        raise Refused(f"files of at most {MAX_BYTES} bytes are read; this has {size}")
    scan = read_scan(job.scan.read_bytes(), job.scan.suffix, max_bytes=MAX_BYTES, max_points=MAX_POINTS)
    question = faces.prepare(scan, units, heatmaps)
    face = find(question.points, task, predictor.run)
    faces.require_face(question, face)
    if job.suffix == ".npz":
        content = answers.npz_bytes(question, face, meta, heatmaps)
    elif job.suffix == ".ply":
        content = answers.ply_bytes(question, face, meta)
    elif job.suffix == ".csv":
        content = csv_bytes(question, face)
    else:
        content = answers.json_bytes(answers.document(question, face, meta, heatmaps))
    for path in (job.output, job.picture):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if job.output is not None:
        job.output.write_bytes(content)
    if job.picture is not None:
        draw(job.picture, scan, question, face, task, job.scan.name)
    return content


def find_all(
    jobs: Sequence[Job], bundle: Bundle, predictor: Predictor, units: Unit | Literal["auto"], heatmaps: Heatmaps
) -> list[str]:
    """Do the jobs with a progress bar on standard error; a sentence for each scan that failed."""
    from tqdm import tqdm

    failed = []
    for job in tqdm(jobs, unit="scan"):
        try:
            find_landmarks(job, bundle, predictor, units, heatmaps)
        except SAID as error:
            failed.append(sentence(error, job.scan))
    return failed


def csv_bytes(question: faces.Question, face: Face) -> bytes:
    """A line a landmark, in the scan's frame and unit."""
    table = csv.writer(text := io.StringIO(), lineterminator="\n")
    table.writerow(("index", "name", "x", "y", "z", "confidence"))
    places = faces.landmarks_of(question, face).tolist()
    for index, (name, place, sure) in enumerate(zip(FACE68.joints, places, face.confidence.tolist(), strict=True)):
        table.writerow((index, name, *place, f"{sure:.6g}"))
    return text.getvalue().encode()


def draw(path: Path, scan: Scan, question: faces.Question, face: Face, task: FaceLandmarks, title: str) -> None:
    """The picture of what was found."""
    draw_face(
        scan.points * to_metres(question.unit),
        face.landmarks,
        path,
        triangles=scan.triangles,
        confidence=face.confidence,
        confident_m=task.confident_m,
        heatmaps=face.heatmaps,
        samples=question.points[face.sampled],
        title=title,
    )
