"""The `chiron` command.

What only `serve` and `worker` need is imported there: a command on files starts in half the time without web server and database.
"""

import logging
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from models.contract.bundle import BadBundle, read_bundle
from models.contract.freed_memory import return_freed_memory
from service.http import key_commands
from service.registry import triton
from service.registry.versions import Versions
from service.settings import InvalidSettings, Settings, read_settings, unknown_variables
from service.tasks import commands
from service.tasks.commands import Bundles
from service.telemetry.logs import log_json_lines

app = typer.Typer(
    no_args_is_help=True,
    help="Forecast hands and poses, find landmarks on face scans, lift poses and recognise actions: over HTTP, or in files.",
)
for command in (commands.landmarks, commands.forecast, commands.lift, commands.recognize):
    app.command()(command)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"chiron {version('chiron')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of the program itself."""


app.add_typer(key_commands.app, name="keys")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; any but 127.0.0.1 needs CHIRON_API_KEYS.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 chooses a free one.", show_default="CHIRON_PORT or 8000")
    ] = None,
    bundles: Bundles = None,
    default_model: Annotated[str | None, typer.Option(help="Model for requests that name none.")] = None,
) -> None:
    """Serve the bundles over HTTP. Every setting is an environment variable, too: CHIRON_HOST, CHIRON_PORT, ..."""
    import uvicorn

    from service.app import create_app
    from service.http.connections import limited
    from service.http.limits import MAX_MESSAGE_BYTES
    from service.http.security import UnsafeBind
    from service.http.server import PortUnavailable, Server, bind
    from service.jobs.queue.broker import EmbeddedBroker, NoBroker

    settings = _settings(host=host, port=port, bundles=bundles, default_model=default_model)
    _check_registry(settings)
    log_json_lines(requests=settings.log_requests)
    return_freed_memory()
    broker = None
    try:
        broker = EmbeddedBroker(settings) if settings.redis_url is None else None
    except NoBroker as error:
        logging.getLogger("chiron").error("jobs will wait: %s", error)
    try:
        application = create_app(settings, broker)
        listener = bind(settings.host, settings.port)  # before the application starts and loads models
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
        http=limited(settings.max_client_connections, settings.trusted_proxies, settings.body_pause_s),  # pyright: ignore[reportArgumentType] - uvicorn calls it
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # frames of a stream are small, and deflating them takes longer than sending
    )
    Server(config, application.state.shutdown, settings.drain_delay_s).run(sockets=[listener])


@app.command()
def worker(
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="cuda: take jobs of the queue gpu; auto: the same if a GPU is present."),
    ] = "auto",
    gpu: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Index of a GPU; repeat for more. Default: all, for jobs on several GPUs."),
    ] = None,
) -> None:
    """Run the jobs that are sent to POST /jobs, one at a time. Needs the extra `training` and the service's CHIRON_STATE."""
    if find_spec("torch") is None:
        raise typer.BadParameter("a worker trains models: install the extra `training`, or run make worker")
    settings = _settings()
    _check_registry(settings)  # now rather than at the end of the first training
    # Imported before the log is set up, because alembic logs its plugins when it is imported.
    from service.jobs.database import StoreUnavailable
    from service.jobs.queue.broker import NoBroker
    from service.jobs.worker.process import serve_jobs

    log_json_lines()
    try:
        serve_jobs(settings, device, gpu or ())
    except (NoBroker, StoreUnavailable, LookupError) as error:
        _complain(str(error))
        raise typer.Exit(2) from None


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this nothing is removed.")] = False,
) -> None:
    """List the jobs, versions and copies of versions that the CHIRON_KEEP_... settings no longer keep, and with --yes remove them.

    A running API removes them by itself, every ten minutes.
    """
    from service.jobs.commands import remove_expired

    remove_expired(yes)


@app.command()
def models(bundles: Bundles = None) -> None:
    """List the bundles: name, version, title and licence, or why a bundle is refused."""
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
def export_triton(
    bundle: Annotated[list[str], typer.Argument(help="Folders of bundles, or names in the folder of bundles.")],
    to: Annotated[Path, typer.Option(help="The model repository; it is made if it is missing.")],
    bundles: Bundles = None,
) -> None:
    """Write bundles as entries of a Triton model repository; another version of a model gets the next number."""
    shelf = _settings(bundles=bundles).bundles
    try:
        for name in bundle:
            folder = Path(name) if Path(name).is_dir() else shelf / name
            typer.echo(triton.export(read_bundle(folder), to))
    except (BadBundle, triton.OtherTensors, OSError) as error:
        _complain(str(error))
        raise typer.Exit(2) from None


def _check_registry(settings: Settings) -> None:
    try:
        Versions.of(settings)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint="CHIRON_REGISTRY") from None


def _complain(text: str) -> None:
    typer.echo(f"chiron: {text}", err=True)


def _settings(**options: object) -> Settings:
    """Read the environment's settings and override them with those of the command line."""
    for message in unknown_variables(os.environ):
        _complain(message)
    try:
        return read_settings(**options)
    except InvalidSettings as error:
        raise typer.BadParameter(str(error)) from None
