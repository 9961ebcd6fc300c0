"""The commands that work on files without a server: landmarks, forecast, lift and recognize."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from models.contract.bundle import read_bundle
from models.scans.files import formats
from models.skeletons.body_orders import BODIES
from models.skeletons.hand import HANDS as HAND_ORDERS
from models.skeletons.skeleton import Hand
from service.settings import InvalidSettings, Settings, read_settings
from service.tasks.bodies.endpoint import ACTIONS, LIFT, POSES
from service.tasks.bodies.schemas import Axes as BodyAxes
from service.tasks.endpoint import Endpoint
from service.tasks.faces.endpoint import FACE
from service.tasks.faces.schemas import Heatmaps
from service.tasks.faces.upload import CARRIES
from service.tasks.fields import MAX_FPS, MIN_FPS, Axes, Unit
from service.tasks.files import (
    FILE_ERRORS,
    MAX_BYTES,
    MAX_POINTS,
    STDIN,
    USAGE_ERRORS,
    LocalModels,
    answer_suffix,
    plan,
    process,
    sentence,
)
from service.tasks.hands.endpoint import HANDS

CLIPS = "Files, folders, or - for standard input: .json, .npz, .npy; for bodies also what OpenPose and other detectors wrote."
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A file; for several inputs a folder.", show_default="JSON, printed"),
]
Plot = Annotated[
    str | None, typer.Option(help="A picture of the answer, .png, .pdf or .svg; for several inputs a folder.")
]
Clips = Annotated[list[Path], typer.Argument(metavar="CLIP", help=CLIPS, show_default=False)]
ClipForm = Annotated[
    Literal["json", "npz", "npy"] | None,
    typer.Option(
        "--format", "--stdin", help="Of the clips.", show_default="what their names tell; json for standard input"
    ),
]
PoseForm = Annotated[Literal["json", "npz", "npy"], typer.Option("--to", help="Format of the answers in a folder.")]
Fps = Annotated[
    float | None,
    typer.Option(min=MIN_FPS, max=MAX_FPS, help="Frames a second of clip and answer.", show_default="the clip's"),
]
BodyJoints = Annotated[str | None, typer.Option(help=f"Joint order: {', '.join(BODIES)}.", show_default="the clip's")]
Model = Annotated[
    str | None, typer.Option(help="A bundle's name.", show_default="CHIRON_DEFAULT_MODEL, or the best by its card")
]
Bundles = Annotated[Path | None, typer.Option(help="Folder of bundles.", show_default="CHIRON_BUNDLES or bundles")]


def landmarks(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
            help=f"Files, folders, or - for standard input: {', '.join(formats())}.",
            show_default=False,
        ),
    ],
    output: Output = None,
    plot: Plot = None,
    aligned: Annotated[
        str | None,
        typer.Option(
            help="A copy of the scan in the head's frame, .ply; for several inputs a folder.", show_default="none"
        ),
    ] = None,
    units: Annotated[
        Literal["auto", "m", "cm", "mm", "in", "ft"],
        typer.Option(help="Of the scan and of the answer; auto infers m, cm or mm from the size."),
    ] = "auto",
    heatmaps: Annotated[
        Heatmaps,
        typer.Option(help="At the points that the network saw (points: .json, .npz), or at every point (full: .npz)."),
    ] = "none",
    form: Annotated[
        str | None,
        typer.Option("--format", "--stdin", help="Of the scans, such as ply.", show_default="what their names tell"),
    ] = None,
    to: Annotated[
        Literal["json", "csv", "npz", "ply", "obj", "mrk.json", "fcsv"],
        typer.Option("--to", help="Format of the answers in a folder."),
    ] = "json",
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Find the 68 landmarks of a face on a scan in any pose, in the scan's own coordinates. Needs no server."""
    form = form.lower().lstrip(".").removesuffix(".gz") if form else None
    if STDIN in scans and form is None:
        known = ", ".join(suffix[1:] for suffix in formats())
        _fail(f"expected --format with the format of the scan on standard input, one of {known}, got none")
    answers = [suffix for suffix, media in FACE.writes.items() if media in CARRIES[heatmaps]]
    suffix = answer_suffix(FACE, Path(output)) if output else ""
    if (suffix if suffix in FACE.writes else f".{to}") not in answers:
        _fail(f"expected an answer as {' or '.join(answers)} for --heatmaps {heatmaps}, got {suffix or f'.{to}'}")
    options = {"units": units, "heatmaps": heatmaps}
    _run(
        FACE, scans, options, output=output, plot=plot, aligned=aligned, form=form, to=to, model=model, bundles=bundles
    )


def forecast(
    clips: Clips,
    of: Annotated[
        Literal["hands", "poses"] | None,
        typer.Option(help="3D hands, or 2D poses of bodies.", show_default="by --model, or hands"),
    ] = None,
    output: Output = None,
    plot: Plot = None,
    fps: Fps = None,
    joints: Annotated[
        str | None,
        typer.Option(
            help=f"Joint order of hands: {', '.join(HAND_ORDERS)}; of poses: {', '.join(BODIES)}.",
            show_default="the clip's, or assembly101 for hands",
        ),
    ] = None,
    units: Annotated[
        Unit | None, typer.Option(help="Of clip and answer; hands only.", show_default="the clip's, or m")
    ] = None,
    hand: Annotated[Hand | None, typer.Option(help="Which hand the one in `past` is; hands only.")] = None,
    axes: Annotated[
        Axes | None,
        typer.Option(help="Handedness of the coordinates; hands only.", show_default="the clip's, or right-handed"),
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(
            help="Seconds after the last frame at which the answer ends; hands only.", show_default="the model's"
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Seconds after the last frame of each answer, such as 0.03,0.05; hands only.", show_default="frames"
        ),
    ] = None,
    spread: Annotated[bool, typer.Option("--spread", help="Add standard deviations; hands only.")] = False,
    hypotheses: Annotated[
        bool, typer.Option("--hypotheses", help="Add alternatives with probabilities; hands only.")
    ] = False,
    keep_bones: Annotated[
        bool, typer.Option("--keep-bones", help="Give bones the length of the last pose; hands only.")
    ] = False,
    form: ClipForm = None,
    to: PoseForm = "json",
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Forecast the next moments of one hand or two, or of a person's 2D poses, from the last ones. Needs no server."""
    endpoint = POSES if (of or _forecast_of(model, bundles)) == "poses" else HANDS
    of_hands: dict[str, Any] = {"units": units, "hand": hand, "axes": axes, "horizon": horizon}
    of_hands |= {"at": _numbers(at), "spread": spread or None, "hypotheses": hypotheses or None}
    of_hands["keep_bones"] = keep_bones or None
    if endpoint is POSES and (
        given := next((name.replace("_", "-") for name, value in of_hands.items() if value), None)
    ):
        _fail(f"--{given} is an option of hands; leave it out for poses, which have any unit")
    options = {"fps": fps, "joints": joints, **of_hands}
    _run(endpoint, clips, options, output=output, plot=plot, form=form, to=to, model=model, bundles=bundles)


def _numbers(text: str | None) -> list[float] | None:
    """Return the numbers between commas; end the command where there is something else."""
    try:
        return text if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        _fail(f"expected --at with seconds between commas, such as 0.03,0.05, got {text}")


def lift(
    clips: Clips,
    output: Output = None,
    plot: Plot = None,
    fps: Fps = None,
    joints: BodyJoints = None,
    image: Annotated[
        str | None, typer.Option(help="Size of the image in pixels, such as 1920x1080.", show_default="the clip's")
    ] = None,
    tall: Annotated[
        float | None, typer.Option("--height", help="Of the person, in metres.", show_default="a usual one")
    ] = None,
    keep_bones: Annotated[bool, typer.Option("--keep-bones", help="Give each bone one length over the clip.")] = False,
    form: ClipForm = None,
    to: PoseForm = "json",
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Lift a person's 2D keypoints to 3D poses, in metres from the pelvis. Needs no server."""
    size = None
    if image is not None:
        width, _, height = image.partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            _fail(f"expected --image WIDTHxHEIGHT in pixels, such as 1920x1080, got {image}")
        size = int(width), int(height)
    options = {"fps": fps, "joints": joints, "image": size, "height": tall, "keep_bones": keep_bones or None}
    _run(LIFT, clips, options, output=output, plot=plot, form=form, to=to, model=model, bundles=bundles)


def recognize(
    clips: Clips,
    output: Output = None,
    fps: Fps = None,
    joints: BodyJoints = None,
    units: Annotated[
        Unit | None, typer.Option(help="Of coordinates in three dimensions.", show_default="the clip's, or m")
    ] = None,
    axes: Annotated[
        BodyAxes | None,
        typer.Option(
            help="Of coordinates in three dimensions: y-up, z-up or camera (y down, z away).",
            show_default="the clip's, or y-up",
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, max=1000, help="Number of classes.", show_default="5")] = None,
    form: ClipForm = None,
    to: Annotated[Literal["json", "csv"], typer.Option("--to", help="Format of the answers in a folder.")] = "json",
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Recognise what people do in clips of 2D or 3D keypoints. Needs no server."""
    options = {"fps": fps, "joints": joints, "units": units, "axes": axes, "top": top}
    _run(ACTIONS, clips, options, output=output, plot=None, form=form, to=to, model=model, bundles=bundles)


def _run(
    endpoint: Endpoint,
    inputs: Sequence[Path],
    options: dict[str, Any],
    *,
    output: str | None,
    plot: str | None,
    aligned: str | None = None,
    form: str | None,
    to: str,
    model: str | None,
    bundles: Path | None,
) -> None:
    """Run an endpoint over files; exit with status 2 if the command cannot begin, and with 1 if any file failed."""
    from tqdm import tqdm

    settings = _settings(bundles)
    models = LocalModels(settings, endpoint.kinds)
    try:
        works = plan(endpoint, inputs, output=output, plot=plot, aligned=aligned, form=form, to=to)
        models.open(model)
    except USAGE_ERRORS as error:
        _fail(sentence(error))
    given = {name: value for name, value in {**options, "model": model}.items() if value is not None}
    limits = replace(endpoint.limits(settings), bytes=MAX_BYTES, points=MAX_POINTS)
    failures, warnings, content = [], [], b""
    for work in tqdm(works, unit="file", disable=len(works) == 1):
        try:
            content, about = process(endpoint, work, models, given, limits)
            warnings += [f"{work.name}: warning: {warning}" for warning in about]
        except FILE_ERRORS as error:
            failures.append(sentence(error, work.name))
    if failures and len(works) > 1:
        failures.insert(0, f"{len(failures)} of {len(works)} files failed")
    for line in (*warnings, *failures):
        typer.echo(f"chiron: {line}", err=True)
    if failures:
        raise typer.Exit(1)
    if output is None:
        typer.echo(content)


def _forecast_of(model: str | None, bundles: Path | None) -> str:
    """Return what a named model forecasts: poses, or hands, which is also the answer where no model is named."""
    folder = _settings(bundles).bundles
    if model is None or not (folder / model).is_dir():
        return "hands"
    try:
        return "poses" if read_bundle(folder / model).meta.task.kind == POSES.kind else "hands"
    except USAGE_ERRORS as error:
        _fail(sentence(error))


def _settings(bundles: Path | None) -> Settings:
    try:
        return read_settings(bundles=bundles)
    except InvalidSettings as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    """Print a usage error as one line and exit with status 2."""
    typer.echo(f"chiron: {message}", err=True)
    raise typer.Exit(2)
