"""What calls can go through since: rules, consent, voicemail, calls that Dari places.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE calls
            ADD COLUMN direction text NOT NULL DEFAULT 'incoming',
            ADD COLUMN rules jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN callback text,
            ADD COLUMN text_only text,
            ADD COLUMN consent jsonb,
            ADD COLUMN voicemail text
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE calls
            DROP COLUMN direction, DROP COLUMN rules, DROP COLUMN callback, DROP COLUMN text_only,
            DROP COLUMN consent, DROP COLUMN voicemail
    """)
