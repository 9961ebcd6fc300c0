"""The job table in a database of its own: SQLite, or PostgreSQL if CHIRON_TEST_DATABASE_URL names one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from service.jobs.database import open_database
from service.jobs.table import JobTable


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an empty database. The schema of CHIRON_TEST_DATABASE_URL is emptied."""
    if (postgres := os.environ.get("CHIRON_TEST_DATABASE_URL")) is None:
        return f"sqlite:///{tmp_path / 'deep' / 'jobs.db'}"
    engine = create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop schema public cascade")
        connection.exec_driver_sql("create schema public")
    engine.dispose()
    return postgres


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def table(engine: Engine) -> JobTable:
    return JobTable(engine, lease_s=60)
