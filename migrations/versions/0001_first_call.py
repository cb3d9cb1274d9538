"""The first call: accounts, numbers, trunks, call records by month, events, messages, jobs.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import asyncpg
from alembic import op
from pgqueuer.adapters.persistence.qb import DBSettings, QueryBuilderEnvironment
from pgqueuer.domain.settings import Durability
from pgqueuer.domain.types import Channel
from sqlalchemy.util import await_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Every name is given: PgQueuer would take it from environment variables as common as CHANNEL or FUNCTION.
JOB_TABLES = QueryBuilderEnvironment(
    DBSettings(
        prefix="",
        db_schema=None,
        channel=Channel("ch_pgqueuer"),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
    )
)

ACCOUNTS = """
CREATE TABLE accounts (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    zone        text NOT NULL DEFAULT 'Asia/Seoul',
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE accounts IS 'Who owns numbers, calls and messages.';

CREATE TABLE senders (
    account_id    uuid NOT NULL REFERENCES accounts,
    number        text NOT NULL CHECK (number ~ '^[0-9]{8,11}$' AND number !~ '^050'),
    evidence      text NOT NULL CHECK (evidence <> ''),
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, number)
);
COMMENT ON TABLE senders IS 'Sender numbers that an account has registered; a message has no other sender.';
"""

NUMBERS = """
CREATE TABLE numbers (
    number             text PRIMARY KEY CHECK (number ~ '^[0-9]{8,12}$'),
    kind               text NOT NULL CHECK (kind IN ('050', 'own', 'mo', '080')),
    account_id         uuid NOT NULL REFERENCES accounts,
    target             text NOT NULL CHECK (target ~ '^[0-9]{8,12}$' AND target <> number),
    ring_seconds       integer CHECK (ring_seconds BETWEEN 3 AND 120),
    ringback           text,
    whisper            text,
    record             boolean NOT NULL DEFAULT false,
    callback           text CHECK (callback <> ''),
    sender             text,
    repeat_window_days integer NOT NULL DEFAULT 7 CHECK (repeat_window_days BETWEEN 0 AND 366),
    min_talk_seconds   integer NOT NULL DEFAULT 10 CHECK (min_talk_seconds BETWEEN 0 AND 3600),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (account_id, sender) REFERENCES senders (account_id, number),
    CHECK (callback IS NULL OR sender IS NOT NULL),
    CHECK ((kind = '050') = (number ~ '^050')),
    CHECK ((kind = '080') = (number ~ '^080'))
);
COMMENT ON TABLE numbers IS 'Numbers in service and what each is set to do.';
CREATE INDEX numbers_by_account ON numbers (account_id, sender);

CREATE FUNCTION tell_numbers_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('dari_numbers', '');
    ELSIF (SELECT count(*) FROM (SELECT 1 FROM changed LIMIT 101) AS several) > 100 THEN
        PERFORM pg_notify('dari_numbers', '');
    ELSE
        PERFORM pg_notify('dari_numbers', changed.number) FROM changed;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_numbers_changed IS 'Names each changed number; an empty text means: read them all again.';
CREATE TRIGGER numbers_added AFTER INSERT ON numbers REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION tell_numbers_changed();
CREATE TRIGGER numbers_changed AFTER UPDATE ON numbers REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION tell_numbers_changed();
CREATE TRIGGER numbers_removed AFTER DELETE ON numbers REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION tell_numbers_changed();
CREATE TRIGGER numbers_emptied AFTER TRUNCATE ON numbers
    FOR EACH STATEMENT EXECUTE FUNCTION tell_numbers_changed();
"""

TRUNKS = """
CREATE TABLE trunks (
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9-]{1,32}$'),
    contact       text NOT NULL,
    number_format text NOT NULL DEFAULT 'national' CHECK (number_format IN ('national', 'e164', 'international')),
    trusted       boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE trunks IS 'Carrier lines: where calls go out and how numbers are written there.';

CREATE TABLE trunk_networks (
    network inet PRIMARY KEY CHECK (family(network) = 4),
    trunk   text NOT NULL REFERENCES trunks ON DELETE CASCADE,
    EXCLUDE USING gist (network inet_ops WITH &&)
);
COMMENT ON TABLE trunk_networks IS 'Whose INVITEs are taken: an address belongs to one trunk at most.';
CREATE INDEX trunk_networks_by_trunk ON trunk_networks (trunk);

CREATE FUNCTION tell_trunks_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dari_trunks', '');
    RETURN NULL;
END $$;
CREATE TRIGGER trunks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON trunks
    FOR EACH STATEMENT EXECUTE FUNCTION tell_trunks_changed();
CREATE TRIGGER trunk_networks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON trunk_networks
    FOR EACH STATEMENT EXECUTE FUNCTION tell_trunks_changed();
"""

CALLS = """
CREATE TABLE calls (
    arrived_at       timestamptz NOT NULL,
    call_id          uuid NOT NULL,
    node             text NOT NULL,
    sip_call_id      text,
    account_id       uuid,
    number           text,
    number_sent      text NOT NULL,
    number_kind      text,
    caller           text,
    caller_sent      text NOT NULL,
    target           text,
    trunk            text NOT NULL,
    ringing_at       timestamptz,
    answered_at      timestamptz,
    ended_at         timestamptz NOT NULL,
    ringback_seconds double precision NOT NULL,
    talk_seconds     double precision NOT NULL,
    result           text NOT NULL,
    cause            integer NOT NULL,
    ended_by         text NOT NULL,
    recording        text,
    recording_reason text NOT NULL,
    post_dial_delay  double precision,
    legs             jsonb NOT NULL,
    steps            jsonb NOT NULL,
    PRIMARY KEY (arrived_at, call_id)
) PARTITION BY RANGE (arrived_at);
COMMENT ON TABLE calls IS 'One record per call, by month; arrived_at is the instant inside the time-ordered call_id.';
CREATE INDEX calls_by_account ON calls (account_id, arrived_at DESC);
CREATE INDEX calls_by_number ON calls (number, arrived_at DESC);

CREATE FUNCTION ensure_call_months(first date, last date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month date := date_trunc('month', first::timestamp)::date;
    made  integer := 0;
    part  text;
BEGIN
    WHILE month <= last LOOP
        part := 'calls_' || to_char(month, 'YYYY_MM');
        IF NOT EXISTS (SELECT FROM pg_class WHERE relname = part AND relkind = 'r') THEN
            PERFORM pg_advisory_xact_lock(hashtext('ensure_call_months'));
            -- Asked again of the table: to_regclass() remembers what it did not find.
            IF NOT EXISTS (SELECT FROM pg_class WHERE relname = part AND relkind = 'r') THEN
                -- Attached, not created as a part: that would shut out all readers and writers of the table.
                EXECUTE format('CREATE TABLE %I (LIKE calls INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
                EXECUTE format('ALTER TABLE calls ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part,
                               month::timestamp AT TIME ZONE 'UTC',
                               (month + interval '1 month') AT TIME ZONE 'UTC');
                made := made + 1;
            END IF;
        END IF;
        month := (month + interval '1 month')::date;
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION ensure_call_months IS 'Makes the missing months (UTC) from first to last; how many.';
SELECT ensure_call_months((now() AT TIME ZONE 'UTC' - interval '1 month')::date,
                          (now() AT TIME ZONE 'UTC' + interval '3 months')::date);

CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id uuid,
    kind       text NOT NULL,
    call_id    uuid,
    at         timestamptz NOT NULL,
    body       jsonb NOT NULL
);
COMMENT ON TABLE events IS 'What happened, written with the change itself; the stream to others is read from here.';
CREATE INDEX events_by_call ON events (call_id);
CREATE INDEX events_by_account ON events (account_id, id);
"""

MESSAGES = """
CREATE TABLE messages (
    id                uuid PRIMARY KEY,
    account_id        uuid NOT NULL REFERENCES accounts,
    call_id           uuid UNIQUE,
    number            text,
    recipient         text,
    sender            text,
    channel           text NOT NULL,
    category          text NOT NULL CHECK (category IN ('information', 'advertising')),
    text              text NOT NULL,
    status            text NOT NULL CHECK (status IN
                      ('held', 'queued', 'sending', 'unknown', 'accepted', 'delivered', 'failed')),
    reason            text NOT NULL DEFAULT '',
    certificate       jsonb NOT NULL,
    decided_at        timestamptz NOT NULL,
    attempt           integer NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    gateway           text,
    gateway_reference text,
    accepted_at       timestamptz,
    finished_at       timestamptz,
    CHECK (status = 'held' OR (recipient IS NOT NULL AND sender IS NOT NULL)),
    CHECK (status NOT IN ('held', 'failed') OR reason <> '')
);
COMMENT ON TABLE messages IS 'Messages sent and held back, each with its certificate; one per call at most.';
CREATE INDEX messages_by_account ON messages (account_id, decided_at DESC);
CREATE INDEX messages_open ON messages (status, decided_at)
    WHERE status IN ('queued', 'sending', 'unknown', 'accepted');

CREATE TABLE callback_recipients (
    account_id uuid NOT NULL REFERENCES accounts,
    recipient  text NOT NULL,
    last_at    timestamptz NOT NULL,
    message_id uuid NOT NULL REFERENCES messages DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (account_id, recipient)
);
COMMENT ON TABLE callback_recipients IS 'When a recipient last got a message of an account: the repeat window.';
CREATE INDEX callback_recipients_by_message ON callback_recipients (message_id);
"""

NOTHING = """
DROP TABLE callback_recipients, messages, events, calls, trunk_networks, trunks, numbers, senders, accounts;
DROP FUNCTION tell_numbers_changed(), tell_trunks_changed(), ensure_call_months(date, date);
"""


def upgrade() -> None:
    for script in (ACCOUNTS, NUMBERS, TRUNKS, CALLS, MESSAGES, JOB_TABLES.build_install_query()):
        _run(script)


def downgrade() -> None:
    _run(JOB_TABLES.build_uninstall_query())
    _run(NOTHING)


def _run(script: str) -> None:
    """A whole script at once, in the transaction that runs: the driver's own `execute` takes several statements."""
    connection: asyncpg.Connection[asyncpg.Record] | None = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - None only after it was given back to the pool
    await_only(connection.execute(script))
