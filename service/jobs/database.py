"""The database behind the jobs: SQLite in WAL mode by default, PostgreSQL by URL. Opening it runs the migrations.

A writing transaction on SQLite takes the write lock when it begins, so that nothing it has read changes before it writes. All times come
from the database's clock: hosts whose clocks differ agree on when a lease ends.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Float, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

log = logging.getLogger("chiron.database")
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6368  # PostgreSQL's advisory lock for migrations
BUSY_TIMEOUT_S = 30.0  # how long SQLite waits for another writer
READ_ONLY = "chiron_reads"


class StoreUnavailable(Exception):
    """A database that does not answer or refuses the statement."""


class now(FunctionElement[float]):
    """The SQL expression for the database's clock, in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"


def open_database(url: str) -> Engine:
    """Return an engine for the database at `url`, with its tables migrated to this version. Raises StoreUnavailable."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(str(parsed.database))
        file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        exclusive = _file_lock(file.with_suffix(".migrating"))
    else:
        engine = create_engine(parsed, pool_pre_ping=True)
        exclusive = nullcontext()
    with exclusive, writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"select pg_advisory_xact_lock({MIGRATION_LOCK})"))
        _migrate(connection)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that may write and commit it at the end. Raises StoreUnavailable."""
    with _store_errors(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads and blocks no writer. Raises StoreUnavailable."""
    with _store_errors(), engine.connect() as connection, connection.execution_options(**{READ_ONLY: True}).begin():
        yield connection


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        log.error("the database failed", exc_info=error)
        cause = getattr(error, "orig", None) or error
        raise StoreUnavailable(f"the job table cannot be used: {str(cause).splitlines()[0][:200]}") from error


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver would begin a transaction only at its first write; see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(READ_ONLY) else "BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
