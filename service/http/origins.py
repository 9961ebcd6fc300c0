"""Protection from other web sites' pages: which Host a request may name, and from which origin it may change something.

A page of any site can make a browser send requests to this service. Without these checks it could promote a model by a form that needs
no preflight (cross-site request forgery), or read answers under a host name that it points at this machine (DNS rebinding).
"""

import ipaddress
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.headers import header
from service.http.problems import Problem, respond
from service.http.security import SAFE_METHODS, method_of

ANY = "*"


class CheckOrigin:
    """Pure ASGI middleware that answers 403 to a Host that is not allowed, and to changes or WebSockets of another site's page.

    `hosts` are names without a port; `*` allows any, and an empty tuple the names of this machine. `origins` may call from a browser.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self.app = app
        self.hosts, self.origins = frozenset(host.lower() for host in hosts), frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            problem = self._refuse(scope)
            if problem is not None:
                return await respond(problem, scope)(scope, receive, send)
        await self.app(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        host = header(scope, b"host")
        if not self._is_allowed(host_name(host)):
            allowed = ", ".join(sorted(self.hosts)) or "this machine's own names"
            detail = f"expected a Host among {allowed}, got {host[:100]!r}; the operator adds names to CHIRON_HOSTS"
            return Problem("forbidden", detail)
        if method_of(scope) in SAFE_METHODS:
            return None
        origin, site = header(scope, b"origin", None), header(scope, b"sec-fetch-site", None)
        if origin in self.origins or ANY in self.origins:
            return None
        foreign = site not in (None, "same-origin", "none") if origin is None else origin.partition("://")[2] != host
        if foreign:
            detail = f"expected a request of this site's own pages or of no page, got one of {(origin or site or '')[:100]!r}"
            return Problem("forbidden", f"{detail}; the operator adds origins to CHIRON_CORS_ORIGINS")
        return None

    def _is_allowed(self, name: str) -> bool:
        if self.hosts:
            return ANY in self.hosts or name in self.hosts
        return is_own_name(name)


@lru_cache(256)
def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets, in lower case."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower()


@lru_cache(256)
def is_own_name(name: str) -> bool:
    """Return whether a host name means this machine: localhost, or a loopback address."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
