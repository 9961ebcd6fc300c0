"""Refusals that reach a client which is still sending its body, on a connection that closes after the answer.

A socket that is closed with unread bytes in it resets the connection, and the client never sees the answer. On a connection that stays
open, the server discards the rest of the body itself.
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import has_header, header

MOST_BYTES, MOST_S = 256 << 20, 10.0  # that are discarded of one body, and how long


class DrainBody:
    """Pure ASGI middleware that sends an answer and then discards what is left of the body, before the connection is closed.

    A client that waits for 100 Continue has sent nothing to discard.
    """

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES, most_s: float = MOST_S) -> None:
        self.app, self.most_bytes, self.most_s = app, most_bytes, most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        has_body = header(scope, b"content-length", "0") != "0" or has_header(scope, b"transfer-encoding")
        if not has_body or has_header(scope, b"expect"):
            return await self.app(scope, receive, send)
        closes = "close" in header(scope, b"connection").lower() or scope.get("http_version") == "1.0"
        ended = False

        async def receive_and_note() -> Message:
            nonlocal ended
            message = await receive()
            ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def discard() -> None:
            left = self.most_bytes
            with suppress(TimeoutError):
                async with asyncio.timeout(self.most_s):
                    while not ended and left > 0:
                        left -= len((await receive_and_note()).get("body", b""))

        async def send_and_drain(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start":
                closes = closes or "close" in header(message, b"connection").lower()
            elif closes and not ended and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await discard()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, receive_and_note, send_and_drain)
