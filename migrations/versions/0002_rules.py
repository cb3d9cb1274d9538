"""Routing in full: treatments, limits, rules, closed days, groups of callers, public holidays.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import asyncpg
from alembic import op
from sqlalchemy.util import await_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SETTINGS = """
ALTER TABLE accounts
    ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object');

ALTER TABLE numbers
    ADD COLUMN treatment jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(treatment) = 'object'),
    ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object'),
    ADD CHECK (coalesce((treatment ->> 'ring_seconds')::numeric BETWEEN 3 AND 120, true));
UPDATE numbers SET treatment = jsonb_strip_nulls(jsonb_build_object(
    'ring_seconds', ring_seconds,
    'ringback', CASE WHEN ringback IS NOT NULL THEN jsonb_build_array(ringback) END,
    'whisper', CASE WHEN whisper IS NOT NULL THEN jsonb_build_object('sound', whisper) END,
    'recording', CASE WHEN record THEN 'always' END))
    WHERE ring_seconds IS NOT NULL OR ringback IS NOT NULL OR whisper IS NOT NULL OR record;
ALTER TABLE numbers
    DROP COLUMN ring_seconds, DROP COLUMN ringback, DROP COLUMN whisper, DROP COLUMN record;
COMMENT ON COLUMN numbers.treatment IS 'What its calls go through when no rule says otherwise.';
"""

ROUTING = """
CREATE TABLE number_rules (
    number     text NOT NULL REFERENCES numbers ON DELETE CASCADE,
    name       text NOT NULL CHECK (name <> ''),
    position   integer NOT NULL,
    condition  jsonb NOT NULL CHECK (jsonb_typeof(condition) = 'object'),
    treatment  jsonb NOT NULL CHECK (jsonb_typeof(treatment) = 'object'),
    enabled    boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (number, name),
    UNIQUE (number, position) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE number_rules IS 'When a number treats its calls otherwise; asked by position, the first that says a '
    'setting decides it.';

CREATE TABLE closed_days (
    account_id uuid REFERENCES accounts,
    number     text REFERENCES numbers ON DELETE CASCADE,
    day        date,
    weekday    smallint CHECK (weekday BETWEEN 1 AND 7),
    weeks      smallint[] NOT NULL DEFAULT '{}' CHECK (weeks <@ '{1,2,3,4,5}'),
    UNIQUE NULLS NOT DISTINCT (account_id, number, day, weekday, weeks),
    CHECK ((account_id IS NULL) <> (number IS NULL)),
    CHECK ((day IS NULL) <> (weekday IS NULL)),
    CHECK (day IS NULL OR weeks = '{}')
);
COMMENT ON TABLE closed_days IS 'Days off, of an account or of one number: a date, or a weekday in certain weeks.';
CREATE INDEX closed_days_by_number ON closed_days (number);

CREATE TABLE caller_groups (
    account_id uuid NOT NULL REFERENCES accounts,
    name       text NOT NULL CHECK (name <> ''),
    number     text NOT NULL CHECK (number ~ '^[0-9]{3,20}$'),
    note       text NOT NULL DEFAULT '',
    added_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name, number)
);
COMMENT ON TABLE caller_groups IS 'Callers by name of their group; those in the group blocked are turned away.';

CREATE TABLE holidays (
    day    date PRIMARY KEY,
    name   text NOT NULL CHECK (name <> ''),
    source text NOT NULL CHECK (source IN ('public', 'temporary'))
);
COMMENT ON TABLE holidays IS 'Public holidays: those of the calendar, and temporary ones entered by hand.';

CREATE INDEX calls_by_caller ON calls (number, caller, arrived_at DESC);
"""

NEWS = """
CREATE FUNCTION tell_rules_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('dari_numbers', '');
    ELSIF (SELECT count(*) FROM (SELECT DISTINCT number FROM changed LIMIT 101) AS several) > 100 THEN
        PERFORM pg_notify('dari_numbers', '');
    ELSE
        PERFORM pg_notify('dari_numbers', number) FROM (SELECT DISTINCT number FROM changed) AS several;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_rules_changed IS 'Names each number whose rules changed; an empty text: read all again.';

CREATE FUNCTION tell_accounts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSIF (SELECT count(*) FROM (SELECT 1 FROM changed LIMIT 101) AS several) > 100 THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSE
        PERFORM pg_notify('dari_accounts', id::text) FROM changed;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_accounts_changed IS 'Names each changed account; an empty text: read all again.';

CREATE FUNCTION tell_groups_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSIF (SELECT count(*) FROM (SELECT DISTINCT account_id FROM changed LIMIT 101) AS several) > 100 THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSE
        PERFORM pg_notify('dari_accounts', account_id::text) FROM (SELECT DISTINCT account_id FROM changed) AS several;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_groups_changed IS 'Names each account whose groups of callers changed; empty: read all again.';

CREATE FUNCTION tell_closed_days_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSIF (SELECT count(*) FROM (SELECT DISTINCT account_id, number FROM changed LIMIT 101) AS several) > 100 THEN
        PERFORM pg_notify('dari_accounts', '');
    ELSE
        PERFORM pg_notify('dari_numbers', number)
            FROM (SELECT DISTINCT number FROM changed WHERE number IS NOT NULL) AS several;
        PERFORM pg_notify('dari_accounts', account_id::text)
            FROM (SELECT DISTINCT account_id FROM changed WHERE account_id IS NOT NULL) AS several;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_closed_days_changed IS 'Names the number, or the account, whose days off changed.';

CREATE FUNCTION tell_holidays_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dari_accounts', 'holidays');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_holidays_changed IS 'Tells all engines to read the holidays again.';

CREATE TRIGGER holidays_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON holidays
    FOR EACH STATEMENT EXECUTE FUNCTION tell_holidays_changed();
"""

FOLLOWED = {
    "number_rules": "tell_rules_changed",
    "closed_days": "tell_closed_days_changed",
    "caller_groups": "tell_groups_changed",
    "accounts": "tell_accounts_changed",
}

FOLLOWING = """
CREATE TRIGGER {table}_added AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_removed AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER {table}_emptied AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
"""

BACK = """
DROP INDEX calls_by_caller;
DROP TABLE number_rules, closed_days, caller_groups, holidays;
DROP TRIGGER accounts_added ON accounts;
DROP TRIGGER accounts_changed ON accounts;
DROP TRIGGER accounts_removed ON accounts;
DROP TRIGGER accounts_emptied ON accounts;
DROP FUNCTION tell_rules_changed(), tell_accounts_changed(), tell_groups_changed(), tell_closed_days_changed(),
    tell_holidays_changed();
ALTER TABLE accounts DROP COLUMN limits;

ALTER TABLE numbers
    ADD COLUMN ring_seconds integer CHECK (ring_seconds BETWEEN 3 AND 120),
    ADD COLUMN ringback text,
    ADD COLUMN whisper text,
    ADD COLUMN record boolean NOT NULL DEFAULT false;
UPDATE numbers SET
    ring_seconds = (treatment ->> 'ring_seconds')::integer,
    ringback = treatment #>> '{ringback,0}',
    whisper = treatment #>> '{whisper,sound}',
    record = coalesce(treatment ->> 'recording' = 'always', false)
    WHERE treatment <> '{}';
ALTER TABLE numbers DROP COLUMN treatment, DROP COLUMN limits;
"""


def upgrade() -> None:
    for script in (SETTINGS, ROUTING, NEWS):
        _run(script)
    for table, function in FOLLOWED.items():
        _run(FOLLOWING.format(table=table, function=function))


def downgrade() -> None:
    _run(BACK)


def _run(script: str) -> None:
    """A whole script at once, in the transaction that runs: the driver's own `execute` takes several statements."""
    connection: asyncpg.Connection[asyncpg.Record] | None = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - None only after it was given back to the pool
    await_only(connection.execute(script))
