"""A call may bring several messages, one for each purpose; consents are kept one by one.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = (
    """
    ALTER TABLE messages
        ADD COLUMN purpose text NOT NULL DEFAULT 'callback' CHECK (purpose IN ('callback', 'consent', 'text-only')),
        DROP CONSTRAINT messages_call_id_key,
        ADD CONSTRAINT messages_call_id_purpose_key UNIQUE (call_id, purpose)
    """,
    """
    COMMENT ON TABLE messages IS
        'Messages sent and held back, each with its certificate; one per call and purpose at most.'
    """,
    """
    ALTER TABLE callback_recipients
        ADD COLUMN purpose text NOT NULL DEFAULT 'callback',
        ADD COLUMN number text NOT NULL DEFAULT '',
        DROP CONSTRAINT callback_recipients_pkey,
        ADD PRIMARY KEY (account_id, recipient, purpose, number)
    """,
    """
    COMMENT ON COLUMN callback_recipients.number IS
        'Whose messages the window is about; empty: those of all the account''s numbers.'
    """,
    """
    CREATE TABLE consents (
        id         uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts,
        recipient  text NOT NULL CHECK (recipient <> ''),
        service    text NOT NULL CHECK (service <> ''),
        channel    text NOT NULL CHECK (channel IN ('text', 'call', 'fax')),
        covers     text NOT NULL CHECK (covers IN ('message asked for')),
        given_at   timestamptz NOT NULL,
        call_id    uuid NOT NULL,
        evidence   jsonb NOT NULL,
        revoked_at timestamptz,
        UNIQUE (call_id, channel, covers)
    )
    """,
    "COMMENT ON TABLE consents IS 'What people agreed to get, one by one, each with its proof; never removed.'",
    "CREATE INDEX consents_by_recipient ON consents (account_id, recipient, service, given_at DESC)",
)

DOWN = (
    "DROP TABLE consents",
    "DELETE FROM callback_recipients WHERE purpose <> 'callback'",
    """
    ALTER TABLE callback_recipients
        DROP CONSTRAINT callback_recipients_pkey, DROP COLUMN purpose, DROP COLUMN number,
        ADD PRIMARY KEY (account_id, recipient)
    """,
    # The older tables have room for one message of a call: the others stay with their certificates, without the call.
    "UPDATE messages SET call_id = NULL WHERE purpose <> 'callback'",
    """
    ALTER TABLE messages
        DROP CONSTRAINT messages_call_id_purpose_key, DROP COLUMN purpose,
        ADD CONSTRAINT messages_call_id_key UNIQUE (call_id)
    """,
    "COMMENT ON TABLE messages IS 'Messages sent and held back, each with its certificate; one per call at most.'",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
