"""The tree of accounts, sign-up, grants, functions.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import asyncpg
from alembic import op
from sqlalchemy.util import await_only

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE accounts
    ADD COLUMN kind text NOT NULL DEFAULT 'shop' CHECK (kind IN ('operator', 'agency', 'region', 'branch', 'shop')),
    ADD COLUMN path uuid[],
    ADD COLUMN fee_waived boolean NOT NULL DEFAULT false,
    ADD COLUMN modules jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(modules) = 'object'),
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN trade text CHECK (trade ~ '^[0-9]{5}$'),
    ADD COLUMN yearly_revenue bigint CHECK (yearly_revenue >= 0),
    ADD COLUMN revenue_evidence text CHECK (revenue_evidence <> ''),
    DROP CONSTRAINT accounts_name_key;
INSERT INTO accounts (id, name, kind) VALUES ('00000000-0000-0000-0000-000000000001', 'operator', 'operator');
ALTER TABLE accounts ADD COLUMN parent_id uuid DEFAULT '00000000-0000-0000-0000-000000000001' REFERENCES accounts;
UPDATE accounts SET parent_id = NULL WHERE kind = 'operator';
UPDATE accounts SET path = CASE WHEN parent_id IS NULL THEN ARRAY[id] ELSE ARRAY[parent_id, id] END;
ALTER TABLE accounts
    ALTER COLUMN path SET NOT NULL,
    ADD CONSTRAINT accounts_path CHECK (
        path[1] = '00000000-0000-0000-0000-000000000001' AND path[cardinality(path)] = id
        AND path[cardinality(path) - 1] IS NOT DISTINCT FROM parent_id
    ),
    ADD CONSTRAINT accounts_root CHECK ((parent_id IS NULL) = (kind = 'operator')),
    ADD CONSTRAINT accounts_closed CHECK ((status = 'closed') = (closed_at IS NOT NULL));
CREATE INDEX accounts_by_path ON accounts USING gin (path);
CREATE UNIQUE INDEX accounts_by_parent_and_name ON accounts (parent_id, name) WHERE status <> 'closed';
CREATE INDEX accounts_by_name ON accounts (name);
COMMENT ON COLUMN accounts.path IS 'From the root to the account itself; written by the database.';
COMMENT ON COLUMN accounts.modules IS
    'What is not as at the start: {"recording": false}. Off here is off for all below.';
COMMENT ON COLUMN accounts.trade IS 'Code of the Korean standard industrial classification.';
COMMENT ON COLUMN accounts.yearly_revenue IS 'Won, of the last business year.';
"""

PLACING = """
CREATE FUNCTION place_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1684107892);
    IF NEW.parent_id IS NULL THEN
        NEW.path := ARRAY[NEW.id];
    ELSE
        NEW.path := (SELECT path FROM accounts WHERE id = NEW.parent_id) || NEW.id;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION place_account IS
    'Puts an account into the tree while nobody moves a part of it: moves take this lock alone.';
CREATE TRIGGER accounts_placed BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION place_account();
"""

GRANTS = """
CREATE TABLE listening_grants (
    id            uuid PRIMARY KEY,
    shop_id       uuid NOT NULL REFERENCES accounts,
    to_account    uuid NOT NULL REFERENCES accounts CHECK (to_account <> shop_id),
    by            text NOT NULL CHECK (by <> ''),
    reason        text NOT NULL CHECK (reason <> ''),
    evidence      text NOT NULL DEFAULT '',
    begins        timestamptz NOT NULL,
    until         timestamptz NOT NULL CHECK (until > begins AND until <= begins + interval '744 hours'),
    taken_back_at timestamptz,
    taken_back_by text,
    CHECK ((taken_back_at IS NULL) = (taken_back_by IS NULL))
);
COMMENT ON TABLE listening_grants IS 'Shops that let an account above them hear their calls, for 31 days at most.';
CREATE INDEX listening_grants_by_shop ON listening_grants (shop_id, until DESC);
CREATE INDEX listening_grants_by_receiver ON listening_grants (to_account, until DESC);
"""

APPLICATIONS = """
CREATE TABLE applications (
    id                  uuid PRIMARY KEY,
    by                  text NOT NULL CHECK (by <> ''),
    parent_id           uuid NOT NULL REFERENCES accounts,
    kind                text NOT NULL CHECK (kind IN ('agency', 'region', 'branch', 'shop')),
    company             text NOT NULL CHECK (company <> ''),
    registration_number text NOT NULL CHECK (registration_number ~ '^[0-9]{10}$'),
    contact_name        text NOT NULL CHECK (contact_name <> ''),
    contact             text NOT NULL CHECK (contact <> ''),
    trade               text CHECK (trade ~ '^[0-9]{5}$'),
    yearly_revenue      bigint CHECK (yearly_revenue >= 0),
    documents           jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(documents) = 'array'),
    status              text NOT NULL DEFAULT 'applied' CHECK (status IN ('applied', 'approved', 'rejected')),
    applied_at          timestamptz NOT NULL,
    decided_at          timestamptz,
    decided_by          text,
    reason              text CHECK (reason <> ''),
    account_id          uuid UNIQUE REFERENCES accounts,
    CHECK ((status = 'applied') = (decided_at IS NULL)),
    CHECK ((status = 'applied') = (decided_by IS NULL)),
    CHECK ((status = 'applied') = (reason IS NULL)),
    CHECK ((status = 'approved') = (account_id IS NOT NULL))
);
COMMENT ON TABLE applications IS 'Sign-ups: who wants an account, with which documents, and what was decided and why.';
CREATE UNIQUE INDEX applications_waiting ON applications (parent_id, registration_number) WHERE status = 'applied';
CREATE INDEX applications_by_status ON applications (status, id);
"""

NOTHING = """
DROP TABLE applications, listening_grants;
DROP TRIGGER accounts_placed ON accounts;
DROP FUNCTION place_account();
ALTER TABLE accounts DROP COLUMN parent_id;
DELETE FROM accounts WHERE id = '00000000-0000-0000-0000-000000000001';
UPDATE accounts SET name = name || ' ' || id WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY name ORDER BY status, id) AS place FROM accounts
    ) AS same WHERE place > 1
);
ALTER TABLE accounts
    DROP COLUMN kind, DROP COLUMN path, DROP COLUMN fee_waived, DROP COLUMN modules, DROP COLUMN status,
    DROP COLUMN closed_at, DROP COLUMN trade, DROP COLUMN yearly_revenue, DROP COLUMN revenue_evidence,
    ADD CONSTRAINT accounts_name_key UNIQUE (name);
DROP INDEX accounts_by_name;
"""


def upgrade() -> None:
    for script in (COLUMNS, PLACING, GRANTS, APPLICATIONS):
        _run(script)


def downgrade() -> None:
    _run(NOTHING)


def _run(script: str) -> None:
    """A whole script at once, in the transaction that runs: the driver's own `execute` takes several statements."""
    connection: asyncpg.Connection[asyncpg.Record] | None = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - None only after it was given back to the pool
    await_only(connection.execute(script))
