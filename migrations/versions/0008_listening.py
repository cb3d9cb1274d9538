"""Whoever listens to a live call is written down, with the reason.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE listening_log (
        id         uuid PRIMARY KEY,
        call_id    uuid NOT NULL,
        account_id uuid REFERENCES accounts,
        who        text NOT NULL CHECK (who <> ''),
        reason     text NOT NULL,
        mode       text NOT NULL CHECK (mode IN ('listen', 'whisper', 'barge')),
        minutes    integer NOT NULL,
        asked_at   timestamptz NOT NULL,
        refused    text,
        began_at   timestamptz,
        until_at   timestamptz,
        ended_at   timestamptz,
        ended      text,
        CHECK (refused IS NULL OR began_at IS NULL)
    )
    """,
    "COMMENT ON TABLE listening_log IS 'Who listened to live calls, why, how and when; kept for two years.'",
    """
    COMMENT ON COLUMN listening_log.until_at IS
        'The time box. Without ended_at the engine died while somebody listened: nobody heard anything after this.'
    """,
    "COMMENT ON COLUMN listening_log.refused IS 'Why they were turned away; empty for those who were not.'",
    "CREATE INDEX listening_log_by_call ON listening_log (call_id)",
    "CREATE INDEX listening_log_by_account ON listening_log (account_id, asked_at DESC)",
    "CREATE INDEX listening_log_by_time ON listening_log (asked_at)",
)

DOWN = ("DROP TABLE listening_log",)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
