"""API keys, and the rule that a service without keys listens on this machine only."""

import hashlib
import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.problems import Problem, respond
from service.settings import HASHED_KEY, Settings

OPEN_PATHS = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})  # pages, schema and health


class UnsafeBind(ValueError):
    """An address that other machines can reach, without a key that keeps them out."""


def check_bind(settings: Settings) -> None:
    """Raise UnsafeBind unless the service listens on this machine only or requires keys."""
    if settings.api_keys:
        return
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    if not local:
        raise UnsafeBind(f"to listen on {settings.host}, set CHIRON_API_KEYS; without keys only 127.0.0.1 is allowed")


def digest(key: str) -> bytes:
    """Return the SHA-256 of a key in clear, or the hash that sha256:<64 hex digits> states."""
    if key.startswith(HASHED_KEY):
        return bytes.fromhex(key.removeprefix(HASHED_KEY))
    return hashlib.sha256(key.encode()).digest()


class RequireKey:
    """Pure ASGI middleware that requires one of `keys` on every path that is not open to all."""

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self.app = app
        self.digests = [digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["path"]) and not self._has_key(Headers(scope=scope)):
            problem = Problem(
                "unauthorized",
                "this server requires a key: send Authorization: Bearer KEY or X-API-Key: KEY",
                headers={"www-authenticate": "Bearer"},
            )
            return await respond(problem, scope["request_id"])(scope, receive, send)
        await self.app(scope, receive, send)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in OPEN_PATHS or path.startswith("/problems")

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        sent = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        candidate = hashlib.sha256(sent.encode()).digest()
        matches = [hmac.compare_digest(candidate, digest) for digest in self.digests]  # all: in constant time
        return bool(sent) and any(matches)
