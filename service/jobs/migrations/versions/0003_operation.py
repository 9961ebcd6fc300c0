"""Columns for the reports of workers about themselves, and a table of the runs and tables that they can make."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("workers", sa.Column("failed_starts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("workers", sa.Column("problem", sa.Text))
    op.create_table(
        "offers",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("seen_at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("offers")
    op.drop_column("workers", "problem")
    op.drop_column("workers", "failed_starts")
