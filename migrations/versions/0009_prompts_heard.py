"""Engines hear at once which version of a prompt is played.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE FUNCTION tell_prompts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            PERFORM pg_notify('dari_accounts', '');
        ELSIF (SELECT count(*) FROM (SELECT DISTINCT account_id FROM changed LIMIT 101) AS several) > 100 THEN
            PERFORM pg_notify('dari_accounts', '');
        ELSE
            PERFORM pg_notify('dari_accounts', account_id::text)
                FROM (SELECT DISTINCT account_id FROM changed) AS several;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    COMMENT ON FUNCTION tell_prompts_changed IS
        'Names each account whose prompts changed; an empty text: read all again.'
    """,
    """
    CREATE TRIGGER prompts_added AFTER INSERT ON prompts REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION tell_prompts_changed()
    """,
    """
    CREATE TRIGGER prompts_changed AFTER UPDATE ON prompts REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION tell_prompts_changed()
    """,
    """
    CREATE TRIGGER prompts_removed AFTER DELETE ON prompts REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION tell_prompts_changed()
    """,
    """
    CREATE TRIGGER prompts_emptied AFTER TRUNCATE ON prompts
        FOR EACH STATEMENT EXECUTE FUNCTION tell_prompts_changed()
    """,
)

DOWN = (
    "DROP TRIGGER prompts_added ON prompts",
    "DROP TRIGGER prompts_changed ON prompts",
    "DROP TRIGGER prompts_removed ON prompts",
    "DROP TRIGGER prompts_emptied ON prompts",
    "DROP FUNCTION tell_prompts_changed()",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
