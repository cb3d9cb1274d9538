"""What each route of the API is about: which deeds it takes, whose thing it touches, and a request that it would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from engine.accounts.model import Deed
from engine.prompts.telephone_sound import WIDE_RATE, pcm, wav
from tests.bola_world import PDF, RULE, SINK, Thing, World
from tests.tones import tone
from tests.trade_desk import TARGET


class Where(Enum):
    """Whose things a route touches."""

    SHOP = "a shop's"
    OFFICE = "an agency's"
    ROOT = "the operator's"
    LIST = "a list of what one may see"
    ANYBODY = "nobody's: whoever is signed in"
    ONESELF = "of whoever asks, and of nobody else"
    STRANGERS = "for those who are not signed in"


ROOT = Where.ROOT
Asked = Deed | tuple[Deed, Where]
"""A deed, at the thing's place, or at another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`deeds` are asked in their order; with `any_of` one of them is enough."""

    deeds: tuple[Asked, ...] = ()
    where: Where = Where.SHOP
    thing: str = "account"
    """What kind of thing is asked for (`bola_world`)."""
    named: str = "account"
    """Where its id goes: a part of the path, or of the query."""
    path: Mapping[str, str] = field(default_factory=dict)
    """Other parts of the path."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[World, Thing], Any] | None = None
    raw: bytes | Callable[[World], bytes] | None = None
    media: str = "application/json"
    edits: bool = False
    """Whether it wants If-Match."""
    again: bool = False
    """Whether one thing is enough for everybody to do it; else each one, unless it edits, gets another thing."""
    at_once: int = 6
    """Requests: fewer than the pool has connections, except for those that wait without one."""
    any_of: bool = False
    people_only: bool = False
    """Whether keys are refused before anything is looked for, whatever their scopes."""
    done: frozenset[int] = frozenset({200, 201, 202, 204})
    """What is answered when it is allowed."""


def shop(thing: str, *deeds: Asked, named: str | None = None, **more: Any) -> Route:
    return Route(thing=thing, named=named or thing, deeds=deeds, **more)


def office(thing: str, *deeds: Asked, named: str | None = None, **more: Any) -> Route:
    return Route(thing=thing, named=named or thing, deeds=deeds, where=Where.OFFICE, **more)


def root(thing: str, *deeds: Asked, named: str | None = None, **more: Any) -> Route:
    return Route(thing=thing, named=named or thing, deeds=deeds, where=Where.ROOT, **more)


def listing(*deeds: Asked, **more: Any) -> Route:
    return Route(deeds=deeds, where=Where.LIST, **more)


def said(**body: Any) -> Callable[[World, Thing], Any]:
    return lambda _world, _thing: body


def of_account(**body: Any) -> Callable[[World, Thing], Any]:
    """With the account's id."""
    return lambda _world, thing: {"account": thing.id, **body}


def of_number(field_: str = "number", **body: Any) -> Callable[[World, Thing], Any]:
    return lambda _world, thing: {field_: thing.id, **body}


def _unused(field_: str, **body: Any) -> Callable[[World, Thing], Any]:
    """With a word that was never sent before."""
    return lambda world, _thing: {field_: world.unused(), **body}


def _grant(world: World, thing: Thing) -> Any:
    """One that runs tomorrow: today nobody above hears anything."""
    begins, until = (str(world.desk.clock.now() + timedelta(days=days)).replace(" ", "T") for days in (1, 2))
    when = {"begins": begins, "until": until}
    return {"to_account": str(thing.place.path[1]), **when, "reason": "training", "evidence": "a letter"}


def _application(world: World, thing: Thing) -> Any:
    return {
        "parent": thing.id,
        "company": world.unused(),
        "registration_number": world.registration_number(),
        "contact_name": "kim",
        "contact": "kim@example.com",
    }


def _user(world: World, thing: Thing) -> Any:
    return {"account": thing.id, "login": f"{world.unused()}@example.com", "name": "kim", "role": "staff"}


def _number(world: World, thing: Thing) -> Any:
    return {"account": thing.id, "number": world.free_number(), "target": str(TARGET)}


def _chosen(world: World, thing: Thing) -> Any:
    return {"account": thing.id, "number": world.free_number()}


def _offer(world: World, thing: Thing) -> Any:
    return {"number": thing.id, "to_account": str(world.accounts["apart"].id)}


def _range(world: World, _thing: Thing) -> Any:
    return {"name": world.unused(), "prefix": world.prefix(), "digits": 12}


def _import(world: World) -> bytes:
    return world.unknown_number().encode()


def _trunk(world: World, _thing: Thing) -> Any:
    return {"name": world.unused(), "match": [world.address()], "contact": "sip:192.0.2.1"}


def _holiday(world: World, _thing: Thing) -> Any:
    return {"day": world.day(), "name": "holiday"}


def _mixture(_world: World, thing: Thing) -> Any:
    return {"music": thing.id, "text": "안녕하세요"}


def _remap(_world: World, thing: Thing) -> Any:
    telephones = {"old_tel_num": str(TARGET), "new_old_tel_num": "010-1111-2222"}
    return {"new_tel_num": thing.id, "group_code": "g", **telephones}


def _webhook(_world: World, thing: Thing) -> Any:
    return {"account": thing.id, "url": SINK}


def a_sound(_world: World) -> bytes:
    return wav(pcm(tone(700, 0.5, WIDE_RATE) / 32768), WIDE_RATE)


_ONESELF = Route(where=Where.ONESELF)
_STRANGERS = Route(where=Where.STRANGERS)
_ANYBODY = Route(where=Where.ANYBODY)
_NIGHT = {
    "condition": {"times": [{"start": "22:00", "end": "09:00"}]},
    "treatment": {"announcement": "ko/closed"},
}
_TALK = {"kind": "talk"}
_FAX = {"kind": "identity", "came_by": "fax"}

ROUTES: Mapping[str, Route] = {
    # who asks
    "read_self": _ANYBODY,
    "sign_in": _STRANGERS,
    "choose_password": _STRANGERS,
    "sign_up": _STRANGERS,
    "upload_own_document": _STRANGERS,
    "sign_out": _ONESELF,
    "change_own_password": _ONESELF,
    "begin_codes": _ONESELF,
    "confirm_codes": _ONESELF,
    "turn_codes_off": _ONESELF,
    "list_own_sessions": _ONESELF,
    "end_own_sessions": _ONESELF,
    # accounts, people, keys
    "list_accounts": listing(Deed.SEE_ACCOUNTS),
    "open_account": office(
        "account", Deed.OPEN_ACCOUNTS, body=lambda w, t: {"parent": t.id, "kind": "shop", "name": w.unused()}
    ),
    "read_account": shop("account", Deed.SEE_ACCOUNTS),
    "change_account": shop(
        "sibling", Deed.SEE_ACCOUNTS, Deed.CHANGE_ACCOUNTS, named="account", body=_unused("name"), edits=True
    ),
    "close_account": shop("sibling", Deed.CLOSE_ACCOUNTS, named="account"),
    "read_eligibility": shop("account", Deed.SEE_ACCOUNTS),
    "list_trades": _ANYBODY,
    "list_grants": shop("account", Deed.SEE_ACCOUNTS),
    "give_grant": shop("account", Deed.GRANT_LISTENING, Deed.RECORD_GRANTS, any_of=True, body=_grant),
    "take_grant_back": shop("grant", Deed.GRANT_LISTENING, Deed.RECORD_GRANTS, any_of=True),
    "list_users": listing(Deed.SEE_USERS),
    "invite_user": shop("account", Deed.CHANGE_USERS, body=_user),
    "read_user": shop("user", Deed.SEE_USERS),
    "change_user": shop("user", Deed.SEE_USERS, Deed.CHANGE_USERS, body=_unused("name"), edits=True),
    "remove_user": shop("user", Deed.CHANGE_USERS),
    "lock_user": shop("user", Deed.CHANGE_USERS),
    "unlock_user": shop("user", Deed.CHANGE_USERS),
    "take_codes_off": shop("user", Deed.SEE_USERS, Deed.CHANGE_USERS, done=frozenset({204, 409}), again=True),
    "reset_user": shop("user", Deed.CHANGE_USERS, again=True),
    "list_sessions": shop("user", Deed.SEE_USERS),
    "end_sessions": shop("user", Deed.CHANGE_USERS, again=True),
    "end_session": shop("session", Deed.CHANGE_USERS),
    "list_keys": listing(Deed.SEE_KEYS),
    "make_key": shop("account", Deed.CHANGE_KEYS, body=of_account(name="k", scopes=["see calls"]), people_only=True),
    "read_key": shop("key", Deed.SEE_KEYS),
    "revoke_key": shop("key", Deed.CHANGE_KEYS),
    "list_audit": listing(Deed.SEE_AUDIT),
    "verify_audit": root("operator", Deed.VERIFY_AUDIT, body=said()),
    "list_applications": listing(Deed.SEE_ACCOUNTS),
    "apply_for": office("account", Deed.OPEN_ACCOUNTS, body=_application),
    "read_application": office("application", Deed.SEE_ACCOUNTS),
    "approve_application": office(
        "application", Deed.REVIEW_ACCOUNTS, Deed.OPEN_ACCOUNTS, body=said(reason="papers seen")
    ),
    "reject_application": office("application", Deed.REVIEW_ACCOUNTS, body=said(reason="papers missing")),
    "record_document": office(
        "application", Deed.OPEN_ACCOUNTS, query=_FAX, raw=PDF, media="application/pdf", again=True
    ),
    "read_document": office("application", Deed.SEE_ACCOUNTS, Deed.REVIEW_ACCOUNTS),
    # events
    "pull_events": shop("account", Deed.READ_EVENTS),
    "follow_events": shop("account", Deed.READ_EVENTS, query={"seconds": "1"}, at_once=100),
    "list_webhooks": listing(Deed.SEE_WEBHOOKS),
    "add_webhook": shop("spare webhook", Deed.CHANGE_WEBHOOKS, named="account", body=_webhook),
    "read_webhook": shop("webhook", Deed.SEE_WEBHOOKS),
    "change_webhook": shop("webhook", Deed.SEE_WEBHOOKS, Deed.CHANGE_WEBHOOKS, body=said(url=SINK), edits=True),
    "remove_webhook": shop("webhook", Deed.CHANGE_WEBHOOKS),
    "rotate_secret": shop("webhook", Deed.CHANGE_WEBHOOKS, body=said(), again=True),
    "webhook_progress": shop("webhook", Deed.SEE_WEBHOOKS),
    "pause_webhook": shop("webhook", Deed.CHANGE_WEBHOOKS),
    "resume_webhook": shop("webhook", Deed.CHANGE_WEBHOOKS),
    "try_webhook": shop("webhook", Deed.CHANGE_WEBHOOKS, again=True),
    "list_dead_letters": shop("webhook", Deed.SEE_WEBHOOKS),
    "list_replays": shop("webhook", Deed.SEE_WEBHOOKS),
    "replay_events": shop("webhook", Deed.CHANGE_WEBHOOKS, body=said(first=1, last=1), again=True),
    # numbers
    "list_numbers": listing(Deed.SEE_NUMBERS),
    "issue_number": shop("account", Deed.ISSUE_NUMBERS, body=_number),
    "read_number": shop("number", Deed.SEE_NUMBERS),
    "change_number": shop(
        "number", Deed.SEE_NUMBERS, Deed.CHANGE_NUMBERS, body=said(target="010-1111-2222"), edits=True
    ),
    "number_history": shop("number", Deed.SEE_NUMBERS),
    "suspend_number": shop("number", Deed.RELEASE_NUMBERS, body=said()),
    "resume_number": shop("suspended", Deed.RELEASE_NUMBERS, named="number"),
    "release_number": shop("number", Deed.RELEASE_NUMBERS),
    "port_number_out": shop("number", (Deed.MANAGE_RANGES, ROOT), Deed.RELEASE_NUMBERS),
    "take_number_back": shop("ported out", (Deed.MANAGE_RANGES, ROOT), named="number"),
    "choose_numbers": shop("account", Deed.ISSUE_NUMBERS, query={"like": "1234"}),
    "keep_number": shop("account", Deed.ISSUE_NUMBERS, body=_chosen),
    "keep_best_numbers": shop("account", Deed.ISSUE_NUMBERS, body=of_account(like="1234")),
    "let_number_go": shop("kept number", Deed.ISSUE_NUMBERS, named="number"),
    "list_orders": listing(Deed.SEE_NUMBERS),
    "place_order": shop("account", Deed.ISSUE_NUMBERS, body=of_account(count=1)),
    "read_order": shop("order", Deed.SEE_NUMBERS),
    "prolong_order": shop("order", Deed.ISSUE_NUMBERS, body=said(ends_at="2099-01-01T00:00:00Z")),
    "cancel_order": shop("order", Deed.ISSUE_NUMBERS),
    "list_transfers": listing(Deed.SEE_NUMBERS),
    "offer_transfer": shop("number", Deed.TRANSFER_NUMBERS, body=_offer),
    "read_transfer": shop("offered", Deed.SEE_NUMBERS, named="transfer"),
    "accept_transfer": shop("coming", Deed.TRANSFER_NUMBERS, named="transfer", body=said()),
    "decline_transfer": shop("coming", Deed.TRANSFER_NUMBERS, named="transfer", body=said(reason="no")),
    "withdraw_transfer": shop("offered", Deed.TRANSFER_NUMBERS, named="transfer", body=said()),
    "list_ranges": root("operator", Deed.SEE_RANGES),
    "add_range": root("operator", Deed.MANAGE_RANGES, body=_range),
    "import_numbers": root("operator", Deed.MANAGE_RANGES, raw=_import, media="text/csv"),
    "read_range": root("range", Deed.SEE_RANGES),
    "set_range_terms": root("range", Deed.SEE_RANGES, Deed.MANAGE_RANGES, body=said(days=30), edits=True),
    "show_mapping": shop("number", Deed.SEE_NUMBERS, named="new_tel_num"),
    "create_mapping": shop("account", Deed.ISSUE_NUMBERS, body=of_account(old_tel_num=str(TARGET), group_code="g")),
    "update_mapping": shop("number", Deed.CHANGE_NUMBERS, body=_remap),
    "remove_mapping": shop("number", Deed.RELEASE_NUMBERS, body=of_number("new_tel_num", group_code="g")),
    # what calls go through
    "get_rules": shop("number", Deed.SEE_RULES),
    "replace_rules": shop("number", Deed.CHANGE_RULES, body=said(rules=[]), edits=True),
    "add_rule": shop("number", Deed.CHANGE_RULES, body=_unused("name", **_NIGHT), again=True),
    "change_rule": shop(
        "ruled number", Deed.CHANGE_RULES, named="number", path={"rule": RULE}, body=said(enabled=False), edits=True
    ),
    "remove_rule": shop("ruled number", Deed.CHANGE_RULES, named="number", path={"rule": RULE}, edits=True),
    "number_closed_days": shop("number", Deed.SEE_RULES),
    "set_number_closed_days": shop("number", Deed.CHANGE_RULES, body=said(days=[{"weekday": 1}]), edits=True),
    "account_closed_days": shop("account", Deed.SEE_RULES),
    "set_account_closed_days": shop("account", Deed.CHANGE_RULES, body=said(days=[]), edits=True),
    "call_settings": shop("account", Deed.SEE_ACCOUNTS),
    "set_call_settings": shop("account", Deed.CHANGE_ACCOUNTS, body=said(zone="Asia/Seoul", limits={}), edits=True),
    "holidays": _ANYBODY,
    "add_holiday": root("operator", Deed.CHANGE_RULES, body=_holiday),
    "seed_holidays": root("operator", Deed.CHANGE_RULES, body=said(years=[2026])),
    "remove_holiday": root("holiday", Deed.CHANGE_RULES, named="day"),
    "groups": shop("account", Deed.SEE_RULES),
    "members": shop("group", Deed.SEE_RULES),
    "add_members": shop("group", Deed.CHANGE_RULES, body=said(numbers=["010-2345-6789"]), again=True),
    "remove_members": shop("group", Deed.CHANGE_RULES, body=said(numbers=None)),
    "voices": _ANYBODY,
    "list_prompts": shop("account", Deed.SEE_PROMPTS),
    "read_prompt": shop("prompt", Deed.SEE_PROMPTS),
    "remove_prompt": shop("prompt", Deed.CHANGE_PROMPTS),
    "upload_prompt": shop("prompt", Deed.CHANGE_PROMPTS, raw=a_sound, media="audio/wav"),
    "speak_prompt": shop("prompt", Deed.CHANGE_PROMPTS, body=said(text="안녕하세요")),
    "mix_prompt": shop("prompt", Deed.CHANGE_PROMPTS, body=_mixture),
    "use_version": shop("prompt", Deed.CHANGE_PROMPTS, body=said(version=1), edits=True),
    "remove_version": shop("prompt", Deed.CHANGE_PROMPTS, path={"version": "1"}),
    "hear_version": shop("prompt", Deed.SEE_PROMPTS, path={"version": "1"}),
    "simulate": shop("number", Deed.SIMULATE, body=of_number(), again=True),
    "simulate_sound": shop("number", Deed.SIMULATE, body=of_number(), again=True),
    # calls
    "list_calls": listing(Deed.SEE_CALLS),
    "search_calls": listing(Deed.SEE_CALLS, body=said()),
    "read_call": shop("call", Deed.SEE_CALLS),
    "list_live_calls": listing(Deed.SEE_CALLS),
    "place_call": shop("number", Deed.PLACE_CALLS, body=of_number(first="02-1111-2222"), again=True),
    "switch_recording": shop("live call", Deed.CHANGE_RECORDINGS, named="call", body=said(pause=True), again=True),
    "listen_live": shop("live call", Deed.LISTEN_LIVE, named="call", body=said(reason="training"), again=True),
    "list_recordings": listing(Deed.SEE_CALLS),
    "recordings_of_call": shop("call", Deed.SEE_CALLS),
    "hear_recording": shop("call", Deed.HEAR_RECORDINGS, path=_TALK),
    "hold_recording": shop("call", Deed.CHANGE_RECORDINGS, path=_TALK, body=said(reason="a lawsuit")),
    "release_recording": shop("call", Deed.CHANGE_RECORDINGS, path=_TALK, body=said(reason="it is over")),
    "register_sender": shop(
        "account", Deed.CHANGE_MESSAGES, body=said(number="02-1577-1577", evidence="its telephone bill")
    ),
    "list_senders": shop("account", Deed.SEE_MESSAGES),
    "list_messages": listing(Deed.SEE_MESSAGES),
    "read_message": shop("message", Deed.SEE_MESSAGES),
    # the operator's lines
    "list_trunks": root("operator", Deed.SEE_TRUNKS),
    "add_trunk": root("operator", Deed.CHANGE_TRUNKS, body=_trunk),
    "read_trunk": root("trunk", Deed.SEE_TRUNKS),
    "change_trunk": root("trunk", Deed.CHANGE_TRUNKS, body=said(max_calls=5), edits=True),
    "remove_trunk": root("trunk", Deed.CHANGE_TRUNKS),
}
"""By operation id. Whoever adds a route says here what it is about."""
