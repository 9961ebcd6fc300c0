"""HEAD wherever GET is: the same status and headers, without the body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Pure ASGI middleware that runs a HEAD request as GET and leaves the body out of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self.app(scope, receive, send)
        finished = False

        async def receive_until_done() -> Message:
            return {"type": "http.disconnect"} if finished else await receive()  # ends a stream that would never end

        async def send_head(message: Message) -> None:
            nonlocal finished
            if message["type"] == "http.response.start":
                await send(message)
            elif not finished:
                finished = True
                await send({"type": "http.response.body", "body": b""})

        as_get = {**scope, "method": "GET"}  # of its own: the server holds the body of a GET to its length
        try:
            await self.app(as_get, receive_until_done, send_head)
        finally:
            scope.update({**as_get, "method": "HEAD"})  # as it is counted and logged, with its route and its caller
