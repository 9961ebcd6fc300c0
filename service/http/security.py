"""API keys, and the rule that without one the service is for this machine alone."""

import hashlib
import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.problems import Problem, respond
from service.settings import Settings

OPEN_PATHS = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})  # pages, schema and what a balancer asks


class UnsafeBind(ValueError):
    """An address that others can reach, and no key to keep them out."""


def check_bind(settings: Settings) -> None:
    """Raise UnsafeBind unless the service listens on this machine only or asks for keys."""
    if settings.api_keys:
        return
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    if not local:
        raise UnsafeBind(f"to listen on {settings.host}, set CHIRON_API_KEYS; without keys only 127.0.0.1 is allowed")


def digest(key: str) -> bytes:
    """The sha256 of a key, or of the key that `sha256:<hex>` stands for."""
    prefix, _, hexadecimal = key.partition(":")
    if prefix == "sha256" and len(hexadecimal) == 64:
        return bytes.fromhex(hexadecimal)
    return hashlib.sha256(key.encode()).digest()


class RequireKey:
    """Pure ASGI middleware that lets a request pass with one of `keys`, or to a path that is open to all."""

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self.app = app
        self.digests = [digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["path"]) and not self._has_key(Headers(scope=scope)):
            problem = Problem(
                "unauthorized",
                "this server asks for a key: Authorization: Bearer KEY or X-API-Key: KEY",
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
        known = [hmac.compare_digest(candidate, digest) for digest in self.digests]  # all, so that time tells nothing
        return bool(sent) and any(known)
