"""Sign-ups: what strangers hand in for a company keeps nobody else out; approving one settles the others.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UP = (
    "DROP INDEX applications_waiting",
    """
    ALTER TABLE applications
        DROP CONSTRAINT applications_status_check,
        ADD CONSTRAINT applications_status_check CHECK (status IN ('applied', 'approved', 'rejected', 'settled')),
        ADD COLUMN settled_by uuid REFERENCES applications CHECK (settled_by <> id),
        ADD CONSTRAINT applications_settled_check CHECK ((status = 'settled') = (settled_by IS NOT NULL))
    """,
    "COMMENT ON COLUMN applications.settled_by IS 'The application of the same company that was approved instead.'",
    "CREATE INDEX applications_waiting ON applications (parent_id, registration_number) WHERE status = 'applied'",
    """
    CREATE UNIQUE INDEX applications_handed_in ON applications (parent_id, registration_number)
        WHERE status = 'applied' AND by <> 'applicant'
    """,
    """
    COMMENT ON INDEX applications_handed_in IS
        'One who is signed in hands in a company once; strangers, of whom nobody knows who they are, block nobody.'
    """,
)
DOWN = (
    "DROP INDEX applications_handed_in, applications_waiting",
    "ALTER TABLE applications DROP CONSTRAINT applications_settled_check",
    """
    ALTER TABLE applications DROP COLUMN settled_by, DROP CONSTRAINT applications_status_check
    """,
    """
    UPDATE applications AS one
    SET status = 'rejected', decided_at = now(), decided_by = 'operator of this machine',
        reason = 'an older application of this company waits'
    FROM applications AS older
    WHERE one.status = 'applied' AND older.status = 'applied' AND older.parent_id = one.parent_id
      AND older.registration_number = one.registration_number AND older.id < one.id
    """,
    "UPDATE applications SET status = 'rejected' WHERE status = 'settled'",
    """
    ALTER TABLE applications
        ADD CONSTRAINT applications_status_check CHECK (status IN ('applied', 'approved', 'rejected'))
    """,
    """
    CREATE UNIQUE INDEX applications_waiting ON applications (parent_id, registration_number) WHERE status = 'applied'
    """,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
