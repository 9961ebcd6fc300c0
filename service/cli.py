"""The `chiron` command."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
from pydantic import ValidationError

from models.contract.bundle import BadBundle, read_bundle
from models.scans.files import formats
from models.skeletons.hand import HANDS
from models.skeletons.skeleton import Hand
from service.app import create_app
from service.http import key_commands
from service.http.security import UnsafeBind
from service.http.server import PortUnavailable, Server, bind
from service.jobs.database import StoreUnavailable
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.registry.versions import Versions
from service.settings import Settings, unknown_variables
from service.tasks.faces import files as scan_files
from service.tasks.faces.schemas import Heatmaps
from service.tasks.fields import MAX_FPS, MIN_FPS, Unit
from service.tasks.files import (
    SAID,
    check_picture,
    check_target,
    open_model,
    sentence,
)
from service.tasks.hands import files as clip_files
from service.telemetry.logs import log_json_lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Forecast hand motion and find landmarks on face scans: over HTTP, or in files.",
)
Bundles = Annotated[Path | None, typer.Option(help="Folder of bundles.", show_default="CHIRON_BUNDLES or bundles")]
Model = Annotated[str | None, typer.Option(help="A bundle's name.", show_default="CHIRON_DEFAULT_MODEL, or the first")]

app.add_typer(key_commands.app, name="keys")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; any but 127.0.0.1 wants CHIRON_API_KEYS.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one.", show_default="CHIRON_PORT or 8000")
    ] = None,
    bundles: Bundles = None,
    default_model: Annotated[str | None, typer.Option(help="Model of requests that name none.")] = None,
) -> None:
    """Serve the bundles over HTTP. Every setting is also an environment variable: CHIRON_HOST, CHIRON_PORT, ..."""
    settings = _settings(host=host, port=port, bundles=bundles, default_model=default_model)
    _check_registry(settings)
    log_json_lines()
    try:
        listener = bind(settings.host, settings.port)  # before anything is loaded
        application = create_app(settings, _broker(settings))
    except (UnsafeBind, PortUnavailable) as error:
        raise typer.BadParameter(str(error), param_hint="--host, --port") from None
    host_and_port = listener.getsockname()[:2]
    logging.getLogger("chiron").info("%s://%s:%s", "https" if settings.tls_cert else "http", *host_and_port)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    Server(config, application.state.shutdown, settings.drain_delay_s).run(sockets=[listener])


@app.command()
def worker(
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="cuda: jobs of the queue gpu; auto: so where there is one.")
    ] = "auto",
    gpu: Annotated[
        list[int] | None,
        typer.Option(min=0, help="One of several; again for more. Default: all, for jobs that want several."),
    ] = None,
) -> None:
    """Run the jobs that are sent to POST /jobs, one at a time. Wants the training extra, and the service's CHIRON_STATE."""
    if find_spec("torch") is None:
        raise typer.BadParameter("a worker trains: install the extra [training], or say make worker")
    settings = _settings()
    _check_registry(settings)  # now, and not when the first training is done
    log_json_lines()
    from service.jobs.worker.process import serve_jobs

    try:
        serve_jobs(settings, device, gpu or ())
    except (NoBroker, StoreUnavailable, LookupError) as error:
        _complain(str(error))
        raise typer.Exit(2) from None


@app.command()
def models(bundles: Bundles = None) -> None:
    """List the bundles: name, version, what they do, and whether their checksums are right."""
    folder = _settings(bundles=bundles).bundles
    if not folder.is_dir():
        raise typer.BadParameter(f"no folder {folder}", param_hint="--bundles")
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            meta = read_bundle(path).meta
        except BadBundle as error:
            typer.echo(f"{path.name:24} REFUSED       {error}")
        else:
            typer.echo(f"{meta.name:24} {meta.version}  {meta.title} ({meta.licence})")


@app.command()
def landmarks(
    scans: Annotated[
        list[Path], typer.Argument(metavar="SCAN", help=f"Scans: {', '.join(formats())}.", show_default=False)
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help=".json, .csv, .npz or .ply; for several scans a folder.",
            show_default="JSON, printed",
        ),
    ] = None,
    plot: Annotated[
        str | None, typer.Option(help="A picture of what was found, .png, .pdf or .svg; for several scans a folder.")
    ] = None,
    units: Annotated[
        Literal["auto", "m", "cm", "mm"], typer.Option(help="Of the scan and of the answer; auto goes by its size.")
    ] = "auto",
    heatmaps: Annotated[
        Heatmaps, typer.Option(help="At the points that the network saw (.json, .npz), or at all of the file (.npz).")
    ] = "none",
    form: Annotated[scan_files.Form, typer.Option("--format", help="Of the files in a folder.")] = "json",
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Find the 68 landmarks of a face on a scan in any pose, in the scan's own coordinates. Wants no server."""
    with _said():
        jobs = scan_files.jobs_of(scans, output, plot, form, heatmaps)
        bundle, predictor = open_model(_settings(bundles=bundles), model, "face-landmarks")
    if len(jobs) > 1:
        failed = scan_files.find_all(jobs, bundle, predictor, units, heatmaps)
        if failed:
            for why in (f"{len(failed)} of {len(jobs)} scans failed", *failed):
                _complain(why)
            raise typer.Exit(1)
        return
    with _said(scans[0]):
        content = scan_files.find_landmarks(jobs[0], bundle, predictor, units, heatmaps)
    if output is None:
        typer.echo(content)


@app.command()
def forecast(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Past frames: .npz, .npy or .json.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=".npz, .npy or .json.", show_default="JSON, printed")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="A strip of past and forecast poses, .png, .pdf or .svg.")] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=MIN_FPS, max=MAX_FPS, help="Frames a second of clip and answer, if the clip does not say."),
    ] = None,
    units: Annotated[Unit | None, typer.Option(help="Of clip and answer.", show_default="the clip's, or m")] = None,
    joints: Annotated[
        str | None, typer.Option(help=f"Joint order: {', '.join(HANDS)}.", show_default="the clip's, or assembly101")
    ] = None,
    hand: Annotated[Hand | None, typer.Option(help="Which hand the one in `past` is.")] = None,
    model: Model = None,
    bundles: Bundles = None,
) -> None:
    """Forecast the next moments of one hand or two from a clip of the last ones. Wants no server."""
    said = {"fps": fps, "units": units, "joints": joints, "hand": hand, "model": model}
    with _said():
        check_target(output, clip, clip_files.FORMS)
        check_picture(plot, clip)
    with _said(clip):
        asked = clip_files.read_clip(clip, {name: value for name, value in said.items() if value is not None})
    settings = _settings(bundles=bundles)
    with _said():
        bundle, predictor = open_model(settings, asked.options.model, "hand-forecast")
    with _said(clip):
        answer = clip_files.forecast(asked, bundle, predictor, settings.max_gap_s, plot, clip.name)
        content = clip_files.encode(answer, ".json" if output is None else output.suffix.lower(), asked.dtype)
        if output is not None:
            output.write_bytes(content)
    if output is None:
        typer.echo(content)


@contextmanager
def _said(file: Path | None = None) -> Iterator[None]:
    """What can be said in a sentence, with the file's name before it, is said so, and ends the command with 2."""
    try:
        yield
    except SAID as error:
        _complain(sentence(error, file))
        raise typer.Exit(2) from None


def _check_registry(settings: Settings) -> None:
    try:
        Versions.of(settings)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint="CHIRON_REGISTRY") from None


def _broker(settings: Settings) -> EmbeddedBroker | None:
    """The embedded broker, where none is given. Without any the models serve, and jobs wait."""
    if settings.redis_url is not None:
        return None
    try:
        return EmbeddedBroker(settings)
    except NoBroker as error:
        logging.getLogger("chiron").error("jobs will wait: %s", error)
        return None


def _complain(text: str) -> None:
    typer.echo(f"chiron: {text}", err=True)


def _settings(**given: object) -> Settings:
    """Read the environment's settings and override them with those of the command line."""
    for message in unknown_variables(os.environ):
        _complain(message)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType] - pydantic checks them
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise typer.BadParameter(
            f"settings, or their variables CHIRON_*, are not what they should be: {faults}"
        ) from None
