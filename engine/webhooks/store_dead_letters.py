"""The SQL of dead letters, events not taken in time. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.webhooks.model import DELETED, DeadLetter, Span, Webhook

_BURY = text("""
    INSERT INTO webhook_dead_letters (webhook_id, top, seq, event_uid, kind, at, reason, died_at)
    SELECT :webhook, top, seq, uid, kind, at, :reason, :now FROM events
    WHERE top = :top AND seq > :after AND seq <= :upto
      AND (CAST(:node AS uuid) = top OR path @> ARRAY[CAST(:node AS uuid)])
      AND (cardinality(:kinds) = 0 OR kind = ANY(:kinds) OR split_part(kind, '.', 1) || '.*' = ANY(:kinds))
    ON CONFLICT (webhook_id, seq, top) DO UPDATE SET reason = excluded.reason, died_at = excluded.died_at
    RETURNING seq
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_BURY_DELETED = text("""
    INSERT INTO webhook_dead_letters (webhook_id, top, seq, event_uid, kind, at, reason, died_at)
    VALUES (:webhook, :top, :seq, :uid, :kind, :now, :reason, :now)
    ON CONFLICT (webhook_id, seq, top) DO UPDATE
    SET event_uid = excluded.event_uid, kind = excluded.kind, reason = excluded.reason, died_at = excluded.died_at
""")
_LATE_UPTO = text("SELECT max(seq) FROM events WHERE top = :top AND seq > :after AND numbered_at <= :before")
_LISTING = text("""
    SELECT top, seq, event_uid, kind, at, reason, died_at FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND (CAST(:seq AS bigint) IS NULL OR (seq, top) > (:seq, CAST(:top AS uuid)))
    ORDER BY seq, top LIMIT :limit
""")
_COUNTS = text("""
    SELECT webhook_id, count(*) AS many FROM webhook_dead_letters WHERE webhook_id = ANY(:ids) GROUP BY webhook_id
""")
_SPANS = text("""
    SELECT top, min(seq) AS first, max(seq) AS last FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND seq BETWEEN :first AND :last AND kind <> :deleted
    GROUP BY top ORDER BY min(died_at), top
""")
_FOLLOWING = text("""
    SELECT seq FROM webhook_dead_letters
    WHERE webhook_id = :webhook AND top = :top AND seq > :after AND seq <= :last AND kind <> :deleted
    ORDER BY seq LIMIT :limit
""")
_REVIVED = text("DELETE FROM webhook_dead_letters WHERE webhook_id = :webhook AND top = :top AND seq = ANY(:seqs)")
_FORGET = text("""
    DELETE FROM webhook_dead_letters d USING event_streams s
    WHERE s.top = d.top AND d.seq <= s.kept_after AND (d.kind <> :deleted OR d.died_at < :before)
""")


async def bury(connection: AsyncConnection, webhook: Webhook, span: Span, reason: str, now: datetime) -> list[int]:
    """The events of the span that it was to get become dead letters; their places."""
    values = {
        "webhook": webhook.id,
        "top": span.top,
        "node": webhook.account_id,
        "kinds": list(webhook.kinds),
        "after": span.after,
        "upto": span.upto,
        "reason": reason,
        "now": now,
    }
    return list((await connection.execute(_BURY, values)).scalars())


async def bury_deleted(
    connection: AsyncConnection, webhook: Webhook, upto: int, uid: UUID, reason: str, now: datetime
) -> None:
    """One dead letter for all that was deleted up to there."""
    values = {
        "webhook": webhook.id,
        "top": webhook.top,
        "seq": upto,
        "uid": uid,
        "kind": DELETED,
        "reason": reason,
        "now": now,
    }
    await connection.execute(_BURY_DELETED, values)


async def late_upto(connection: AsyncConnection, top: UUID, after: int, before: datetime) -> int | None:
    """The last place behind `after` of an event that was numbered before that instant."""
    place: int | None = await connection.scalar(_LATE_UPTO, {"top": top, "after": after, "before": before})
    return place


async def listing(
    connection: AsyncConnection, webhook: UUID, after: tuple[int, UUID] | None, limit: int
) -> list[DeadLetter]:
    """By place and stream, behind this one."""
    seq, top = after or (None, None)
    rows = await connection.execute(_LISTING, {"webhook": webhook, "seq": seq, "top": top, "limit": limit})
    return [DeadLetter(**row) for row in rows.mappings()]


async def counts(connection: AsyncConnection, webhooks: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many dead letters each of them has; those without are left away."""
    rows = await connection.execute(_COUNTS, {"ids": list(webhooks)})
    return {row.webhook_id: row.many for row in rows}


async def spans(connection: AsyncConnection, webhook: UUID, first: int, last: int) -> list[Span]:
    """Where its dead letters at these places lie that can be sent again: one span for each stream."""
    values = {"webhook": webhook, "first": first, "last": last, "deleted": DELETED}
    rows = await connection.execute(_SPANS, values)
    return [Span(row.top, row.first - 1, row.last) for row in rows]


async def following(connection: AsyncConnection, webhook: UUID, span: Span, limit: int) -> list[int]:
    """The first places of its dead letters in the span that can be sent again."""
    values = {"webhook": webhook, "top": span.top, "after": span.after, "last": span.upto}
    return list((await connection.execute(_FOLLOWING, values | {"deleted": DELETED, "limit": limit})).scalars())


async def revived(connection: AsyncConnection, webhook: UUID, top: UUID, places: Sequence[int]) -> None:
    """These were taken after all."""
    await connection.execute(_REVIVED, {"webhook": webhook, "top": top, "seqs": list(places)})


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Removes dead letters whose events are not kept any more; how many.

    One that tells of events deleted too early stays until it is older than `before`.
    """
    return (await connection.execute(_FORGET, {"before": before, "deleted": DELETED})).rowcount
