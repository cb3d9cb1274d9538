"""The life of numbers: ranges, states, history of holders, orders, transfers, stray calls.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import asyncpg
from alembic import op
from sqlalchemy.util import await_only

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RANGES = """
CREATE TABLE number_ranges (
    id                      uuid PRIMARY KEY,
    name                    text NOT NULL UNIQUE CHECK (name <> ''),
    prefix                  text NOT NULL CHECK (prefix ~ '^050[0-9]{1,8}$'),
    digits                  smallint NOT NULL CHECK (digits IN (11, 12)),
    quarantine_days         integer NOT NULL CHECK (quarantine_days BETWEEN 0 AND 3650),
    longest_quarantine_days integer NOT NULL CHECK (longest_quarantine_days BETWEEN quarantine_days AND 3650),
    quiet_days              integer NOT NULL CHECK (quiet_days BETWEEN 1 AND 366),
    quiet_calls             integer NOT NULL CHECK (quiet_calls >= 0),
    added_by                text NOT NULL,
    added_at                timestamptz NOT NULL,
    span                    int8range NOT NULL GENERATED ALWAYS AS
                            (int8range(rpad(prefix, digits, '0')::bigint, rpad(prefix, digits, '9')::bigint, '[]'))
                            STORED,
    EXCLUDE USING gist (span WITH &&)
);
COMMENT ON TABLE number_ranges IS 'The 050 numbers that are ours to issue, by beginning and length; none lies in two.';
"""

ORDERS = """
CREATE TABLE number_orders (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    count      integer NOT NULL CHECK (count > 0),
    prefix     text NOT NULL DEFAULT '' CHECK (prefix ~ '^[0-9]*$'),
    target     text CHECK (target ~ '^[0-9]{8,12}$'),
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz CHECK (ends_at > starts_at),
    status     text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'begun', 'ended', 'cancelled')),
    warned_at  timestamptz,
    ordered_by text NOT NULL,
    ordered_at timestamptz NOT NULL
);
COMMENT ON TABLE number_orders IS 'Numbers ordered by count and period of use; ends_at null: without an end.';
CREATE INDEX number_orders_by_account ON number_orders (account_id, ordered_at DESC);
CREATE INDEX number_orders_open ON number_orders (status) WHERE status IN ('placed', 'begun');
"""

STOCK = """
CREATE TABLE number_stock (
    number            text PRIMARY KEY CHECK (number ~ '^[0-9]{8,12}$'),
    kind              text NOT NULL CHECK (kind IN ('050', 'own', 'mo', '080')),
    state             text NOT NULL CHECK (state IN
                      ('available', 'reserved', 'in service', 'suspended', 'quarantined', 'ported out')),
    range_id          uuid REFERENCES number_ranges,
    held_by           uuid REFERENCES accounts,
    reserved_until    timestamptz,
    order_id          uuid REFERENCES number_orders,
    suspended_for     text CHECK (suspended_for IN ('wish', 'period over', 'barred')),
    last_holder       uuid REFERENCES accounts,
    released_at       timestamptz,
    quarantined_until timestamptz,
    version           integer NOT NULL DEFAULT 0,
    changed_at        timestamptz NOT NULL,
    CHECK ((held_by IS NOT NULL) = (state IN ('reserved', 'in service', 'suspended'))),
    CHECK ((reserved_until IS NOT NULL) = (state = 'reserved')),
    CHECK ((suspended_for IS NOT NULL) = (state = 'suspended')),
    CHECK ((quarantined_until IS NOT NULL) = (state = 'quarantined')),
    CHECK (state <> 'quarantined' OR (released_at IS NOT NULL AND last_holder IS NOT NULL)),
    CHECK (order_id IS NULL OR held_by IS NOT NULL)
);
COMMENT ON TABLE number_stock IS 'Every number that is or was ours and what state it is in; those in service or '
    'suspended stand in numbers too. What comes out of a change has a higher version.';
CREATE INDEX number_stock_by_holder ON number_stock (held_by, number) WHERE held_by IS NOT NULL;
CREATE INDEX number_stock_by_last_holder ON number_stock (last_holder, number) WHERE state = 'quarantined';
CREATE INDEX number_stock_by_range ON number_stock (range_id, state);
CREATE INDEX number_stock_reserved ON number_stock (reserved_until) WHERE state = 'reserved';
CREATE INDEX number_stock_quarantined ON number_stock (quarantined_until) WHERE state = 'quarantined';
CREATE INDEX number_stock_ordered ON number_stock (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX number_stock_free ON number_stock (kind, (reverse(number) COLLATE "C")) WHERE state = 'available';
COMMENT ON INDEX number_stock_free IS 'Free numbers by their digits from the last to the first: for choosing.';
CREATE INDEX number_stock_free_by_exchange ON number_stock (kind, (left(number, 4)), (reverse(number) COLLATE "C"))
    WHERE state = 'available';
COMMENT ON INDEX number_stock_free_by_exchange IS 'As number_stock_free, within the first four digits.';

CREATE TABLE number_history (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number     text NOT NULL,
    at         timestamptz NOT NULL,
    move       text NOT NULL,
    state      text NOT NULL,
    account_id uuid,
    to_account uuid,
    who        text NOT NULL,
    note       text NOT NULL DEFAULT ''
);
COMMENT ON TABLE number_history IS 'What happened to each number: who held it, to whom it went, by whose hand.';
CREATE INDEX number_history_by_number ON number_history (number, id DESC);
CREATE INDEX number_history_by_account ON number_history (account_id, id DESC);

CREATE TABLE number_transfers (
    id            uuid PRIMARY KEY,
    number        text NOT NULL REFERENCES number_stock,
    from_account  uuid NOT NULL REFERENCES accounts,
    to_account    uuid NOT NULL REFERENCES accounts,
    keep_settings boolean NOT NULL,
    status        text NOT NULL DEFAULT 'offered' CHECK (status IN
                  ('offered', 'accepted', 'declined', 'withdrawn', 'expired')),
    offered_by    text NOT NULL,
    offered_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL CHECK (expires_at > offered_at),
    decided_by    text,
    decided_at    timestamptz,
    reason        text NOT NULL DEFAULT '',
    CHECK (from_account <> to_account),
    CHECK ((status = 'offered') = (decided_at IS NULL))
);
COMMENT ON TABLE number_transfers IS 'Numbers offered by one account to another, and what came of it; a number is '
    'offered to one at a time.';
CREATE UNIQUE INDEX number_transfers_open ON number_transfers (number) WHERE status = 'offered';
CREATE INDEX number_transfers_from ON number_transfers (from_account, offered_at DESC);
CREATE INDEX number_transfers_to ON number_transfers (to_account, offered_at DESC);

CREATE TABLE stray_calls (
    number text NOT NULL REFERENCES number_stock,
    day    date NOT NULL,
    calls  integer NOT NULL CHECK (calls > 0),
    PRIMARY KEY (number, day)
);
COMMENT ON TABLE stray_calls IS 'Calls to numbers in quarantine, by Korean day: what is still called is held.';
"""

SUSPENSION = """
ALTER TABLE numbers ADD COLUMN suspended text CHECK (suspended <> '');
COMMENT ON COLUMN numbers.suspended IS 'The announcement that all its callers hear; null: its calls are forwarded.';

INSERT INTO number_stock (number, kind, state, held_by, changed_at)
    SELECT number, kind, 'in service', account_id, updated_at FROM numbers;
INSERT INTO number_history (number, at, move, state, account_id, who)
    SELECT number, created_at, 'issued', 'in service', account_id, 'operator of this machine' FROM numbers
    ORDER BY created_at, number;
"""

BACK = """
UPDATE numbers SET treatment = treatment || jsonb_build_object('announcement', suspended) WHERE suspended IS NOT NULL;
ALTER TABLE numbers DROP COLUMN suspended;
DROP TABLE stray_calls, number_transfers, number_history, number_stock, number_orders, number_ranges;
"""


def upgrade() -> None:
    for script in (RANGES, ORDERS, STOCK, SUSPENSION):
        _run(script)


def downgrade() -> None:
    _run(BACK)


def _run(script: str) -> None:
    """A whole script at once, in the transaction that runs: the driver's own `execute` takes several statements."""
    connection: asyncpg.Connection[asyncpg.Record] | None = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - None only after it was given back to the pool
    await_only(connection.execute(script))
