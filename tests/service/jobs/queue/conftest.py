"""Fixtures of an embedded broker and a sender, in a folder with a path short enough for a socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.jobs.database import open_database
from service.jobs.queue.broker import EmbeddedBroker
from service.jobs.queue.celery_app import Sender
from service.jobs.table import JobTable
from service.settings import Settings


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder:
        yield Settings(state=Path(folder))


@pytest.fixture
def broker(settings: Settings) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(settings)
    yield broker
    broker.stop()


@pytest.fixture
def table(settings: Settings) -> Iterator[JobTable]:
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=60)
    engine.dispose()


@pytest.fixture
def sender(settings: Settings) -> Iterator[Sender]:
    sender = Sender(settings)
    yield sender
    sender.close()
