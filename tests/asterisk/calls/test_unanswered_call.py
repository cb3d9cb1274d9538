"""Calls that are not answered: each has its own SIP answer and its own result, and costs the caller nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from engine.cdr.model import Result, Side, StepKind
from engine.numbers.model import ServiceNumber
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Direction
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings, Silent
from tests.asterisk.calls.conftest import ACCOUNT
from tests.call_oracle import LEFT_BEFORE
from tests.engine_rig import TONES, Rig, lines_of, number_set
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

RINGBACK = TONES["test/ringback"]


@pytest.fixture
def numbers(request: pytest.FixtureRequest) -> list[ServiceNumber]:
    """With a whisper the engine rings the telephone, without one (a test's parameter) the dialplan by itself."""
    return [number_set(ACCOUNT, ring_seconds=3, record=False, whisper=getattr(request, "param", "test/whisper"))]


@pytest.mark.parametrize("numbers", ["test/whisper", None], indirect=True, ids=["by the engine", "by the dialplan"])
@pytest.mark.parametrize(
    ("behaviour", "result", "answer", "ended_by"),
    [
        (Busy(), Result.BUSY, 486, Side.TARGET),
        (Rejects(603), Result.REJECTED, 403, Side.TARGET),
        (Rejects(403), Result.REJECTED, 403, Side.TARGET),
        (Rejects(404), Result.UNREACHABLE, 502, Side.TARGET),
        (Rejects(480), Result.UNREACHABLE, 502, Side.TARGET),
        (Rejects(503), Result.CONGESTION, 503, Side.TARGET),
        (Rings(0.5, 480), Result.NO_ANSWER, 480, Side.TARGET),
        (Rings(0.5, 486), Result.BUSY, 486, Side.TARGET),
        (NeverAnswers(), Result.NO_ANSWER, 480, Side.DARI),
        (Silent(), Result.UNREACHABLE, 502, Side.DARI),
    ],
    ids=str,
)
async def test_each_failure_has_its_own_answer_and_result(
    rig: Rig, carrier: Carrier, behaviour: Behaviour, result: Result, answer: int, ended_by: Side
) -> None:
    shop = carrier.shop("0212345678", behaviour)
    caller = await carrier.call("050712345678")
    target = await shop.next_call()
    await caller.ended()

    assert caller.final_code == answer
    assert caller.answered_at is None, "the caller was answered"
    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by) == (result, ended_by)
    assert record.talk_seconds == 0
    if not isinstance(behaviour, Silent):
        await target.ended()


async def test_caller_who_gives_up_releases_the_target_at_once(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", NeverAnswers())
    caller = await carrier.call("050712345678")
    target = await shop.next_call()
    await eventually(lambda: sum(one.seconds for one in tones(caller.recording, [RINGBACK])) >= 1.0)
    await caller.cancel()
    await caller.ended()
    await target.ended()

    assert target.cancelled
    heard = sum(one.seconds for one in tones(caller.recording, [RINGBACK]))
    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by) == (Result.CALLER_GAVE_UP, Side.CALLER)
    assert record.ringback_seconds == pytest.approx(heard, abs=0.9)


async def test_target_that_hangs_up_during_the_whisper_counts_as_rejected(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.2, talk_seconds=0.4))
    caller = await carrier.call("050712345678")
    await shop.next_call()
    await caller.ended()

    assert caller.final_code == 403
    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by) == (Result.REJECTED, Side.TARGET)
    assert [step.whole for step in record.steps if step.kind is StepKind.WHISPER] == [False]


async def test_number_not_in_service_is_announced_unanswered_and_refused(rig: Rig, carrier: Carrier) -> None:
    caller = await carrier.call("050799999999")
    await caller.ended()

    assert caller.final_code == 404
    assert caller.answered_at is None
    announcement = tones(caller.recording, [TONES["ko/not-in-service"]])
    assert [one.seconds for one in announcement] == [pytest.approx(1.0, abs=0.1)]
    record = await rig.record(caller.call_id)
    assert record.result is Result.NOT_IN_SERVICE
    assert record.account_id is None
    assert carrier.targets == []


@pytest.mark.parametrize("target", ["0014155550123", "060123456", "112", "119", "050812345678", "1234"])
async def test_forbidden_target_is_refused_again_when_dialled(rig: Rig, carrier: Carrier, target: str) -> None:
    number = number_set(ACCOUNT, target=target)
    rig.numbers[number.number] = number
    caller = await carrier.call("050712345678")
    await caller.ended()

    assert caller.final_code == 404
    assert (await rig.record(caller.call_id)).result is Result.NOT_FORWARDABLE
    assert carrier.targets == []


@pytest.mark.parametrize("dialled", ["050712345678", "+8250712345678", "8250712345678", "+82050712345678"])
async def test_the_number_is_understood_however_the_trunk_writes_it(rig: Rig, carrier: Carrier, dialled: str) -> None:
    carrier.shop("0212345678", Busy())
    caller = await carrier.call(dialled)
    await caller.ended()

    record = await rig.record(caller.call_id)
    assert (record.number, record.number_sent) == ("050712345678", dialled)
    assert record.result is Result.BUSY


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "anonymous",
        "abc",
        "0" * 200,
        "010&PJSIP%2f0601%40carrier",
        "010%26x",
        "%0d%0aX-Evil:%201",
        "1%2c2",
        "%24%7BSHELL(id)%7D",
    ],
)
async def test_a_strange_caller_breaks_nothing_and_reaches_no_dial_string(
    rig: Rig, carrier: Carrier, sent: str
) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1))
    caller = (
        await carrier.call("050712345678", user_part=sent)
        if sent
        else await carrier.call("050712345678", from_number="")
    )
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()

    record = await rig.record(caller.call_id)
    assert record.result is Result.ANSWERED
    assert record.caller is None
    assert len(record.caller_sent) <= 64
    assert "nonymous" in target.invite.get("From")
    assert len(carrier.targets) == 1
    assert "X-Evil" not in str(target.invite.build())


@pytest.mark.parametrize("sent", ["010&PJSIP/0601@carrier", "${SHELL(id)}"])
async def test_a_caller_that_is_no_sip_uri_gets_nowhere(rig: Rig, carrier: Carrier, sent: str) -> None:
    caller = await carrier.call("050712345678", user_part=sent)
    await asyncio.sleep(1.0)
    caller.abandon()

    assert {logged.direction for logged in caller.sip_log} == {Direction.SENT}, "Asterisk answered what is no SIP"
    assert rig.records == []
    assert carrier.targets == []


async def test_a_withheld_number_stays_withheld_towards_the_target(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1))
    caller = await carrier.call("050712345678", from_number="01012345678", privacy=True)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()

    assert "01012345678" not in target.invite.get("From")


async def test_callers_leaving_at_any_instant_leave_nothing_behind_and_one_record_each(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    instants = random.Random(seed)
    carrier.shop("0212345678", Answers(after_seconds=0.5))

    async def one() -> CallerLeg:
        caller = await carrier.call("050712345678")
        await asyncio.sleep(instants.uniform(0, 2.5))
        await caller.hang_up()
        return caller

    callers = await asyncio.gather(*(one() for _ in range(30)))
    lines = await lines_of(call_asterisk, rig, [caller.call_id for caller in callers])
    taken = [caller for caller in callers if lines[caller.call_id].engine == "SUCCESS"]
    assert len(taken) > len(callers) / 2, "hardly anybody stayed until an engine took the call"
    # Who leaves before an engine takes the call has no record; Asterisk says that it was the caller who left.
    untaken = [lines[caller.call_id] for caller in callers if caller not in taken]
    assert {(line.engine, line.cause) for line in untaken} <= LEFT_BEFORE
    for caller in taken:
        record = await rig.record(caller.call_id)
        assert record.result is (Result.ANSWERED if record.talk_seconds else Result.CALLER_GAVE_UP)
        assert bool(record.answered_at) == (caller.answered_at is not None) or caller.final_code == 487
    for target in carrier.targets:
        await target.ended()
    assert Counter(record.sip_call_id for record in rig.records) == Counter(caller.call_id for caller in taken)
