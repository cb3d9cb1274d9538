"""Trunks in full: login and registration, limits, health, number formats of their own.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TRUNKS = """
ALTER TABLE trunks
    ADD COLUMN caller_format       text CHECK (caller_format IN ('national', 'e164', 'international')),
    ADD COLUMN prefix              text NOT NULL DEFAULT '' CHECK (prefix ~ '^[0-9*#]{0,8}$'),
    ADD COLUMN login_user          text CHECK (login_user <> ''),
    ADD COLUMN login_password      text CHECK (login_password <> ''),
    ADD COLUMN login_realm         text NOT NULL DEFAULT '',
    ADD COLUMN register            boolean NOT NULL DEFAULT false,
    ADD COLUMN registered_as       text NOT NULL DEFAULT '',
    ADD COLUMN outgoing            boolean NOT NULL DEFAULT true,
    ADD COLUMN priority            integer NOT NULL DEFAULT 100 CHECK (priority BETWEEN 0 AND 1000),
    ADD COLUMN max_calls           integer CHECK (max_calls BETWEEN 1 AND 100000),
    ADD COLUMN calls_per_second    double precision CHECK (calls_per_second > 0 AND calls_per_second <= 10000),
    ADD COLUMN longest_ringing     integer CHECK (longest_ringing BETWEEN 3 AND 120),
    ADD COLUMN provisional_seconds double precision NOT NULL DEFAULT 4 CHECK (provisional_seconds BETWEEN 0.5 AND 30),
    ADD COLUMN early_dtmf          boolean NOT NULL DEFAULT false,
    ADD COLUMN options_seconds     integer NOT NULL DEFAULT 0
        CHECK (options_seconds = 0 OR options_seconds BETWEEN 2 AND 3600),
    ADD CONSTRAINT trunks_login_is_whole CHECK ((login_user IS NULL) = (login_password IS NULL)),
    ADD CONSTRAINT trunks_register_by_login CHECK (login_user IS NOT NULL OR NOT register)
"""

LOGIN_COMMENT = """
COMMENT ON COLUMN trunks.login_password IS 'Asterisk needs it as it is; never listed, logged or exported.'
"""

NOTHING = """
ALTER TABLE trunks
    DROP COLUMN caller_format, DROP COLUMN prefix, DROP COLUMN login_user, DROP COLUMN login_password,
    DROP COLUMN login_realm, DROP COLUMN register, DROP COLUMN registered_as, DROP COLUMN outgoing,
    DROP COLUMN priority, DROP COLUMN max_calls, DROP COLUMN calls_per_second, DROP COLUMN longest_ringing,
    DROP COLUMN provisional_seconds, DROP COLUMN early_dtmf, DROP COLUMN options_seconds
"""


def upgrade() -> None:
    op.execute(TRUNKS)
    op.execute(LOGIN_COMMENT)


def downgrade() -> None:
    op.execute(NOTHING)
