"""Prompts of accounts: names, each with its versions.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE prompts (
            id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            account_id      uuid NOT NULL REFERENCES accounts,
            name            text NOT NULL CHECK (name <> '' AND name !~ '/' AND length(name) <= 64),
            current_version integer NOT NULL,
            last_version    integer NOT NULL,
            created_at      timestamptz NOT NULL DEFAULT now(),
            updated_at      timestamptz NOT NULL DEFAULT now(),
            UNIQUE (account_id, name)
        )
    """)
    op.execute("COMMENT ON TABLE prompts IS 'Named prompts of accounts, and which version of each is played.'")
    op.execute("""
        CREATE TABLE prompt_versions (
            prompt_id  bigint NOT NULL REFERENCES prompts ON DELETE CASCADE,
            version    integer NOT NULL CHECK (version > 0),
            sound      text NOT NULL CHECK (sound ~ '^[a-z0-9-]+/[a-z0-9-]+$'),
            origin     text NOT NULL CHECK (origin IN ('file', 'speech', 'mix')),
            source     text NOT NULL,
            voice      text,
            music      text,
            seconds    double precision NOT NULL CHECK (seconds > 0),
            created_at timestamptz NOT NULL,
            PRIMARY KEY (prompt_id, version),
            CHECK ((origin = 'mix') = (music IS NOT NULL)),
            CHECK (origin <> 'speech' OR voice IS NOT NULL),
            CHECK (origin <> 'file' OR voice IS NULL)
        )
    """)
    op.execute("COMMENT ON TABLE prompt_versions IS 'What a prompt was and is: its sound and where it came from.'")
    # Asked at the end of the transaction: a prompt and its first version come together.
    op.execute("""
        ALTER TABLE prompts ADD FOREIGN KEY (id, current_version) REFERENCES prompt_versions (prompt_id, version)
            DEFERRABLE INITIALLY DEFERRED
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE prompts DROP CONSTRAINT prompts_id_current_version_fkey")
    op.execute("DROP TABLE prompt_versions, prompts")
