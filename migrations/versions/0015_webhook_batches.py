"""Webhooks: events in batches, letters that know their stream, moved accounts; a clock for keeping events.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import asyncpg
from alembic import op
from sqlalchemy.util import await_only

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_LETTERS = """
ALTER TABLE webhook_dead_letters ADD COLUMN top uuid;
UPDATE webhook_dead_letters d SET top = w.top FROM webhooks w WHERE w.id = d.webhook_id;
ALTER TABLE webhook_dead_letters
    ALTER COLUMN top SET NOT NULL,
    DROP CONSTRAINT webhook_dead_letters_pkey,
    ADD PRIMARY KEY (webhook_id, seq, top);
COMMENT ON COLUMN webhook_dead_letters.top IS 'In whose stream the event has its place.';
ALTER TABLE webhook_replays ADD COLUMN top uuid;
UPDATE webhook_replays r SET top = w.top FROM webhooks w WHERE w.id = r.webhook_id;
ALTER TABLE webhook_replays ALTER COLUMN top SET NOT NULL;
COMMENT ON COLUMN webhook_replays.top IS 'The stream whose places are meant.';
"""

# 1684107891 is the lock of whoever numbers events (engine.events.store), 1684107892 that of whoever moves accounts
# (migration 0010). With the first one held, the end of the stream that is left is the last place there that can still
# be one of the account's, and the end of the other one is before its first.
_MOVES = """
CREATE TABLE webhook_moves (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    left_top   uuid NOT NULL,
    upto       bigint NOT NULL,
    top        uuid NOT NULL CHECK (top <> left_top),
    after      bigint NOT NULL
);
COMMENT ON TABLE webhook_moves IS
    'Accounts moved to another stream: a receiver reads the one it leaves up to a place, then the other behind one.';
CREATE INDEX webhook_moves_in_order ON webhook_moves (webhook_id, id);
INSERT INTO webhook_moves (webhook_id, left_top, upto, top, after)
SELECT w.id, w.top, coalesce((SELECT last FROM event_streams s WHERE s.top = w.top), 0), a.top, coalesce(
    (SELECT min(e.seq) - 1 FROM events e
     WHERE e.top = a.top AND e.path @> ARRAY[w.account_id] AND e.numbered_at > w.positioned_at),
    (SELECT last FROM event_streams s WHERE s.top = a.top), 0)
FROM webhooks w JOIN (SELECT id, coalesce(path[2], path[1]) AS top FROM accounts) AS a ON a.id = w.account_id
WHERE a.top <> w.top;
ALTER TABLE webhooks DROP COLUMN positioned_at;
CREATE FUNCTION move_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhooks WHERE account_id = NEW.id) THEN
        PERFORM pg_advisory_xact_lock(1684107891);
        INSERT INTO webhook_moves (webhook_id, left_top, upto, top, after)
        SELECT w.id, was.top, coalesce((SELECT last FROM event_streams s WHERE s.top = was.top), 0),
               goes.top, coalesce((SELECT last FROM event_streams s WHERE s.top = goes.top), 0)
        FROM webhooks w, coalesce(OLD.path[2], OLD.path[1]) AS was(top), coalesce(NEW.path[2], NEW.path[1]) AS goes(top)
        WHERE w.account_id = NEW.id ORDER BY w.id;
        PERFORM pg_notify('dari_webhooks', id::text) FROM webhooks WHERE account_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION move_webhooks IS
    'Writes down where a stream is left and where the other one begins, while nobody numbers events.';
CREATE TRIGGER webhooks_moved AFTER UPDATE OF path ON accounts FOR EACH ROW
    WHEN (coalesce(OLD.path[2], OLD.path[1]) <> coalesce(NEW.path[2], NEW.path[1])) EXECUTE FUNCTION move_webhooks();
CREATE FUNCTION place_webhook() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    present uuid;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1684107892);
    SELECT coalesce(path[2], path[1]) INTO present FROM accounts WHERE id = NEW.account_id;
    IF present <> NEW.top THEN
        NEW.top := present;
        NEW.position := coalesce((SELECT last FROM event_streams s WHERE s.top = present), 0);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION place_webhook IS 'A receiver that was added while its account was moved begins in the new stream.';
CREATE TRIGGER webhooks_placed BEFORE INSERT ON webhooks FOR EACH ROW EXECUTE FUNCTION place_webhook();
"""

_MARKS = """
CREATE TABLE event_marks (
    reckoned timestamptz PRIMARY KEY,
    noted_at timestamptz NOT NULL,
    upto     bigint NOT NULL
);
COMMENT ON TABLE event_marks IS
    'How old events are by a clock that no step of the machine''s clock hurries: up to which id there were some, when.';
INSERT INTO event_marks (reckoned, noted_at, upto)
SELECT max(numbered_at), max(numbered_at), max(id) FROM events WHERE numbered_at <= now()
GROUP BY date_trunc('day', numbered_at);
"""

_BATCHES = """
ALTER TABLE webhooks ADD COLUMN batch integer NOT NULL DEFAULT 1 CHECK (batch BETWEEN 1 AND 100);
COMMENT ON COLUMN webhooks.batch IS 'Most events in one request; 1: each alone, without an envelope.';
"""

_DOWN = """
DROP TABLE event_marks;
DROP TRIGGER webhooks_placed ON webhooks;
DROP FUNCTION place_webhook();
DROP TRIGGER webhooks_moved ON accounts;
DROP FUNCTION move_webhooks();
DROP TABLE webhook_moves;
DELETE FROM webhook_replays r USING webhooks w WHERE w.id = r.webhook_id AND w.top <> r.top;
ALTER TABLE webhook_replays DROP COLUMN top;
DELETE FROM webhook_dead_letters d USING webhooks w WHERE w.id = d.webhook_id AND w.top <> d.top;
ALTER TABLE webhook_dead_letters
    DROP CONSTRAINT webhook_dead_letters_pkey, DROP COLUMN top, ADD PRIMARY KEY (webhook_id, seq);
ALTER TABLE webhooks DROP COLUMN batch, ADD COLUMN positioned_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE webhooks ALTER COLUMN positioned_at DROP DEFAULT;
"""


def upgrade() -> None:
    for script in (_MARKS, _BATCHES, _LETTERS, _MOVES):  # the long one first, while nothing is locked
        _run(script)


def downgrade() -> None:
    _run(_DOWN)


def _run(script: str) -> None:
    """A whole script at once, in the transaction that runs: the driver's own `execute` takes several statements."""
    connection: asyncpg.Connection[asyncpg.Record] | None = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - None only after it was given back to the pool
    await_only(connection.execute(script))
