"""API keys with scopes, and the rule that without any the service listens on this machine only."""

import ipaddress
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http import keys
from service.http.headers import header
from service.http.keys import SCOPES, Key, KeyRing
from service.http.prefix import route_path
from service.http.problems import Problem, closing, respond
from service.settings import HASHED_KEY, Settings

OPEN_PATHS = frozenset(  # pages, schema and health checks
    {"/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
)
WEB_PATH = "/web"  # the files of the page
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SUBPROTOCOL = "chiron"  # of WebSockets; a page offers it beside its key, since browsers send no headers of its own
KEY_SUBPROTOCOL = "chiron.key."  # begins the subprotocol that carries a key
RECHECK_S = 1.0  # between checks of the key of an open WebSocket
# The scope that a request needs, by the first part of its path: with an unsafe method, and with a safe one.
CHANGES: tuple[tuple[tuple[str, ...], keys.Scope], ...] = (
    (("forecast", "landmarks", "poses", "actions", "v2"), "infer"),
    (("jobs", "datasets"), "jobs"),
    (("models",), "models"),
)
READS: tuple[tuple[tuple[str, ...], keys.Scope], ...] = ((("jobs", "workers", "datasets"), "jobs"),)


class UnsafeBind(ValueError):
    """An address that other machines can reach, without a key to keep them out."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request: a key by its name, or a client by its address.

    `per_minute` and `in_flight` are the key's own limits on requests.
    """

    identity: str
    label: str
    key: str | None = None
    per_minute: int | None = None
    in_flight: int | None = None


def check_bind(settings: Settings, ring: KeyRing) -> None:
    """Raise UnsafeBind unless the service listens on this machine only or needs keys."""
    if ring:
        return
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    if not local:
        raise UnsafeBind(
            f"expected a loopback address, got {settings.host!r}: other machines could reach the service without a key; "
            "make one with `chiron keys add NAME`, or set CHIRON_API_KEYS"
        )


def key_ring(settings: Settings) -> KeyRing:
    """Return the keys that the settings name: those of the key file, and those of CHIRON_API_KEYS with every scope."""
    created = datetime.fromtimestamp(0, UTC)
    fixed = [
        Key(name=f"api-keys-{number}", digest=_digest_of(key), scopes=SCOPES, created=created)
        for number, key in enumerate(settings.api_keys, 1)
    ]
    return KeyRing(settings.keys, tuple(fixed))


def _digest_of(key: str) -> str:
    """Return the SHA-256 in hex of a key, or the one that `sha256:<hex>` states."""
    return key.removeprefix(HASHED_KEY).lower() if key.startswith(HASHED_KEY) else keys.digest(key)


def scope_of(method: str, path: str) -> keys.Scope | None:
    """Return the scope that a request needs; None if a key of any scope will do."""
    first = path.strip("/").partition("/")[0]
    table = READS if method in SAFE_METHODS else CHANGES
    for parts, scope in table:
        if first in parts:
            return scope
    return None if method in SAFE_METHODS else "admin"


def method_of(scope: Scope) -> str:
    """Return the method of a request; a WebSocket counts as POST, since it has the service compute."""
    return scope.get("method", "POST")


def is_open(path: str) -> bool:
    """Return whether a path is served without a key."""
    return path in OPEN_PATHS or path.startswith(("/problems/", f"{WEB_PATH}/"))


def caller_of(scope: Scope) -> Caller:
    """Return who sent the request: the key that RequireKey found, else the client's address."""
    if caller := scope.get("caller"):
        return caller
    address = (scope.get("client") or ("unknown",))[0]
    return Caller(f"client:{address}", f"the client {address}")


class RequireKey:
    """Pure ASGI middleware: a request passes with a key that has its scope, or without one to an open path.

    While no key is known at all, every request passes: check_bind keeps such a server on this machine. Once a key is known, requests
    need one until the process ends, also if the key file is removed.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing) -> None:
        self.app, self.ring = app, ring
        self._needed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if problem := self._refuse(scope):
                return await respond(problem, scope)(scope, receive, send)
            if scope["type"] == "websocket":
                receive = self._while_valid(scope, receive, send)
        await self.app(scope, receive, send)

    def _while_valid(self, scope: Scope, receive: Receive, send: Send) -> Receive:
        """Return how a WebSocket receives messages, until its key no longer opens it: then it is closed."""
        due = time.monotonic() + RECHECK_S

        async def receive_or_close() -> Message:
            nonlocal due
            message = await receive()
            if message["type"] == "websocket.receive" and time.monotonic() > due:
                due = time.monotonic() + RECHECK_S
                if problem := self._refuse(scope):
                    await send(message := closing(problem))
                    return {**message, "type": "websocket.disconnect"}
            return message

        return receive_or_close

    def _refuse(self, scope: Scope) -> Problem | None:
        """Return why the request may not pass, or None after noting its caller in the scope."""
        self._needed = self._needed or bool(self.ring)
        if not self._needed:
            return None
        secret = _secret(scope)
        key = self.ring.find(secret) if secret else None
        state = key.state(datetime.now(UTC)) if key else "unknown"
        if key is not None and state == "valid":
            scope["caller"] = Caller(
                f"key:{key.name}", f"the key {key.name!r}", key.name, key.per_minute, key.in_flight
            )
        path = route_path(scope)
        if is_open(path):
            return None
        if key is None or state != "valid":
            detail = "this server requires a key: send Authorization: Bearer KEY or X-API-Key: KEY"
            if key is not None:
                detail = f"the key {key.name!r} is {state}; ask the operator for another"
            return Problem("unauthorized", detail, headers={"www-authenticate": "Bearer"})
        if not key.opens(needed := scope_of(method_of(scope), path)):
            detail = f"expected a key with the scope {needed!r}, got {key.name!r} with {', '.join(key.scopes)}"
            return Problem("forbidden", f"{detail}; ask the operator for a key with that scope")
        return None


def _secret(scope: Scope) -> str:
    """Return the key that a request carries in a header, or a WebSocket in a subprotocol; else an empty string."""
    scheme, _, token = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    offered = (name for name in scope.get("subprotocols", ()) if name.startswith(KEY_SUBPROTOCOL))
    return header(scope, b"x-api-key") or next(offered, "").removeprefix(KEY_SUBPROTOCOL)
