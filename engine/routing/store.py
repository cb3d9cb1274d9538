"""The SQL of rules, closed days, groups of callers, holidays. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Limits
from engine.routing.entries import Holiday, Member
from engine.routing.model import AccountRouting, ClosedDay, Holidays, Rule

_AS_OF_ONE_INSTANT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

_RULES = """
    SELECT number, CAST(jsonb_agg(jsonb_build_object(
        'name', name, 'condition', condition, 'treatment', treatment, 'enabled', enabled) ORDER BY position) AS text)
    FROM number_rules
"""
_ALL_RULES = text(f"{_RULES} GROUP BY number")
_RULES_OF = text(f"{_RULES} WHERE number = :number GROUP BY number")
_RULES_OF_SEVERAL = text(f"{_RULES} WHERE number = ANY(CAST(:numbers AS text[])) GROUP BY number")
_KEEP_RULE = text("""
    INSERT INTO number_rules AS kept (number, name, position, condition, treatment, enabled)
    VALUES (:number, :name, :position, CAST(:condition AS jsonb), CAST(:treatment AS jsonb), :enabled)
    ON CONFLICT (number, name) DO UPDATE
        SET position = EXCLUDED.position, condition = EXCLUDED.condition, treatment = EXCLUDED.treatment,
            enabled = EXCLUDED.enabled, updated_at = now()
        WHERE (kept.position, kept.condition, kept.treatment, kept.enabled)
           IS DISTINCT FROM (EXCLUDED.position, EXCLUDED.condition, EXCLUDED.treatment, EXCLUDED.enabled)
""")
_FORGET_RULES = text("DELETE FROM number_rules WHERE number = :number AND name <> ALL(CAST(:names AS text[]))")

_CLOSED_DAY = "jsonb_strip_nulls(jsonb_build_object('day', day, 'weekday', weekday, 'weeks', weeks))"
_CLOSED_DAYS = f"jsonb_agg({_CLOSED_DAY} ORDER BY day, weekday, weeks)"
_ALL_CLOSED_DAYS = text(f"""
    SELECT number, CAST({_CLOSED_DAYS} AS text) FROM closed_days WHERE number IS NOT NULL GROUP BY number
""")  # noqa: S608 - fixed columns
_CLOSED_DAYS_OF = text(f"""
    SELECT CAST(coalesce({_CLOSED_DAYS}, '[]') AS text) FROM closed_days
    WHERE number = :number OR account_id = :account
""")  # noqa: S608
_CLOSE = text("""
    INSERT INTO closed_days (account_id, number, day, weekday, weeks)
    VALUES (:account, :number, :day, :weekday, CAST(:weeks AS smallint[]))
    ON CONFLICT DO NOTHING
""")
_OPEN = text("""
    DELETE FROM closed_days
    WHERE (account_id = :account OR number = :number) AND day IS NOT DISTINCT FROM CAST(:day AS date)
      AND weekday IS NOT DISTINCT FROM CAST(:weekday AS smallint) AND weeks = CAST(:weeks AS smallint[])
""")

_ACCOUNTS = f"""
    SELECT CAST(jsonb_build_object('account_id', a.id, 'zone', a.zone, 'limits', a.limits,
        'off', ARRAY(SELECT DISTINCT switch.key FROM accounts up, jsonb_each(up.modules) switch
            WHERE up.id = ANY(a.path) AND switch.value = 'false' AND switch.key = ANY(CAST(:modules AS text[]))
            ORDER BY 1),
        'closed_days', coalesce((SELECT {_CLOSED_DAYS} FROM closed_days WHERE account_id = a.id), '[]'),
        'groups', coalesce((SELECT jsonb_object_agg(g.name, g.numbers) FROM (
            SELECT name, jsonb_agg(number) AS numbers FROM caller_groups WHERE account_id = a.id GROUP BY name
        ) AS g), '{{}}')) AS text)
    FROM accounts a
"""  # noqa: S608
_ALL_ACCOUNTS = text(_ACCOUNTS)
_ACCOUNT = text(f"{_ACCOUNTS} WHERE a.id = :account")
_SET_ACCOUNT = text("""
    UPDATE accounts SET zone = coalesce(:zone, zone), limits = coalesce(CAST(:limits AS jsonb), limits)
    WHERE id = :account
""")

_MEMBERS = text("""
    SELECT name, number, note, added_at FROM caller_groups
    WHERE account_id = :account AND (CAST(:name AS text) IS NULL OR name = :name) ORDER BY name, number
""")
_ADD_MEMBERS = text("""
    INSERT INTO caller_groups (account_id, name, number, note)
    SELECT :account, :name, number, :note FROM unnest(CAST(:numbers AS text[])) AS number
    ON CONFLICT (account_id, name, number) DO NOTHING
    RETURNING number
""")
_REMOVE_MEMBERS = text("""
    DELETE FROM caller_groups
    WHERE account_id = :account AND name = :name
      AND (CAST(:numbers AS text[]) IS NULL OR number = ANY(CAST(:numbers AS text[])))
    RETURNING number
""")

_HOLIDAYS = text("""
    SELECT day, name, source FROM holidays
    WHERE CAST(:year AS integer) IS NULL OR extract(year FROM day) = :year ORDER BY day
""")
_FORGET_PUBLIC = text("""
    DELETE FROM holidays WHERE source = 'public' AND extract(year FROM day) = ANY(CAST(:years AS integer[]))
      AND day <> ALL(CAST(:days AS date[]))
""")
_KEEP_PUBLIC = text("""
    INSERT INTO holidays AS kept (day, name, source)
    SELECT day, name, 'public' FROM unnest(CAST(:days AS date[]), CAST(:names AS text[])) AS given (day, name)
    ON CONFLICT (day) DO UPDATE SET name = EXCLUDED.name, source = 'public'
        WHERE (kept.name, kept.source) IS DISTINCT FROM (EXCLUDED.name, 'public')
""")
_ADD_HOLIDAY = text("""
    INSERT INTO holidays (day, name, source) VALUES (:day, :name, 'temporary') ON CONFLICT (day) DO NOTHING
""")
_REMOVE_HOLIDAY = text("DELETE FROM holidays WHERE day = :day RETURNING name")

_MODULES = [module.value for module in Module]
"""Those that this version knows."""

_ROWS_AT_ONCE = 200  # a millisecond of work: calls go on in between
_LISTS_REMEMBERED = 20_000

_closed_days_in = msgspec.json.Decoder(tuple[ClosedDay, ...]).decode
_account_in = msgspec.json.Decoder(AccountRouting).decode


async def read_as_of_one_instant(connection: AsyncConnection) -> None:
    """Whatever this transaction reads is of one instant; it writes nothing. Comes before all else in it."""
    await connection.execute(_AS_OF_ONE_INSTANT)


async def rules_of(connection: AsyncConnection, number: PhoneNumber) -> tuple[Rule, ...]:
    """In the order in which they are asked."""
    row = (await connection.execute(_RULES_OF, {"number": number})).one_or_none()
    return _rules(row[1]) if row else ()


async def rules_of_several(
    connection: AsyncConnection, numbers: Collection[PhoneNumber]
) -> dict[PhoneNumber, tuple[Rule, ...]]:
    """By number, of those that have any."""
    rows = await connection.execute(_RULES_OF_SEVERAL, {"numbers": list(numbers)})
    return {row[0]: _rules(row[1]) for row in rows}


async def all_rules(connection: AsyncConnection) -> AsyncIterator[list[tuple[PhoneNumber, tuple[Rule, ...]]]]:
    """Of all numbers that have any, part by part."""
    async with connection.stream(_ALL_RULES) as result:
        async for rows in result.partitions(_ROWS_AT_ONCE):
            yield [(row[0], _rules(row[1])) for row in rows]


async def keep_rules(connection: AsyncConnection, number: PhoneNumber, rules: Sequence[Rule]) -> None:
    """The number has these rules, in this order, and no others."""
    names = [rule.name for rule in rules]
    await connection.execute(_FORGET_RULES, {"number": number, "names": names})
    if rules:
        await connection.execute(_KEEP_RULE, [_rule_row(number, *placed) for placed in enumerate(rules, 1)])


async def closed_days_of(connection: AsyncConnection, of: UUID | PhoneNumber) -> tuple[ClosedDay, ...]:
    """An account's own, or a number's own."""
    return _closed_days_in(await connection.scalar(_CLOSED_DAYS_OF, _owner(of)) or "[]")


async def all_closed_days_of_numbers(connection: AsyncConnection) -> dict[PhoneNumber, tuple[ClosedDay, ...]]:
    return {row[0]: _closed_days_in(row[1]) for row in await connection.execute(_ALL_CLOSED_DAYS)}


async def close(connection: AsyncConnection, of: UUID | PhoneNumber, days: Sequence[ClosedDay]) -> list[ClosedDay]:
    """Those of these days that were not there yet."""
    return [day for day in days if (await connection.execute(_CLOSE, _owner(of) | _closed_day_row(day))).rowcount]


async def open_again(connection: AsyncConnection, of: UUID | PhoneNumber, day: ClosedDay) -> bool:
    """False when it was not closed."""
    return bool((await connection.execute(_OPEN, _owner(of) | _closed_day_row(day))).rowcount)


async def account(connection: AsyncConnection, account_id: UUID) -> AccountRouting | None:
    found = await connection.scalar(_ACCOUNT, {"account": account_id, "modules": _MODULES})
    return _account_in(found) if found else None


async def all_accounts(connection: AsyncConnection) -> AsyncIterator[list[AccountRouting]]:
    """Part by part."""
    async with connection.stream(_ALL_ACCOUNTS, {"modules": _MODULES}) as result:
        async for rows in result.partitions(_ROWS_AT_ONCE):
            yield [_account_in(row[0]) for row in rows]


async def set_account(connection: AsyncConnection, account_id: UUID, zone: str | None, limits: Limits | None) -> bool:
    """What is None stays. False when there is no such account."""
    values = {
        "account": account_id,
        "zone": zone,
        "limits": None if limits is None else msgspec.json.encode(limits).decode(),
    }
    return bool((await connection.execute(_SET_ACCOUNT, values)).rowcount)


async def members(connection: AsyncConnection, account_id: UUID, group: str | None) -> list[Member]:
    """Of one group, or of all, by group and number."""
    rows = await connection.execute(_MEMBERS, {"account": account_id, "name": group})
    return [Member(*row) for row in rows]


async def add_members(
    connection: AsyncConnection, account_id: UUID, group: str, numbers: Collection[PhoneNumber], note: str
) -> list[PhoneNumber]:
    """Those that were not in it yet."""
    values = {"account": account_id, "name": group, "numbers": sorted(numbers), "note": note}
    return [PhoneNumber(row[0]) for row in await connection.execute(_ADD_MEMBERS, values)]


async def remove_members(
    connection: AsyncConnection, account_id: UUID, group: str, numbers: Collection[PhoneNumber] | None
) -> list[PhoneNumber]:
    """Those that were in it; None: all that are."""
    values = {"account": account_id, "name": group, "numbers": None if numbers is None else list(numbers)}
    return [PhoneNumber(row[0]) for row in await connection.execute(_REMOVE_MEMBERS, values)]


async def holidays(connection: AsyncConnection, year: int | None = None) -> list[Holiday]:
    """By day; None: of all years."""
    return [Holiday(*row) for row in await connection.execute(_HOLIDAYS, {"year": year})]


async def holidays_by_day(connection: AsyncConnection) -> Holidays:
    return Holidays(days={holiday.day: holiday.name for holiday in await holidays(connection)})


async def keep_public_holidays(
    connection: AsyncConnection, years: Collection[int], days: dict[date, str]
) -> tuple[int, int]:
    """The public holidays of these years are `days`; how many are new or renamed, and how many are no more."""
    gone = await connection.execute(_FORGET_PUBLIC, {"years": list(years), "days": list(days)})
    kept = await connection.execute(_KEEP_PUBLIC, {"days": list(days), "names": list(days.values())})
    return kept.rowcount, gone.rowcount


async def add_holiday(connection: AsyncConnection, day: date, name: str) -> bool:
    """False when that day is one already."""
    return bool((await connection.execute(_ADD_HOLIDAY, {"day": day, "name": name})).rowcount)


async def remove_holiday(connection: AsyncConnection, day: date) -> str | None:
    """What it was called; None: that day is none."""
    name: str | None = await connection.scalar(_REMOVE_HOLIDAY, {"day": day})
    return name


@lru_cache(_LISTS_REMEMBERED)
def _rules(raw: str) -> tuple[Rule, ...]:
    """Equal texts give one object: many numbers have the same rules."""
    return msgspec.json.decode(raw, type=tuple[Rule, ...])


def _rule_row(number: PhoneNumber, position: int, rule: Rule) -> dict[str, Any]:
    return {
        "number": number,
        "name": rule.name,
        "position": position,
        "condition": msgspec.json.encode(rule.condition).decode(),
        "treatment": msgspec.json.encode(rule.treatment).decode(),
        "enabled": rule.enabled,
    }


def _owner(of: UUID | PhoneNumber) -> dict[str, Any]:
    return {"account": of, "number": None} if isinstance(of, UUID) else {"account": None, "number": of}


def _closed_day_row(day: ClosedDay) -> dict[str, Any]:
    return {"day": day.day, "weekday": day.weekday, "weeks": list(day.weeks)}
