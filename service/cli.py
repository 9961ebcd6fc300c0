"""The `chiron` command."""

import asyncio
import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from models.contract.bundle import BadBundle, read_bundle
from service.app import create_app
from service.registry import Registry
from service.security import UnsafeBind
from service.settings import Settings
from service.telemetry import log_json_lines

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Forecast hand motion: serve models and look at them."
)
Bundles = Annotated[Path | None, typer.Option(help="Folder of bundles. [default: CHIRON_BUNDLES or bundles]")]


class Server(uvicorn.Server):
    """Says that it is stopping `drain_s` seconds before it closes its port, so that a balancer can turn away first."""

    def __init__(self, config: uvicorn.Config, registry: Registry, drain_s: float) -> None:
        super().__init__(config)
        self.registry, self.drain_s = registry, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self.registry.draining or not self.drain_s:
            return super().handle_exit(sig, frame)
        self.registry.draining = True
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self.drain_s, super().handle_exit, sig, frame)  # wakes the loop


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; any but 127.0.0.1 wants CHIRON_API_KEYS.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    bundles: Bundles = None,
    default_model: Annotated[str | None, typer.Option(help="Model of requests that name none.")] = None,
) -> None:
    """Serve the bundles over HTTP. Every setting is also an environment variable: CHIRON_HOST, CHIRON_PORT, ..."""
    settings = _settings(host=host, port=port, bundles=bundles, default_model=default_model)
    try:
        application = create_app(settings)
    except UnsafeBind as error:
        raise typer.BadParameter(str(error), param_hint="--host") from None
    log_json_lines()
    logging.getLogger("chiron").info("http://%s:%s", settings.host, settings.port)
    config = uvicorn.Config(
        application, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False
    )
    Server(config, application.state.registry, settings.drain_delay_s).run()


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


def _settings(**given: object) -> Settings:
    """The environment's settings with those given on the command line over them."""
    return Settings(**{name: value for name, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType]
