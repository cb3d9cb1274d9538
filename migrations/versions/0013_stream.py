"""The ordered stream of events and webhooks.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UP: tuple[str, ...] = (
    """ALTER TABLE events
        ADD COLUMN uid         uuid NOT NULL DEFAULT gen_random_uuid(),
        ADD COLUMN leg         text,
        ADD COLUMN top         uuid,
        ADD COLUMN path        uuid[],
        ADD COLUMN seq         bigint,
        ADD COLUMN numbered_at timestamptz,
        ADD CONSTRAINT events_numbered CHECK (
            (seq IS NULL) = (top IS NULL) AND (seq IS NULL) = (path IS NULL) AND (seq IS NULL) = (numbered_at IS NULL)
        )""",
    "COMMENT ON COLUMN events.leg IS 'With call_id and kind it names what happens once; null: told each time.'",
    "COMMENT ON COLUMN events.path IS 'Whose event it was: its account and those above, as they were when numbered.'",
    "COMMENT ON COLUMN events.seq IS 'Place in the stream of the top-level account: without gaps, never reused.'",
    "UPDATE events SET kind = 'message.sent' WHERE kind = 'message.accepted'",
    "UPDATE events SET leg = '' WHERE kind = 'call.ended'",
    "UPDATE events SET body = body - '{callback,text_only,consent,recording,voicemail,trunk}'::text[]"
    " WHERE kind = 'call.ended'",
    "DROP INDEX events_by_call",
    "DROP INDEX events_by_account",
    "CREATE UNIQUE INDEX events_once ON events (call_id, kind, leg)",
    "CREATE UNIQUE INDEX events_in_order ON events (top, seq)",
    "CREATE INDEX events_unnumbered ON events (id) WHERE seq IS NULL",
    """CREATE TABLE event_streams (
        top        uuid PRIMARY KEY REFERENCES accounts,
        last       bigint NOT NULL DEFAULT 0,
        kept_after bigint NOT NULL DEFAULT 0,
        CHECK (kept_after BETWEEN 0 AND last)
    )""",
    "COMMENT ON TABLE event_streams IS 'Each stream: its newest number, and up to which it was deleted again.'",
    """CREATE FUNCTION tell_events_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('dari_events', '');
        RETURN NULL;
    END $$""",
    "CREATE TRIGGER events_written AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION tell_events_written()",
    """CREATE TABLE webhooks (
        id               uuid PRIMARY KEY,
        account_id       uuid NOT NULL REFERENCES accounts,
        top              uuid NOT NULL,
        url              text NOT NULL CHECK (url <> ''),
        fallback_url     text CHECK (fallback_url <> ''),
        kinds            text[] NOT NULL DEFAULT '{}',
        description      text NOT NULL DEFAULT '',
        status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
        reason           text NOT NULL DEFAULT '' CHECK (status <> 'disabled' OR reason <> ''),
        version          integer NOT NULL DEFAULT 1,
        secret           bytea NOT NULL,
        old_secret       bytea,
        old_secret_until timestamptz,
        created_at       timestamptz NOT NULL,
        position         bigint NOT NULL,
        positioned_at    timestamptz NOT NULL,
        failures         integer NOT NULL DEFAULT 0,
        failure          text NOT NULL DEFAULT '',
        failing_seq      bigint,
        failing_since    timestamptz,
        next_at          timestamptz NOT NULL,
        fallback_until   timestamptz,
        delivered_at     timestamptz,
        lease_by         uuid,
        lease_until      timestamptz,
        CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
        CHECK ((lease_by IS NULL) = (lease_until IS NULL))
    )""",
    "COMMENT ON TABLE webhooks IS 'Where events are sent, how far each receiver is, and who sends to it now.'",
    "CREATE INDEX webhooks_by_account ON webhooks (account_id)",
    """CREATE TABLE webhook_dead_letters (
        webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
        seq        bigint NOT NULL,
        event_uid  uuid NOT NULL,
        kind       text NOT NULL,
        at         timestamptz NOT NULL,
        reason     text NOT NULL CHECK (reason <> ''),
        died_at    timestamptz NOT NULL,
        PRIMARY KEY (webhook_id, seq)
    )""",
    "COMMENT ON TABLE webhook_dead_letters IS 'Events that a receiver did not take in time; they can be sent again.'",
    """CREATE TABLE webhook_replays (
        id         uuid PRIMARY KEY,
        webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
        first_seq  bigint NOT NULL CHECK (first_seq > 0),
        last_seq   bigint NOT NULL CHECK (last_seq >= first_seq),
        only_dead  boolean NOT NULL DEFAULT false,
        position   bigint NOT NULL,
        asked_at   timestamptz NOT NULL
    )""",
    "COMMENT ON TABLE webhook_replays IS 'Ranges that a receiver asked for again, until they are sent.'",
    "CREATE INDEX webhook_replays_by_webhook ON webhook_replays (webhook_id, asked_at)",
)
DOWN: tuple[str, ...] = (
    "DROP TABLE webhook_replays, webhook_dead_letters, webhooks, event_streams",
    "DROP TRIGGER events_written ON events",
    "DROP FUNCTION tell_events_written()",
    "DROP INDEX events_once, events_in_order, events_unnumbered",
    "ALTER TABLE events DROP CONSTRAINT events_numbered, DROP COLUMN uid, DROP COLUMN leg, DROP COLUMN top,"
    " DROP COLUMN path, DROP COLUMN seq, DROP COLUMN numbered_at",
    "UPDATE events SET kind = 'message.accepted' WHERE kind = 'message.sent'",
    "DELETE FROM events WHERE kind NOT IN ('call.ended') AND kind NOT LIKE 'message.%'",
    "CREATE INDEX events_by_call ON events (call_id)",
    "CREATE INDEX events_by_account ON events (account_id, id)",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
