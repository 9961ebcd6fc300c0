"""An index for each query of tables that grow: pages of jobs by state and kind, jobs to send, and old or removed idempotency keys."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("jobs_by_state", "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "created_at", "id"])
    op.create_index("jobs_by_kind", "jobs", ["kind", "created_at", "id"])
    op.create_index("jobs_by_state_and_kind", "jobs", ["state", "kind", "created_at", "id"])
    op.create_index("jobs_by_delivery", "jobs", ["state", "queue", "sent_at", "created_at"])
    op.create_index("submissions_by_age", "submissions", ["at"])
    op.create_index("submissions_by_job", "submissions", ["job"])


def downgrade() -> None:
    op.drop_index("submissions_by_job", "submissions")
    op.drop_index("submissions_by_age", "submissions")
    for name in ("jobs_by_delivery", "jobs_by_state_and_kind", "jobs_by_kind", "jobs_by_state"):
        op.drop_index(name, "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "created_at"])
