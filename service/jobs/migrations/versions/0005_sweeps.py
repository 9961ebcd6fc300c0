"""The parent of a job, for the trainings of a sweep, and the fields of a run's network, which a grid may have."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("parent", sa.String(32)))
    op.create_index("jobs_by_parent", "jobs", ["parent", "created_at", "id"])
    op.add_column("offers", sa.Column("fields", sa.JSON))


def downgrade() -> None:
    op.drop_column("offers", "fields")
    op.drop_index("jobs_by_parent", "jobs")
    op.drop_column("jobs", "parent")
