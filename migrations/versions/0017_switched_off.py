"""Functions that are switched off: messages name those that they need, and engines hear of a switch above an account.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UP = (
    """
    ALTER TABLE messages ADD COLUMN needs text[] NOT NULL DEFAULT '{callback}'
    """,
    """
    COMMENT ON COLUMN messages.needs IS
        'The functions of the account without which it is not sent; asked again before it goes out.'
    """,
    "DROP TRIGGER accounts_changed ON accounts",
    """
    CREATE FUNCTION tell_accounts_switched() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        told uuid[] := ARRAY(
            SELECT id FROM changed
            UNION
            SELECT below.id FROM changed
                JOIN before USING (id) JOIN accounts below ON below.path @> ARRAY[changed.id]
                WHERE changed.modules <> before.modules
            LIMIT 101
        );
    BEGIN
        IF cardinality(told) > 100 THEN
            PERFORM pg_notify('dari_accounts', '');
        ELSE
            PERFORM pg_notify('dari_accounts', id::text) FROM unnest(told) AS id;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    COMMENT ON FUNCTION tell_accounts_switched IS
        'Names each changed account, and with its functions all below it; an empty text: read all again.'
    """,
    """
    CREATE TRIGGER accounts_changed AFTER UPDATE ON accounts REFERENCING OLD TABLE AS before NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION tell_accounts_switched()
    """,
)
DOWN = (
    "DROP TRIGGER accounts_changed ON accounts",
    "DROP FUNCTION tell_accounts_switched()",
    """
    CREATE TRIGGER accounts_changed AFTER UPDATE ON accounts REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION tell_accounts_changed()
    """,
    "ALTER TABLE messages DROP COLUMN needs",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
