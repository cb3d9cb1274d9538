"""Answers to requests that may be sent twice.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE api_answers (
        slot       bytea PRIMARY KEY CHECK (length(slot) = 32),
        sealed     bytea,
        kept_until timestamptz NOT NULL
    )
    """,
    "COMMENT ON TABLE api_answers IS 'Answers to POSTs with an Idempotency-Key, kept for a day.'",
    "COMMENT ON COLUMN api_answers.slot IS 'SHA-256 of who asked and of the key; neither can be read from it.'",
    """
    COMMENT ON COLUMN api_answers.sealed IS
        'The request''s fingerprint and its answer, sealed with the key: nobody else opens it. NULL is never committed.'
    """,
    "CREATE INDEX api_answers_by_end ON api_answers (kept_until)",
)

DOWN = ("DROP TABLE api_answers",)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
