"""SQLAlchemy's definitions of the tables. service/jobs/migrations creates them, and a test compares the two."""

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("queue", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("started_at", Float(53)),
    Column("finished_at", Float(53)),
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("worker", String(200)),
    Column("lease_until", Float(53)),
    Column("sent_at", Float(53)),
    Column("progress", JSON(none_as_null=True)),
    Column("metrics", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("events", Integer, nullable=False),
    Column("parent", String(32)),  # the sweep of a training
    # pages of GET /jobs, with each combination of filters
    Index("jobs_by_age", "created_at", "id"),
    Index("jobs_by_state", "state", "created_at", "id"),
    Index("jobs_by_kind", "kind", "created_at", "id"),
    Index("jobs_by_state_and_kind", "state", "kind", "created_at", "id"),
    Index("jobs_by_parent", "parent", "created_at", "id"),
    # service/jobs/delivery.py; no index has a column that a heartbeat writes, since each heartbeat would then write all indexes
    Index("jobs_by_delivery", "state", "queue", "sent_at", "created_at"),
)

EVENTS = Table(
    "job_events",
    METADATA,
    Column("job", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
)

SUBMISSIONS = Table(
    "submissions",
    METADATA,
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("job", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float(53), nullable=False),
    Index("submissions_by_age", "at"),
    Index("submissions_by_job", "job"),
)

WORKERS = Table(
    "workers",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("queues", JSON, nullable=False),
    Column("device", String(64), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("seen_until", Float(53), nullable=False),
    Column("stopping", Boolean, nullable=False),
    Column("failed_starts", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
)

OFFERS = Table(
    "offers",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("seen_at", Float(53), nullable=False),
    Column("fields", JSON(none_as_null=True)),  # of a run's network, those that can be set
)

DATASETS = Table(
    "datasets",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("path", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("job", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("created_at", Float(53), nullable=False),
)
