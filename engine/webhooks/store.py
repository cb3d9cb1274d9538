"""The SQL of webhooks. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Module
from engine.webhooks.model import DELETED, DeadLetter, Progress, Replay, SealedSecrets, Webhook, WebhookStatus

CHANGED = "dari_webhooks"
"""Notified when a webhook was changed, for whoever sends."""

_FIELDS = """id, account_id, top, url, fallback_url, kinds, description, status, reason, version, created_at,
    old_secret_until, position, positioned_at, failures, failure, failing_seq, failing_since, next_at, fallback_until,
    delivered_at"""
_PROGRESS = tuple(Progress.__dataclass_fields__)

_INSERT = text("""
    INSERT INTO webhooks (id, account_id, top, url, fallback_url, kinds, description, secret, created_at, position,
                          positioned_at, next_at)
    VALUES (:id, :account_id, :top, :url, :fallback_url, :kinds, :description, :secret, :created_at, :position,
            :created_at, :created_at)
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_FIND = text(f"SELECT {_FIELDS} FROM webhooks WHERE id = :id")  # noqa: S608 - our own words
_KEEP = text(f"SELECT {_FIELDS} FROM webhooks WHERE id = :id FOR UPDATE")  # noqa: S608
_UNDER = text(f"""
    SELECT {_FIELDS} FROM webhooks
    WHERE account_id IN (SELECT id FROM accounts WHERE path @> ARRAY[CAST(:root AS uuid)])
      AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")  # noqa: S608
_COUNT = text("SELECT count(*) FROM webhooks WHERE account_id = :account")
_REMOVE = text("DELETE FROM webhooks WHERE id = :id RETURNING id")
_SETTINGS = text("""
    UPDATE webhooks SET url = :url, fallback_url = :fallback_url, kinds = :kinds, description = :description,
        fallback_until = NULL, version = version + 1, next_at = :now
    WHERE id = :id
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_MOVE = text("""
    UPDATE webhooks SET status = :status, reason = :reason, version = version + 1, next_at = :now,
        failures = 0, failing_seq = NULL, failing_since = NULL
    WHERE id = :id AND status = ANY(:expected) RETURNING id
""")
_TRY_NOW = text("""
    UPDATE webhooks SET next_at = :now, version = version + 1 WHERE id = :id AND status = 'active' RETURNING id
""")
_SECRETS = text("SELECT secret, old_secret, old_secret_until FROM webhooks WHERE id = :id")
_ROTATE = text("""
    UPDATE webhooks SET old_secret = CASE WHEN CAST(:until AS timestamptz) IS NULL THEN NULL ELSE secret END,
        old_secret_until = :until, secret = :secret, version = version + 1
    WHERE id = :id
""")
_TELL = text("SELECT pg_notify(:channel, :id)")

# -- sending: only whoever holds the lease writes how far a receiver is ------------------------------------------------

# A receiver whose account has moved goes on in its new stream, once it has all that it was to get of the old one.
_SETTLE = text("""
    UPDATE webhooks w SET top = now_in.top, positioned_at = now(), position = coalesce(
        (SELECT min(e.seq) - 1 FROM events e
         WHERE e.top = now_in.top AND e.path @> ARRAY[w.account_id] AND e.numbered_at > w.positioned_at),
        (SELECT last FROM event_streams s WHERE s.top = now_in.top), 0)
    FROM (SELECT id, coalesce(path[2], path[1]) AS top FROM accounts) AS now_in
    WHERE now_in.id = w.account_id AND now_in.top <> w.top
      AND NOT EXISTS (SELECT FROM event_streams s WHERE s.top = w.top AND s.last > w.position)
""")
_IS_OFF = """EXISTS (
        SELECT FROM accounts own JOIN accounts up ON up.id = ANY(own.path)
        WHERE own.id = webhooks.account_id AND up.modules ->> :module = 'false')"""
# While the function is off nothing is tried, and no time counts against what waits.
_REST = text(f"""
    UPDATE webhooks SET failures = 0, failing_seq = NULL, failing_since = NULL, next_at = now()
    WHERE failing_since IS NOT NULL AND {_IS_OFF}
""")  # noqa: S608
_TAKE = text(f"""
    UPDATE webhooks SET lease_by = :me, lease_until = now() + make_interval(secs => :seconds)
    WHERE status = 'active' AND (lease_by = :me OR lease_until IS NULL OR lease_until < now()) AND NOT {_IS_OFF}
    RETURNING {_FIELDS}
""")  # noqa: S608
_RELEASE = text("UPDATE webhooks SET lease_by = NULL, lease_until = NULL WHERE lease_by = :me")
_SAVE = text(f"""
    UPDATE webhooks SET {", ".join(f"{name} = :{name}" for name in _PROGRESS)}
    WHERE id = :id AND lease_by = :me AND top = :top RETURNING id
""")  # noqa: S608
_DISABLE = text("""
    UPDATE webhooks SET status = 'disabled', reason = :reason, version = version + 1,
        lease_by = NULL, lease_until = NULL
    WHERE id = :id AND lease_by = :me AND status = 'active' RETURNING id
""")

# -- dead letters and replays ------------------------------------------------------------------------------------------

_BURY = text("""
    INSERT INTO webhook_dead_letters (webhook_id, seq, event_uid, kind, at, reason, died_at)
    SELECT :webhook, seq, uid, kind, at, :reason, :now FROM events
    WHERE top = :top AND seq > :after AND seq <= :upto
      AND (CAST(:node AS uuid) = top OR path @> ARRAY[CAST(:node AS uuid)])
      AND (cardinality(:kinds) = 0 OR kind = ANY(:kinds) OR split_part(kind, '.', 1) || '.*' = ANY(:kinds))
    ON CONFLICT (webhook_id, seq) DO UPDATE SET reason = excluded.reason, died_at = excluded.died_at
    RETURNING seq
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_BURY_DELETED = text("""
    INSERT INTO webhook_dead_letters (webhook_id, seq, event_uid, kind, at, reason, died_at)
    VALUES (:webhook, :seq, :uid, :kind, :now, :reason, :now)
    ON CONFLICT (webhook_id, seq) DO UPDATE
    SET event_uid = excluded.event_uid, kind = excluded.kind, reason = excluded.reason, died_at = excluded.died_at
""")
_KEPT_AFTER = text("SELECT kept_after FROM event_streams WHERE top = :top")
_LATE_UPTO = text("SELECT max(seq) FROM events WHERE top = :top AND seq > :after AND numbered_at <= :before")
_DEAD = text("""
    SELECT seq, event_uid, kind, at, reason, died_at FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND seq > :after ORDER BY seq LIMIT :limit
""")
_DEAD_COUNTS = text("""
    SELECT webhook_id, count(*) AS many FROM webhook_dead_letters WHERE webhook_id = ANY(:ids) GROUP BY webhook_id
""")
_DEAD_SPAN = text("""
    SELECT min(seq) AS first, max(seq) AS last, count(*) AS many FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND seq BETWEEN :first AND :last AND kind <> :deleted
""")
_REVIVED = text("DELETE FROM webhook_dead_letters WHERE webhook_id = :webhook AND seq = ANY(:seqs)")
_NEXT_DEAD = text("""
    SELECT min(seq) FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND seq > :after AND seq <= :last AND kind <> :deleted
""")
_FORGET_DEAD = text("""
    DELETE FROM webhook_dead_letters d USING webhooks w, event_streams s
    WHERE d.webhook_id = w.id AND s.top = w.top AND d.seq <= s.kept_after
      AND (d.kind <> :deleted OR d.died_at < :before)
""")
_REPLAY_FIELDS = "id, first_seq, last_seq, only_dead, position, asked_at"
_ADD_REPLAY = text("""
    INSERT INTO webhook_replays (id, webhook_id, first_seq, last_seq, only_dead, position, asked_at)
    VALUES (:id, :webhook, :first_seq, :last_seq, :only_dead, :position, :asked_at)
""")
_REPLAYS = text(f"""
    SELECT {_REPLAY_FIELDS} FROM webhook_replays WHERE webhook_id = :webhook ORDER BY asked_at, id
""")  # noqa: S608
_REPLAYED = text("UPDATE webhook_replays SET position = :position WHERE id = :id")
_END_REPLAY = text("DELETE FROM webhook_replays WHERE id = :id")


async def insert(connection: AsyncConnection, webhook: Webhook, secret: bytes) -> None:
    await connection.execute(
        _INSERT,
        {
            "id": webhook.id,
            "account_id": webhook.account_id,
            "top": webhook.top,
            "url": webhook.url,
            "fallback_url": webhook.fallback_url,
            "kinds": list(webhook.kinds),
            "description": webhook.description,
            "secret": secret,
            "created_at": webhook.created_at,
            "position": webhook.progress.position,
        },
    )
    await tell(connection, webhook.id)


async def find(connection: AsyncConnection, identifier: UUID, *, keep: bool = False) -> Webhook | None:
    """With `keep` nobody else changes it before the transaction ends."""
    row = (await connection.execute(_KEEP if keep else _FIND, {"id": identifier})).mappings().one_or_none()
    return _webhook(row) if row else None


async def under(connection: AsyncConnection, root: UUID, after: UUID | None, limit: int) -> list[Webhook]:
    """Those of `root` and of all accounts below it, by id."""
    rows = await connection.execute(_UNDER, {"root": root, "after": after, "limit": limit})
    return [_webhook(row) for row in rows.mappings()]


async def count(connection: AsyncConnection, account: UUID) -> int:
    return int((await connection.execute(_COUNT, {"account": account})).scalar_one())


async def remove(connection: AsyncConnection, identifier: UUID) -> bool:
    gone = (await connection.execute(_REMOVE, {"id": identifier})).one_or_none() is not None
    await tell(connection, identifier)
    return gone


async def set_settings(connection: AsyncConnection, webhook: Webhook, now: datetime) -> None:
    values = {
        "id": webhook.id,
        "url": webhook.url,
        "fallback_url": webhook.fallback_url,
        "kinds": list(webhook.kinds),
        "description": webhook.description,
        "now": now,
    }
    await connection.execute(_SETTINGS, values)
    await tell(connection, webhook.id)


async def move(
    connection: AsyncConnection,
    identifier: UUID,
    status: WebhookStatus,
    expected: Sequence[WebhookStatus],
    now: datetime,
    reason: str = "",
) -> bool:
    """Whether it was in one of the expected states and is in this one now."""
    values = {
        "id": identifier,
        "status": status.value,
        "reason": reason,
        "expected": [one.value for one in expected],
        "now": now,
    }
    moved = (await connection.execute(_MOVE, values)).one_or_none() is not None
    await tell(connection, identifier)
    return moved


async def try_now(connection: AsyncConnection, identifier: UUID, now: datetime) -> None:
    """Waits no longer for the next try."""
    await connection.execute(_TRY_NOW, {"id": identifier, "now": now})
    await tell(connection, identifier)


async def secrets_of(connection: AsyncConnection, identifier: UUID) -> SealedSecrets | None:
    row = (await connection.execute(_SECRETS, {"id": identifier})).one_or_none()
    return SealedSecrets(row.secret, row.old_secret, row.old_secret_until) if row else None


async def rotate(connection: AsyncConnection, identifier: UUID, secret: bytes, old_until: datetime | None) -> None:
    """The secret until now goes on to sign until `old_until`; None: not at all."""
    await connection.execute(_ROTATE, {"id": identifier, "secret": secret, "until": old_until})
    await tell(connection, identifier)


async def tell(connection: AsyncConnection, identifier: UUID) -> None:
    await connection.execute(_TELL, {"channel": CHANGED, "id": str(identifier)})


# -- sending -----------------------------------------------------------------------------------------------------------


async def take(connection: AsyncConnection, me: UUID, seconds: float) -> list[Webhook]:
    """Every active receiver that nobody else sends to is `me`'s for so many seconds, those that were already too.

    None of an account for which webhooks are switched off: their places are kept.
    """
    await connection.execute(_SETTLE)
    off = {"module": Module.WEBHOOKS.value}
    await connection.execute(_REST, off)
    rows = await connection.execute(_TAKE, off | {"me": me, "seconds": seconds})
    return [_webhook(row) for row in rows.mappings()]


async def release(connection: AsyncConnection, me: UUID) -> None:
    await connection.execute(_RELEASE, {"me": me})


async def save(connection: AsyncConnection, webhook: Webhook, progress: Progress, me: UUID) -> bool:
    """False: it is not `me`'s any more, or not active, and nothing was written."""
    values: dict[str, Any] = {name: getattr(progress, name) for name in _PROGRESS}
    values |= {"id": webhook.id, "top": webhook.top, "me": me}
    return (await connection.execute(_SAVE, values)).one_or_none() is not None


async def disable(connection: AsyncConnection, identifier: UUID, me: UUID, reason: str) -> bool:
    values = {"id": identifier, "me": me, "reason": reason}
    return (await connection.execute(_DISABLE, values)).one_or_none() is not None


# -- dead letters and replays ------------------------------------------------------------------------------------------


async def bury(
    connection: AsyncConnection, webhook: Webhook, after: int, upto: int, reason: str, now: datetime
) -> list[int]:
    """The events that it was to get behind `after`, up to `upto`, become dead letters; their places."""
    values = {
        "webhook": webhook.id,
        "top": webhook.top,
        "node": webhook.account_id,
        "kinds": list(webhook.kinds),
        "after": after,
        "upto": upto,
        "reason": reason,
        "now": now,
    }
    return list((await connection.execute(_BURY, values)).scalars())


async def bury_deleted(
    connection: AsyncConnection, webhook: Webhook, upto: int, uid: UUID, reason: str, now: datetime
) -> None:
    """One dead letter for all that was deleted up to there."""
    values = {"webhook": webhook.id, "seq": upto, "uid": uid, "kind": DELETED, "reason": reason, "now": now}
    await connection.execute(_BURY_DELETED, values)


async def late_upto(connection: AsyncConnection, top: UUID, after: int, before: datetime) -> int | None:
    """The last place behind `after` of an event that was numbered before that instant."""
    place: int | None = await connection.scalar(_LATE_UPTO, {"top": top, "after": after, "before": before})
    return place


async def kept_after(connection: AsyncConnection, top: UUID) -> int:
    """Up to which place the stream was deleted."""
    return await connection.scalar(_KEPT_AFTER, {"top": top}) or 0


async def dead_letters(connection: AsyncConnection, webhook: UUID, after: int, limit: int) -> list[DeadLetter]:
    rows = await connection.execute(_DEAD, {"webhook": webhook, "after": after, "limit": limit})
    return [DeadLetter(**row) for row in rows.mappings()]


async def dead_counts(connection: AsyncConnection, webhooks: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many dead letters each of them has; those without are left away."""
    rows = await connection.execute(_DEAD_COUNTS, {"ids": list(webhooks)})
    return {row.webhook_id: row.many for row in rows}


async def dead_span(connection: AsyncConnection, webhook: UUID, first: int, last: int) -> tuple[int, int, int] | None:
    """The first and the last place of its dead letters in a range that can be sent again, and how many they are.

    None: there are none.
    """
    values = {"webhook": webhook, "first": first, "last": last, "deleted": DELETED}
    row = (await connection.execute(_DEAD_SPAN, values)).one()
    return (row.first, row.last, row.many) if row.many else None


async def next_dead(connection: AsyncConnection, webhook: UUID, after: int, last: int) -> int | None:
    values = {"webhook": webhook, "after": after, "last": last, "deleted": DELETED}
    place: int | None = await connection.scalar(_NEXT_DEAD, values)
    return place


async def revived(connection: AsyncConnection, webhook: UUID, places: Sequence[int]) -> None:
    """These were taken after all."""
    await connection.execute(_REVIVED, {"webhook": webhook, "seqs": list(places)})


async def forget_dead(connection: AsyncConnection, before: datetime) -> int:
    """Removes dead letters whose events are not kept any more; how many.

    One that tells of events deleted too early stays until it is older than `before`.
    """
    return (await connection.execute(_FORGET_DEAD, {"before": before, "deleted": DELETED})).rowcount


async def add_replay(connection: AsyncConnection, webhook: UUID, replay: Replay) -> None:
    values = {name: getattr(replay, name) for name in Replay.__dataclass_fields__}
    await connection.execute(_ADD_REPLAY, values | {"webhook": webhook})
    await tell(connection, webhook)


async def replays(connection: AsyncConnection, webhook: UUID) -> list[Replay]:
    """Oldest first."""
    rows = await connection.execute(_REPLAYS, {"webhook": webhook})
    return [Replay(**row) for row in rows.mappings()]


async def set_replayed(connection: AsyncConnection, identifier: UUID, position: int) -> None:
    await connection.execute(_REPLAYED, {"id": identifier, "position": position})


async def end_replay(connection: AsyncConnection, identifier: UUID) -> None:
    await connection.execute(_END_REPLAY, {"id": identifier})


def _webhook(row: RowMapping) -> Webhook:
    values = dict(row)
    progress = Progress(**{name: values.pop(name) for name in _PROGRESS})
    values["kinds"] = tuple(values["kinds"])
    values["status"] = WebhookStatus(values["status"])
    return Webhook(**values, progress=progress)
