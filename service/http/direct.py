"""A way past the router for the routes that are asked most: routing and the solving of dependencies take longer than their checks."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.prefix import route_path


class AnswerDirectly:
    """Pure ASGI middleware that has the functions of `routes` answer a POST to their paths, and the application all other requests.

    The routes have no parameters, their functions take the request alone, and the router has them too: it documents them and answers other
    methods. `handlers` are those of the application, by type of error.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], handlers: Mapping[Any, Any]) -> None:
        self.app = app
        self._routes = {route.path: route for route in routes if isinstance(route, APIRoute)}
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(route_path(scope)) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            return await self.app(scope, receive, send)
        scope["route"] = route  # as the router notes it
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request)
        except Exception as error:  # one without a handler is raised again
            handler = next((self._handlers[kind] for kind in _kinds(error) if kind in self._handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)


def _kinds(error: Exception) -> tuple[type, ...]:
    """Return the types of an error, without Exception: its handler is that of the outermost middleware, which raises it again."""
    return tuple(kind for kind in type(error).__mro__ if kind is not Exception)
