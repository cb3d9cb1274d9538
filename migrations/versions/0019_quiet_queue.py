"""The queue of jobs: a job that is done wakes nobody, and leaves nothing behind unless it failed.

PostgreSQL wakes everybody who listens at every notification, and nothing reads or removes what PgQueuer's log has of
each job.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

UP = (
    # Read before anything is locked: it may be large.
    "CREATE TEMPORARY TABLE failures ON COMMIT DROP AS SELECT * FROM pgqueuer_log WHERE traceback IS NOT NULL",
    "TRUNCATE pgqueuer_log, pgqueuer_statistics",
    "INSERT INTO pgqueuer_log OVERRIDING SYSTEM VALUE SELECT * FROM failures",
    """
    CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN NULL;
    END $$
    """,
    "COMMENT ON FUNCTION leave_out IS 'Before the insert of a row: it is not inserted.'",
    """
    CREATE TRIGGER pgqueuer_log_failures BEFORE INSERT ON pgqueuer_log
        FOR EACH ROW WHEN (NEW.traceback IS NULL) EXECUTE FUNCTION leave_out()
    """,
    """
    CREATE OR REPLACE TRIGGER tg_pgqueuer_changed AFTER INSERT ON pgqueuer
        FOR EACH STATEMENT EXECUTE FUNCTION fn_pgqueuer_changed()
    """,
)
DOWN = (
    """
    CREATE OR REPLACE TRIGGER tg_pgqueuer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgqueuer
        FOR EACH STATEMENT EXECUTE FUNCTION fn_pgqueuer_changed()
    """,
    "DROP TRIGGER pgqueuer_log_failures ON pgqueuer_log",
    "DROP FUNCTION leave_out()",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
