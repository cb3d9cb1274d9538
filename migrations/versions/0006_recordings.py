"""Recordings: what is kept of which call, under which key, until when, and who heard it.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STEPS = (
    """
    CREATE TABLE recording_keys (
        account_id   uuid NOT NULL REFERENCES accounts,
        version      integer NOT NULL CHECK (version > 0),
        master       text NOT NULL,
        wrapped      bytea,
        created_at   timestamptz NOT NULL,
        destroyed_at timestamptz,
        PRIMARY KEY (account_id, version),
        CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
    )
    """,
    "COMMENT ON TABLE recording_keys IS 'Keys of owners for their recordings, wrapped by the master key named.'",
    """
    CREATE TABLE recording_terms (
        account_id uuid PRIMARY KEY REFERENCES accounts,
        days       integer NOT NULL CHECK (days BETWEEN 1 AND 36500)
    )
    """,
    "COMMENT ON TABLE recording_terms IS 'Owners whose recordings are kept for another time than the setting says.'",
    """
    CREATE TABLE recordings (
        call_id      uuid NOT NULL,
        kind         text NOT NULL CHECK (kind IN ('talk', 'voicemail')),
        account_id   uuid NOT NULL REFERENCES accounts,
        file         text NOT NULL UNIQUE,
        key_version  integer NOT NULL,
        seconds      double precision NOT NULL CHECK (seconds >= 0),
        size         bigint NOT NULL CHECK (size > 0),
        sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
        made_at      timestamptz NOT NULL,
        delete_after timestamptz NOT NULL,
        held         text CHECK (held <> ''),
        deleted_at   timestamptz,
        removed_at   timestamptz,
        PRIMARY KEY (call_id, kind),
        FOREIGN KEY (account_id, key_version) REFERENCES recording_keys,
        CHECK (removed_at IS NULL OR deleted_at IS NOT NULL),
        CHECK (held IS NULL OR deleted_at IS NULL)
    )
    """,
    "COMMENT ON TABLE recordings IS 'Each kept recording has its file until removed_at; held: why it may not go.'",
    "CREATE INDEX recordings_by_account ON recordings (account_id, made_at DESC)",
    "CREATE INDEX recordings_due ON recordings (delete_after) WHERE deleted_at IS NULL AND held IS NULL",
    "CREATE INDEX recordings_leaving ON recordings (deleted_at) WHERE deleted_at IS NOT NULL AND removed_at IS NULL",
    """
    CREATE TABLE recording_access (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        call_id    uuid NOT NULL,
        kind       text NOT NULL,
        account_id uuid NOT NULL,
        at         timestamptz NOT NULL,
        who        text NOT NULL CHECK (who <> ''),
        deed       text NOT NULL CHECK (deed IN ('listen', 'export', 'hold', 'release')),
        reason     text NOT NULL CHECK (reason <> ''),
        granted    boolean NOT NULL
    )
    """,
    "COMMENT ON TABLE recording_access IS 'Who heard, took, held or released a recording, when and why.'",
    "CREATE INDEX recording_access_by_call ON recording_access (call_id, id)",
    "CREATE INDEX recording_access_by_time ON recording_access (at)",
)


def upgrade() -> None:
    for step in STEPS:
        op.execute(step)


def downgrade() -> None:
    op.execute("DROP TABLE recording_access, recordings, recording_terms, recording_keys")
