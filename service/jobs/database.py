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
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Float, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from service.jobs.postgres import create_postgres_engine

log = logging.getLogger("chiron.database")
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6368  # PostgreSQL's advisory lock for migrations
BUSY_TIMEOUT_S = 30.0  # how long SQLite waits for another writer
READ_ONLY = "chiron_reads"
DAMAGED = ("file is not a database", "database disk image is malformed")  # SQLite's words


class StoreUnavailable(Exception):
    """A database that does not answer or refuses the statement; a later attempt may succeed."""


class StoreUnusable(StoreUnavailable):
    """A database that this program cannot use without intervention: damaged, or of a newer version."""


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
    """Return an engine for the database at `url`, with its tables migrated to this version.

    Raises StoreUnavailable, and StoreUnusable if trying again is pointless.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(str(parsed.database))
        file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        exclusive = _file_lock(file.with_suffix(".migrating"))
    else:
        engine = create_postgres_engine(parsed)
        exclusive = nullcontext()
    try:
        with exclusive, writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"select pg_advisory_xact_lock({MIGRATION_LOCK})"))
            _migrate(connection)
    except BaseException:  # re-raised after the cleanup
        engine.dispose()
        raise
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
        cause = getattr(error, "orig", None) or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
        if any(text in reason for text in DAMAGED):
            advice = "restore it from a backup, or move it away to begin with an empty one"
            raise StoreUnusable(f"the job table is damaged ({reason}); {advice}") from error
        if not isinstance(error, OperationalError | PoolTimeout):  # not an outage: the traceback shows the fault
            log.error("the database refused a statement", exc_info=error)
        raise StoreUnavailable(f"the job table cannot be used: {reason}") from error


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver would begin a transaction only at its first write; see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(READ_ONLY) else "BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its two lines at each start carry no information
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:  # the table names a revision that is not among our migrations
        known = ScriptDirectory.from_config(config).get_current_head()
        raise StoreUnusable(
            f"the job table is newer than this program, which knows revisions up to {known} ({error}); install a newer Chiron"
        ) from error


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
