"""`chiron keys`: make, list and revoke the API keys of a server that may be running."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from service.http.keys import SCOPES, BadKeys, Scope, add_key, read_keys, revoke_key
from service.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke API keys. A running server takes a change within a second."
)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who the key is for; it appears in the log.")],
    scopes: Annotated[
        str, typer.Option(help=f"Comma-separated: {', '.join(SCOPES)}. admin includes the others.")
    ] = "infer",
    expires: Annotated[str | None, typer.Option(help="Time until it expires, such as 90d, 12h or 30m.")] = None,
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, instead of the server's limit.")
    ] = None,
    in_flight: Annotated[
        int | None, typer.Option(min=1, help="Requests in flight, instead of the server's limit.")
    ] = None,
) -> None:
    """Make a key and print it. It is shown this once: the server keeps only its hash."""
    try:
        secret = add_key(Settings().keys, name, _scopes(scopes), _duration(expires), per_minute, in_flight)
    except (BadKeys, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(secret)


@app.command("list")
def list_() -> None:
    """List the keys by name, with scopes, expiry and state; the keys themselves are not known."""
    try:
        keys = read_keys(Settings().keys)
    except BadKeys as error:
        raise typer.BadParameter(str(error)) from None
    for key in keys:
        until = f"until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else "without expiry"
        limit = f", {key.per_minute} requests a minute" if key.per_minute else ""
        limit += f", {key.in_flight} requests in flight" if key.in_flight else ""
        typer.echo(f"{key.name:24} {key.state(datetime.now(UTC)):8} {','.join(key.scopes)}, {until}{limit}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="A name that `chiron keys list` shows.")]) -> None:
    """Revoke a key: from the next second on, requests with it are answered 401."""
    try:
        revoke_key(Settings().keys, name)
    except (BadKeys, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{name} is revoked")


def _scopes(text: str) -> tuple[Scope, ...]:
    """Return the scopes of a comma-separated list, in the order of SCOPES. Raises BadParameter."""
    scopes = {part.strip() for part in text.split(",")}
    if not scopes or not scopes <= set(SCOPES):
        raise typer.BadParameter(f"expected scopes among {', '.join(SCOPES)}, got {text!r}", param_hint="--scopes")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _duration(text: str | None) -> timedelta | None:
    """Return the duration that a text such as 90d states. Raises BadParameter."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([dhm])", text)
    if match is None:
        raise typer.BadParameter(f"expected a duration such as 90d, 12h or 30m, got {text!r}", param_hint="--expires")
    return int(match[1]) * UNITS[match[2]]
