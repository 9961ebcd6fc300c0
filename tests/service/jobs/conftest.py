"""Fixtures of an empty job table (SQLite, or PostgreSQL if CHIRON_TEST_DATABASE_URL names one) and of synthetic training data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from synthetic_hands import LONG, write_hands

from benchmarks.postgres import Postgres, postgres_binaries, postgres_server
from service.jobs.database import open_database
from service.jobs.table import JobTable


@pytest.fixture(scope="session")
def hands_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data folder of synthetic hands, on which the run `hands-eqmotion` trains in seconds."""
    return write_hands(tmp_path_factory.mktemp("hands"), LONG)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an empty database; empty the schema of CHIRON_TEST_DATABASE_URL."""
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


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if postgres_binaries() is None:
        pytest.skip("needs the binaries of a PostgreSQL server, and none is installed")
    with postgres_server() as server:
        yield server
