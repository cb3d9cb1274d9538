"""What would happen if somebody called: the same as `dari explain`. Changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import BeforeValidator, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_PLACE, Actor, Deed, Module
from engine.accounts.permissions import may
from engine.api.call_shapes import PhoneOrNone
from engine.api.door import ActorDep, Database, Now, Rows, door_router, never_kept
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.owned import allowed_number
from engine.api.pages import Instant
from engine.api.treatments import ConsentOffer, Limits
from engine.api.wire import PhoneIn, Shape
from engine.cdr.model import Result
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose
from engine.numbers.treatment import Failure, RecordMode
from engine.routing.call_plan import LeftOut, NoticeKind
from engine.routing.plan import plan
from engine.whatif.asked import explained, read_from_database
from engine.whatif.explanation import Asking, Explanation, StageKind
from engine.whatif.heard import Assumed, Outcome, answer_soon, wav_of
from engine.whatif.sounded import heard_of, whisper_of

LONGEST_SOUND = 300.0
"""Seconds of one `/simulate/sound`: longer than a caller waits. Bounds what a request takes: 20 MB for each ear."""


def _in_utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


InUtc = Annotated[datetime, BeforeValidator(_in_utc)]


class Supposition(Shape):
    """A call that nobody has placed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"number": "0507-1234-5678", "caller": "010-2345-6789", "at": "2026-12-25T00:30:00Z"}]
        }
    )

    number: PhoneIn
    """Which number is called."""
    caller: PhoneIn | None = None
    """Who calls; null: a withheld number."""
    at: Instant | None = None
    """When; null: now."""
    talk_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    """How long a talk the messages are decided for."""


class SoundSupposition(Supposition):
    """A call that nobody has placed, and how the telephones that it rings behave."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"number": "0507-1234-5678", "outcome": "no answer", "stereo": True}]}
    )

    outcome: Outcome = Outcome.ANSWERED
    answer_after: Annotated[float, Field(ge=0, le=LONGEST_SOUND, allow_inf_nan=False)] | None = None
    """Seconds after which somebody answers; null: 6, or half the shortest ring time."""
    stereo: bool = False
    """The caller's ear at the left, the target's at the right; false: the caller's alone."""


class RuleAnswer(Shape):
    """A rule that was asked, and the settings that it decided."""

    rule: str
    holds: bool
    why: str
    settings: tuple[str, ...]


class Announcement(Shape):
    """What the caller hears instead of ringing, and how the call is refused then."""

    sound: str
    result: Result
    cause: int
    """Q.850."""


class Notice(Shape):
    """What the caller is told before the ringback."""

    kind: NoticeKind
    sound: str
    whole: bool
    """Heard to its end, even when the target is ready before."""


class Telephone(Shape):
    """One that would ring, and for how long at most."""

    number: PhoneOrNone
    seconds: int


class Stage(Shape):
    """One stage of the call. Several telephones ring together."""

    kind: StageKind
    after: tuple[Failure, ...] | None
    """Only when the attempt before failed so; null: however it failed, and when there was none."""
    follows: bool
    """Also when the stage right before it rang, however that failed."""
    telephones: tuple[Telephone, ...]
    sounds: tuple[str, ...]
    text: str | None


class IfNobody(Shape):
    """What comes when every telephone that rings fails so."""

    failure: Failure
    stages: tuple[int, ...]
    """The stages gone through, by their place from 1."""
    result: Result
    cause: int


class LimitsAsked(Shape):
    """How many calls there may be, and how many there are: at once, in the last hour, in the last day."""

    number: Limits
    account: Limits
    number_load: tuple[int, int, int]
    account_load: tuple[int, int, int]


class Forwarding(Shape):
    """How the call is forwarded."""

    notices: tuple[Notice, ...]
    ringback: tuple[str, ...]
    ringback_until: InUtc | None
    """When rules change the ringback of a call that still rings."""
    stages: tuple[Stage, ...]
    over_limit: bool
    if_nobody: tuple[IfNobody, ...]
    whisper_sound: str | None
    whisper_text: str | None
    press_1: bool
    """Whether the called party presses 1 to take the call."""
    target_sees: PhoneOrNone
    recording: RecordMode
    recording_notice_to_target: str | None
    consent: ConsentOffer | None
    left_out: tuple[LeftOut, ...]
    """What the number promises to callers who can get a text message, and not to this one."""


class Check(Shape):
    """One rule of the law or the plan that was asked about a message."""

    rule: str
    version: str
    passed: bool
    evidence: str


class MessageForeseen(Shape):
    """A message that the call would ask for, and what would be decided about it."""

    purpose: Purpose
    talk_seconds: float | None
    """After so long a talk; null: when nobody was reached."""
    sent: bool
    text: str
    reason: str
    """Why it is not sent; empty when it is."""
    reason_ko: str
    certificate: tuple[Check, ...]


class Foreseen(Shape):
    """Everything about one call that might be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": {"national": "050712345678", "e164": "+8250712345678"},
                    "caller": {"national": "01023456789", "e164": "+821023456789"},
                    "at": "2026-12-25T00:30:00Z",
                    "zone": "Asia/Seoul",
                    "in_service": True,
                    "label": "배달앱",
                    "past_known": True,
                    "past_calls": 2,
                    "rules": [
                        {
                            "rule": "성탄절",
                            "holds": True,
                            "why": "Friday 2026-12-25 is a public holiday (기독탄신일)",
                            "settings": ["announcement"],
                        }
                    ],
                    "switched_off": [],
                    "announcement": {"sound": "ko/closed", "result": "closed", "cause": 19},
                    "forwarding": None,
                    "limits": None,
                    "messages": [],
                }
            ]
        }
    )

    number: PhoneOrNone
    caller: PhoneOrNone
    at: InUtc
    zone: str
    """On whose wall clock the rules were asked."""
    in_service: bool
    label: str | None
    past_known: bool
    past_calls: int
    """This caller's earlier calls to the number that were looked at."""
    rules: tuple[RuleAnswer, ...]
    switched_off: tuple[Module, ...]
    """The functions that the number's settings ask for in this call, and that are off for its account."""
    announcement: Announcement | None
    """Or else `forwarding`."""
    forwarding: Forwarding | None
    limits: LimitsAsked | None
    messages: tuple[MessageForeseen, ...]


def simulate_router() -> APIRouter:
    """`/simulate`."""
    router = door_router("simulate")
    sound: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    }
    router.post("/simulate")(simulate)
    router.post("/simulate/sound", response_class=Response, responses=sound)(simulate_sound)
    return router


async def simulate(supposed: Supposition, actor: ActorDep, rows: Rows, equipment: EquipmentDep, now: Now) -> Foreseen:
    """What would happen if somebody called, and why."""
    await _check_may_ask(rows, actor, supposed.number)
    asking = Asking(supposed.number, supposed.caller, supposed.at or now)
    told = await explained(rows, asking, ring_seconds=equipment.ring_seconds, talk_seconds=supposed.talk_seconds)
    return _shown(told)


@never_kept
async def simulate_sound(
    supposed: SoundSupposition, actor: ActorDep, database: Database, equipment: EquipmentDep, now: Now
) -> Response:
    """What would be heard if somebody called, as 8 kHz WAV; a marker tone stands where people would talk.

    It lasts at most 300 s, else it is refused (`invalid`); when many are being made, ask again later (`try_later`).
    """
    at = supposed.at or now
    async with transaction(database) as rows:
        await _check_may_ask(rows, actor, supposed.number)
        read = await read_from_database(rows, supposed.number, supposed.caller, lambda _line: at)
    async with equipment.renderings.turn():
        made = plan(read.line, supposed.caller, at, read.history, equipment.ring_seconds)
        after = answer_soon(made) if supposed.answer_after is None else supposed.answer_after
        assumed = Assumed(supposed.outcome, after)
        spoken = await _spoken(whisper_of(made), equipment)
        folders = (equipment.sounds, equipment.shipped_sounds)

        def sounded() -> bytes:
            heard = heard_of(
                read,
                supposed.caller,
                made,
                assumed,
                ring_seconds=equipment.ring_seconds,
                folders=folders,
                spoken=spoken,
                longest=LONGEST_SOUND,
            )
            return wav_of(heard, stereo=supposed.stereo)

        return Response(await asyncio.to_thread(sounded), media_type="audio/wav")


async def _spoken(text: str | None, equipment: Equipment) -> dict[str, str]:
    """The sound of a whisper's text; none when it cannot be spoken: a call leaves it out then."""
    try:
        return {text: await (await equipment.speaker()).sound_for(text)} if text else {}
    except DariError:
        return {}


async def _check_may_ask(rows: AsyncConnection, actor: Actor, number: PhoneNumber) -> None:
    """Raises NotFound, NotAllowed."""
    if not may(actor, Deed.SIMULATE, OPERATOR_PLACE):  # who may ask about every number may ask about none's
        await allowed_number(rows, actor, Deed.SIMULATE, number)


def _shown(told: Explanation) -> Foreseen:
    return Foreseen(
        **{name: value for name, value in msgspec.structs.asdict(told).items() if name in Foreseen.model_fields}
    )
