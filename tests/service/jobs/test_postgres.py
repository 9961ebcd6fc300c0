"""Tests of the timeouts of PostgreSQL connections, without a server; test_faults.py stops a real one."""

from types import SimpleNamespace
from typing import Any

from sqlalchemy.engine import make_url

from service.jobs import postgres


def test_the_check_of_a_pooled_connection_leaves_time_to_make_a_new_one():
    engine = postgres.create_postgres_engine(make_url("postgresql+psycopg://chiron@127.0.0.1:1/none"))
    timeouts: list[float] = []
    connection: Any = SimpleNamespace(autocommit=True, closed=False, timeout_s=postgres.ANSWER_TIMEOUT_S)
    connection.cursor = lambda: SimpleNamespace(
        execute=lambda _: timeouts.append(connection.timeout_s), close=lambda: None
    )
    assert engine.dialect.do_ping(connection)
    assert timeouts == [postgres.PING_TIMEOUT_S]
    assert connection.timeout_s == postgres.ANSWER_TIMEOUT_S
    assert postgres.PING_TIMEOUT_S + postgres.CONNECT_TIMEOUT_S <= postgres.ANSWER_TIMEOUT_S
