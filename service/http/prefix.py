"""A path prefix that a proxy serves the application under, whether the proxy strips it or not."""

from starlette.types import ASGIApp, Receive, Scope, Send


class UnderPrefix:
    """Pure ASGI middleware that sets `root_path`, and makes `path` begin with it as ASGI has it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path, prefix = scope["path"], self.prefix
            stripped = not (path == prefix or path.startswith(f"{prefix}/"))
            # In place: the outermost handler of errors knows this scope, and answers with its id and its prefix.
            scope.update({"root_path": prefix, "path": prefix + path if stripped else path})
        await self.app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """Return a request's path without the prefix."""
    return scope["path"].removeprefix(scope.get("root_path", "")) or "/"
