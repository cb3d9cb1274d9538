"""What callers get when there is no engine, from a real Asterisk with the product's own files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.plain_sip import Telephone
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk, write_tone

SERVER, CARRIER, STRANGER, PATIENT = (loopback(12, host) for host in (1, 2, 9, 11))
NUMBER = "05071234567"
ANNOUNCEMENT = 650  # Hz
TRUNKS = [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5080")]


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("a")
    write_tone(folder / "sounds" / "ko" / "no-engine.wav", (ANNOUNCEMENT, 0.6))
    running = await start_asterisk(folder, SERVER, TRUNKS, claim_milliseconds=100)
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    """One that gives a test time to claim a call."""
    running = await start_asterisk(tmp_path_factory.mktemp("p"), PATIENT, TRUNKS, longest_call=4)
    yield running
    await running.stop()


@pytest.fixture
def carrier() -> Iterator[Telephone]:
    with Telephone(CARRIER) as telephone:
        yield telephone


async def test_every_module_loads_and_nothing_is_complained_about(asterisk: RunningAsterisk) -> None:
    listed = re.findall(r"^(?:pre)?load = (\S+)", (asterisk.etc / "modules.conf").read_text(), re.MULTILINE)
    running = re.findall(r"^(\S+\.so) .* Running ", await asterisk.ask("module show like .so"), re.MULTILINE)
    assert sorted(running) == sorted(listed)
    assert not re.findall(r"^.*ERROR.*$", asterisk.log, re.MULTILINE)


async def test_caller_hears_the_announcement_unanswered_and_gets_503(
    asterisk: RunningAsterisk, carrier: Telephone
) -> None:
    call = await carrier.call(asterisk.sip_address, NUMBER)
    assert call.codes == [100, 183, 503]
    assert call.tones() == {ANNOUNCEMENT}
    assert "Reason: Q.850;cause=34" in call.answers[-1]


async def test_caller_hears_a_tone_when_the_announcement_is_missing(
    asterisk: RunningAsterisk, carrier: Telephone
) -> None:
    sound = asterisk.settings.sounds / "ko" / "no-engine.wav"
    aside = sound.rename(sound.with_suffix(".aside"))
    try:
        call = await carrier.call(asterisk.sip_address, NUMBER)
    finally:
        aside.rename(sound)
    assert call.codes == [100, 183, 503]
    assert call.tones() == {500, 600}  # 480 + 620 Hz


@pytest.mark.parametrize("user", ["1", "+8250712345678", "8250712345678", f"{NUMBER}&x", f"{NUMBER}%40x", "9" * 200])
async def test_whatever_begins_like_a_number_is_taken(asterisk: RunningAsterisk, carrier: Telephone, user: str) -> None:
    assert (await carrier.call(asterisk.sip_address, user)).codes == [100, 183, 503]


@pytest.mark.parametrize("user", ["shop", "s", "h", "*1", "$%7BEXTEN%7D"])
async def test_whatever_does_not_gets_404(asterisk: RunningAsterisk, carrier: Telephone, user: str) -> None:
    assert (await carrier.call(asterisk.sip_address, user)).codes == [404]


async def test_the_letter_of_timeouts_gets_404_too(asterisk: RunningAsterisk, carrier: Telephone) -> None:
    assert (await carrier.call(asterisk.sip_address, "T")).codes == [100, 404]


async def test_a_stranger_is_refused_and_makes_no_call(asterisk: RunningAsterisk) -> None:
    with Telephone(STRANGER) as stranger:
        call = await stranger.call(asterisk.sip_address, NUMBER)
    assert call.codes == [403]
    assert "0 active channels" in await asterisk.ask("core show channels count")
    assert not asterisk.lines_of(call.call_id)
    assert f"from {STRANGER}:" in asterisk.log


async def test_a_trunk_counts_as_soon_as_it_is_written(asterisk: RunningAsterisk) -> None:
    newcomer = Trunk(name="newcomer", match=(STRANGER,), contact=f"sip:{STRANGER}:5080")
    with Telephone(STRANGER) as telephone:
        await asterisk.change_trunks([*TRUNKS, newcomer])
        taken = await telephone.call(asterisk.sip_address, NUMBER)
        await asterisk.change_trunks(TRUNKS)
        refused = await telephone.call(asterisk.sip_address, NUMBER)
    assert taken.codes == [100, 183, 503]
    assert refused.codes == [403]


async def test_asterisk_writes_the_call_down_by_itself(asterisk: RunningAsterisk, carrier: Telephone) -> None:
    call = await carrier.call(asterisk.sip_address, NUMBER)
    line = await asterisk.record_of(call.call_id)
    assert line.unique == line.linked
    assert line.channel.startswith("PJSIP/carrier-")
    assert (line.caller, line.number) == ("01012345678", NUMBER)
    assert float(line.answer) == 0 < float(line.start) < float(line.end)
    assert (line.talk, line.disposition, line.cause, line.engine) == ("0", "CONGESTION", "34", "TIMEOUT")


async def test_a_claimed_call_that_no_engine_ends_is_cut_off_at_the_limit(
    patient: RunningAsterisk, carrier: Telephone
) -> None:
    async with patient.ari() as ari:
        socket = await ari.ws_connect("/ari/events", params={"app": "dari-test"})
        calling = asyncio.ensure_future(carrier.call(patient.sip_address, NUMBER))
        broadcast = await socket.receive_json()
        channel = broadcast["channel"]["id"]
        claim = {"channelId": channel, "application": "dari-test"}
        assert (await ari.post("/ari/events/claim", params=claim)).status == 204
        await socket.close()  # the engine is gone and nobody takes its call over
        call = await calling
    assert broadcast["type"] == "CallBroadcast"
    assert call.codes[0] == 100
    assert call.codes[-1] >= 400
    line = await patient.line_of_channel(channel)
    assert float(line.end) - float(line.start) >= 4
    assert (line.engine, line.presentation, line.alone) == ("SUCCESS", "allowed_not_screened", "")
    assert line.call_id == line.unused == "", "each column that is written costs the call a wait"


async def test_the_engine_hands_a_call_back_and_it_ends(patient: RunningAsterisk, carrier: Telephone) -> None:
    async with patient.ari() as ari:
        socket = await ari.ws_connect("/ari/events", params={"app": "dari-test"})
        calling = asyncio.ensure_future(carrier.call(patient.sip_address, NUMBER))
        channel = (await socket.receive_json())["channel"]["id"]
        await ari.post("/ari/events/claim", params={"channelId": channel, "application": "dari-test"})
        while (await socket.receive_json())["type"] != "StasisStart":
            pass
        assert (await ari.post(f"/ari/channels/{channel}/continue")).status == 204
        call = await calling
        await socket.close()
    assert call.codes == [100, 603]
    assert not call.heard


async def test_another_programs_application_does_not_get_calls(asterisk: RunningAsterisk, carrier: Telephone) -> None:
    async with asterisk.ari() as ari:
        socket = await ari.ws_connect("/ari/events", params={"app": "other"})
        call = await carrier.call(asterisk.sip_address, NUMBER)
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.1)
        await socket.close()
    assert call.codes == [100, 183, 503]


OUTSIDE = (
    # Set takes a value as it is.
    " same => n(alone),Set(ALONE_SENT=$${EXTEN})",
    " same => n,Set(NATIONAL_OF=$${ALONE_SENT})",
    " same => n,Set(NATIONAL_OF=$${CALLERID(num)})",
    " same => n(loops),Set(NATIONAL_OF=$${REDIRECTING(from-num)})",
    # Only digits and + come out of FILTER, only a number out of LEN.
    'MSet(CHANNEL(hangup_handler_push)="dari-ended,s,1",GROUP(dari)=calls,GROUP(dari_second)=$${INSTANT:0:10},'
    "GROUP(dari_trunk)=$${CHANNEL(name):6:-9},ASKED=$${FILTER(0-9+,$${EXTEN})},AGIEXITONHANGUP=yes,TIMEOUT(absolute)=${claim_seconds}))",
    ' same => n,GotoIf($$["$${DARI_DIAL}" != ""]?dari-back,$${FILTER(0-9+,$${EXTEN})},1)',
    " same => n,StasisBroadcast(${claim_milliseconds},${app_filter},back:$${DIALSTATUS}:$${HANGUPCAUSE}:"
    "$${FILTER(0-9,$${HANGUPCAUSE($${HANGUPCAUSE_KEYS()},tech):4:3})})",
    " same => n,Goto(dari-incoming,$${FILTER(0-9+,$${EXTEN})},alone)",
    " same => n,Goto(dari-alone,$${FILTER(0-9+,$${EXTEN})},1)",
    "exten => s,1,Set(DIGITS=$${FILTER(0-9,$${NATIONAL_OF})})",
    " same => n,Set(PLUS=$${FILTER(+,$${NATIONAL_OF:0:1})})",
    " same => n,GotoIf($$[0$${LEN($${PLUS}$${DIGITS})} = 0$${LEN($${NATIONAL_OF})}]?:none)",
    " same => n,Set(CODE=0$${FILTER(0-9,$${HANGUPCAUSE($${LEG},tech):4:3})})",
    " same => n,Set(CDR(sip_call_id)=$${CHANNEL(pjsip,call-id)})",
)
"""Every line that reads what somebody else wrote, but for EXTEN where it is FILTERed already; of one with a condition
what is done if that does not hold."""

THEIRS = re.compile(
    r"\$\$\{(EXTEN|ALONE_SENT|NATIONAL_OF|CALLERID\((?!pres)|REDIRECTING|PJSIP_HEADER|HANGUPCAUSE\(|CHANNEL\(pjsip)"
)
FILTERED = "$${EXTEN},1"
"""The extension in dari-alone and its subroutines."""


def test_the_dialplan_reads_text_from_outside_in_these_lines_alone() -> None:
    dialplan = (PRODUCT_FILES / "dialplan" / "extensions.conf").read_text()
    before, alone = dialplan.split("[dari-alone]")
    assert FILTERED not in before
    lines = (before + alone.replace(FILTERED, "…")).replace("?Goto(full):", "\n").splitlines()
    assert {line for line in lines if THEIRS.search(line)} == set(OUTSIDE)


def test_nothing_is_evaluated_as_dialplan() -> None:
    dialplan = (PRODUCT_FILES / "dialplan" / "extensions.conf").read_text()
    assert not re.findall(r"\b(EVAL|SHELL|System|TrySystem|AGI|Exec|EVAL_EXTEN|Originate)\(", dialplan)
