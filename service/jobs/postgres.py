"""Time limits for PostgreSQL connections, so that a server that stops answering raises an error instead of blocking for ever.

The server's own limits do not apply while it is frozen or unreachable, and TCP keeps a connection to a frozen process alive. Every wait for
the server therefore has a deadline on this side.
"""

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S, POOL_TIMEOUT_S = 5, 10.0, 10.0
PING_TIMEOUT_S = 2.0  # whether a pooled connection still works; if not, a new one is made
CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": int(ANSWER_TIMEOUT_S * 1e3),
    # below the limit of this side, so that a server that does answer ends a slow statement itself
    "options": "-c statement_timeout=9s -c lock_timeout=8s -c idle_in_transaction_session_timeout=60s",
}


def create_postgres_engine(url: URL) -> Engine:
    """Return an engine whose connections raise an error if the server does not answer in time. It does not connect yet."""
    if url.get_driver_name() != "psycopg":
        return create_engine(url, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S)
    engine = create_engine(url, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S, connect_args=CONNECT_ARGUMENTS)
    event.listen(engine, "do_connect", _connect)
    engine.dialect.do_ping = partial(_ping, engine.dialect.do_ping)  # pyright: ignore[reportAttributeAccessIssue] - named otherwise
    return engine


def _ping(ping: Callable[[Any], bool], connection: Any) -> bool:
    """Call SQLAlchemy's own `ping` with a shorter timeout."""
    connection.timeout_s = PING_TIMEOUT_S
    try:
        return ping(connection)
    finally:
        connection.timeout_s = ANSWER_TIMEOUT_S


def _connect(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
    import psycopg

    class Connection(psycopg.Connection):
        """A connection that is closed if the server does not answer in time."""

        timeout_s = ANSWER_TIMEOUT_S

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(_until(gen, self.timeout_s), interval, timeout)
            except TimeoutError as error:
                self.pgconn.finish()
                raise psycopg.OperationalError(str(error)) from None

    return Connection.connect(*arguments, **options)


def _until(steps: Generator[Any, Any, Any], timeout_s: float) -> Generator[Any, Any, Any]:
    """Run a generator of psycopg's, which gets a true value when its socket is ready. Raises TimeoutError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise TimeoutError(f"the PostgreSQL server did not answer within {timeout_s:g} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value
