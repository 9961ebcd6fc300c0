"""Tests of opening the database: migrations, concurrency, its clock, and unusable databases."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from models.contract.spec import TrainSpec
from service.jobs.database import MIGRATIONS, StoreUnusable, now, open_database, reading, writing
from service.jobs.schema import METADATA
from service.jobs.table import JobTable


def downgrade(connection: Connection, revision: str) -> None:
    """Downgrade the tables to an older revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def test_the_migrations_create_the_tables_of_the_schema(engine):
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_missing_table_is_detected(engine):
    with writing(engine) as connection:
        connection.exec_driver_sql("drop table workers")
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA)


def test_reopening_a_database_keeps_its_jobs(url, table):
    job, _ = table.submit(TrainSpec(run="r"), "cpu")
    again = open_database(url)
    assert JobTable(again, lease_s=1).get(job.id) == job
    again.dispose()


def test_a_new_database_can_be_opened_concurrently(url):
    with ThreadPoolExecutor(6) as pool:
        for engine in list(pool.map(lambda _: open_database(url), range(6))):
            engine.dispose()


def test_the_database_clock_is_the_current_time(engine):
    with reading(engine) as connection:
        assert abs(connection.execute(now().select()).scalar_one() - time.time()) < 5


def test_an_older_schema_is_migrated_and_keeps_its_jobs(url, table):
    job, _ = table.submit(TrainSpec(run="r"), "cpu")
    engine = open_database(url)
    with writing(engine) as connection:
        downgrade(connection, "0002")
    engine.dispose()
    again = open_database(url)
    assert JobTable(again, lease_s=60).get(job.id).spec == job.spec
    with reading(again) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    again.dispose()


def test_a_newer_schema_is_reported_in_one_sentence(url, engine):
    with writing(engine) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(
        StoreUnusable, match=r"newer than this program, which knows revisions up to .*9999.*install"
    ) as error:
        open_database(url)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_a_database_is_reported(tmp_path):
    (tmp_path / "no.db").write_bytes(b"not a database, only text" * 100)
    with pytest.raises(StoreUnusable, match=r"damaged .*not a database.*restore it"):
        open_database(f"sqlite:///{tmp_path / 'no.db'}")
