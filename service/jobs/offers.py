"""The names of runs, tables and architectures that workers know: a job for an unknown run or table is refused when it is submitted.

The API does not import training, so workers publish the names. A name stays known while no worker is connected.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from service.jobs.database import now, reading, writing
from service.jobs.schema import OFFERS

Kind = Literal["run", "table", "architecture"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KEEP_S = 30 * 24 * 3600.0  # since the last worker that offered a name was started


class OfferTable:
    """The published names. Every method raises StoreUnavailable if the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def publish(self, kind: Kind, names: Sequence[str], fields: Mapping[str, Sequence[str]] | None = None) -> None:
        """Record the names that a worker offers, and forget names that no worker has offered for a month.

        `fields` are those of each run's network that can be set.
        """
        own = ("seen_at",) if fields is None else ("seen_at", "fields")
        rows = [
            {"kind": kind, "name": name, "seen_at": now(), **({} if fields is None else {"fields": list(fields[name])})}
            for name in sorted(names)  # workers that start at once lock rows in the same order
        ]
        with writing(self._engine) as connection:
            connection.execute(delete(OFFERS).where(OFFERS.c.seen_at < now() - KEEP_S))
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            if rows:  # in one statement, so that a worker holds its locks for one answer of the database
                into = insert(OFFERS).values(rows)
                changes = {column: into.excluded[column] for column in own}
                connection.execute(into.on_conflict_do_update(index_elements=("kind", "name"), set_=changes))

    def names(self, kind: Kind) -> list[str]:
        """Return the known names of a kind, sorted; empty if no worker has published any yet."""
        with reading(self._engine) as connection:
            return list(connection.scalars(select(OFFERS.c.name).where(OFFERS.c.kind == kind).order_by(OFFERS.c.name)))

    def fields(self, run: str) -> list[str] | None:
        """Return the fields of a run's network that can be set; None if no worker has published them."""
        own = (OFFERS.c.kind == "run") & (OFFERS.c.name == run)
        with reading(self._engine) as connection:
            return connection.scalar(select(OFFERS.c.fields).where(own))
