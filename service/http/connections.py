"""Connections as uvicorn accepts them, with a limit for each client, and limits on the time and the size of a request's headers."""

import asyncio
import ipaddress
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.http.problems import KINDS

ANY = "*"
log = logging.getLogger("chiron.websockets")
MOST_HEAD_BYTES = 64 << 10  # of a request's line and headers
LINGER_S = 1.0
# Connections that offer HTTP/2 go on in HTTP/1.1 (RFC 9110, 7.8); the parser would take their body for the other protocol.
H2C = re.compile(rb"(\r\n)upgrade(:[ \t]*h2c[ \t]*\r\n)", re.IGNORECASE)
REFUSAL = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\n%sconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)


class LimitedConnection(HttpToolsProtocol):
    """A connection that is refused if its client has too many, and closed if a request's headers are too large or late.

    What is no request in HTTP/1.1 gets a problem, as every other error does.
    """

    def __init__(self, *arguments: Any, clients: "Clients", header_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clients, self._header_s = clients, header_s
        self._client: str | None = None  # counted; None for a connection that was refused
        self._timer: asyncio.TimerHandle | None = None  # while headers are expected
        self._head_bytes, self._refused = 0, False  # of a request whose headers are not complete
        self.ws_protocol_class = partial(CountedWebSocket, lost=self._leave)

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn's own
        """Accept the connection, or answer 503 and close it."""
        peer = transport.get_extra_info("peername")
        client = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._clients.enter(client):
            detail = f"{self._clients.most} connections of this client are open; close some"
            return _refuse(transport, "overloaded", detail, b"retry-after: 5\r\n")
        self._client = client
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the client's place back."""
        if self._client is not None:
            self._leave()
            self._stop_timer()
            super().connection_lost(exc)

    def _leave(self) -> None:
        assert self._client is not None, "a refused connection was not counted"
        self._clients.leave(self._client)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless the connection was refused; refuse a head that is too large."""
        if self._client is None or self._refused:
            return
        if self._timer is None:
            return super().data_received(data)
        head, end, body = data.partition(b"\r\n\r\n")
        if b"2c" in head:
            data = H2C.sub(rb"\1x-upgrade\2", head + b"\r\n") + end[2:] + body if end else data
        self._head_bytes += len(head)
        super().data_received(data)
        if self._timer is not None and self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            detail = f"expected a request line and headers of at most {MOST_HEAD_BYTES} bytes, got more"
            _refuse(self.transport, "head-too-large", detail, linger_s=LINGER_S)
            self._refused = True

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        _refuse(self.transport, "malformed-http", f"expected HTTP/1.1, got a request that cannot be parsed: {msg}")

    def handle_websocket_upgrade(self) -> None:
        """Go on as a WebSocket, which begins with GET (RFC 6455, 4.1)."""
        if self.scope["method"] == "GET":
            return super().handle_websocket_upgrade()
        detail = f"expected GET for a WebSocket, got {self.scope['method']}"
        _refuse(self.transport, "malformed-http", detail)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header without the white space around its value (RFC 9110, 5.5)."""
        super().on_header(name, value.strip(b" \t"))

    def on_message_begin(self) -> None:
        """Start the time limit of a request's headers."""
        self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End the time limit: that of the body is the application's."""
        self._stop_timer()
        self._head_bytes = 0
        super().on_headers_complete()

    def _expect_headers(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._header_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _refuse(transport: asyncio.Transport, kind: str, detail: str, headers: bytes = b"", linger_s: float = 0.0) -> None:
    """Answer a connection with a problem, and close it: after a while if the client is still sending, or it would be reset."""
    known = KINDS[kind]
    document = {
        "type": f"/problems/{kind}",
        "title": known.title,
        "status": known.status,
        "detail": detail,
        "errors": [],
    }
    body = orjson.dumps(document)
    phrase = HTTPStatus(known.status).phrase.encode()
    transport.write(REFUSAL % (known.status, phrase, headers, len(body), body))
    if linger_s:
        asyncio.get_running_loop().call_later(linger_s, transport.close)
    else:
        transport.close()


class CountedWebSocket(WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket, and gives the client's place back when it is lost.

    Observe logs it; uvicorn's own lines would have the query of its address.
    """

    def __init__(self, *arguments: Any, lost: Callable[[], None], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lost, self.logger = lost, log

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the client's place back."""
        self._lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection, or drop it if its client does not read: it would never be closed."""
        super().shutdown()
        if not self.writable.is_set():
            self.transport.abort()


class Clients:
    """The number of open connections by client address; trusted proxies, which speak for many clients, have no limit."""

    def __init__(self, most: int, trusted: Sequence[str]) -> None:
        self.most, self.open = most, Counter[str]()
        self._all = ANY in trusted
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted if network != ANY]

    def enter(self, client: str) -> bool:
        """Count a connection; return whether the client may have it."""
        if self.open[client] >= self.most and not self._is_trusted(client):
            return False
        self.open[client] += 1
        return True

    def leave(self, client: str) -> None:
        """Forget a connection."""
        self.open[client] -= 1
        if not self.open[client]:
            del self.open[client]

    def _is_trusted(self, client: str) -> bool:
        if self._all:
            return True
        try:
            address = ipaddress.ip_address(client)
        except ValueError:  # a Unix socket has no address
            return True
        return any(address in network for network in self._trusted)


def limited(most: int, trusted: Sequence[str], header_s: float) -> Callable[..., LimitedConnection]:
    """Return uvicorn's factory of connections with these limits."""
    clients = Clients(most, trusted)
    log.setLevel(logging.WARNING)  # uvicorn tells at the level of information

    def connect(*arguments: Any, **options: Any) -> LimitedConnection:
        return LimitedConnection(*arguments, clients=clients, header_s=header_s, **options)

    return connect
