"""The call engine with a carrier that is not ours: SIPp calls and SIPp answers, and counts by itself how it went."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from engine.cdr.model import CallRecord, Result, StepKind
from engine.cdr.model import Side as Party
from engine.foundation.phone_number import PhoneNumber
from engine.sandbox import g711
from engine.sandbox.carrier import Carrier
from engine.sandbox.sdp import Codec
from engine.trunks.model import Trunk
from tests import sipp
from tests.engine_rig import Rig, engine_on, left_over, make_sounds, number_set
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk
from tests.sipp import Side, Told
from tests.tones import strongest, tone

SERVER, CARRIER = (loopback(22, host) for host in (31, 32))
SIP, SHOP = f"{SERVER}:5060", f"{CARRIER}:5070"
NUMBER = "050712345678"
ACCOUNT = UUID("01900000-0000-7000-8000-000000000001")
SHOPS_TONE = 600  # Hz


@pytest.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("ast")
    make_sounds(folder / "sounds")
    running = await start_asterisk(folder, SERVER, [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{SHOP}")])
    yield running
    await running.stop()


@pytest.fixture
async def rig(asterisk: RunningAsterisk, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine with one number, whose calls are recorded. Whatever a test does, nothing of it may stay in Asterisk."""
    number = number_set(ACCOUNT, number=PhoneNumber(NUMBER), whisper=None, record=True)
    async with Carrier(CARRIER, 0, (SERVER, 5060)) as unused, engine_on(asterisk, tmp_path, [number], unused) as rig:
        yield rig
    assert await left_over(asterisk) == ([], [])


async def test_callers_of_either_codec_are_answered_and_talk_with_the_shop(
    asterisk: RunningAsterisk, rig: Rig, tmp_path: Path
) -> None:
    """Ten calls a second, half of them with each codec. The callers' telephones send back what they hear."""
    (tmp_path / "tone.alaw").write_bytes(g711.encode(Codec.PCMA, tone(SHOPS_TONE, 1.0)))
    shop = Side("shop-answers", SHOP, 40, tmp_path, ("-d", "300", "-min_rtp_port", "26000", "-max_rtp_port", "27998"))

    def caller(codec: str, payload: str, port: int) -> Side:
        named = ("-key", "codec", codec, "-key", "payload", payload)
        echo = ("-rtp_echo", "-min_rtp_port", str(port + 20000), "-max_rtp_port", str(port + 20008))
        return Side("caller-talks", f"{CARRIER}:{port}", 20, tmp_path, (*named, *echo, "-d", "1000"))

    async with sipp.shop(shop) as answering:
        mu_law, a_law = await asyncio.gather(
            sipp.calls_from(caller("PCMU", "0", 5080), to=SIP, number=NUMBER, rate=5),
            sipp.calls_from(caller("PCMA", "8", 5090), to=SIP, number=NUMBER, rate=5),
        )
        for told, calls in ((mu_law, 20), (a_law, 20), (await answering.told(), 40)):
            told.went_well(calls)

    assert set(re.findall(r"m=audio \d+ RTP/AVP (.*?)\r?\n", mu_law.messages)) == {"0"}, "another codec than offered"
    assert set(re.findall(r"m=audio \d+ RTP/AVP (.*?)\r?\n", a_law.messages)) == {"8"}, "another codec than offered"
    for told in (mu_law, a_law):
        sent_back = re.search(r"(\d+) Total echo RTP pckts 1st stream", told.output)
        assert sent_back
        assert int(sent_back[1]) >= 20 * 50, "less than a second of sound for each caller"
    records = await the_records(rig, mu_law, a_law)
    for record in records:
        assert (record.result, record.ended_by) == (Result.ANSWERED, Party.CALLER)
        await both_heard_the_shops_tone(rig, record)
    await asterisk_wrote_the_same(asterisk, records)


@pytest.mark.parametrize(
    ("scenario", "milliseconds"),
    [("shop-is-busy", "0"), ("shop-rings-then-busy", "400")],
    ids=["busy", "180, then 486"],
)
async def test_callers_of_a_busy_shop_are_refused_and_never_answered(
    asterisk: RunningAsterisk, rig: Rig, tmp_path: Path, scenario: str, milliseconds: str
) -> None:
    async with sipp.shop(Side(scenario, SHOP, 20, tmp_path, ("-d", milliseconds))) as answering:
        caller = Side("caller-meets-busy", f"{CARRIER}:5080", 20, tmp_path)
        told = await sipp.calls_from(caller, to=SIP, number=NUMBER, rate=10)
        told.went_well(20)
        (await answering.told()).went_well(20)

    records = await the_records(rig, told)
    assert {(record.result, record.ended_by) for record in records} == {(Result.BUSY, Party.TARGET)}
    assert {record.ringing_at is not None for record in records} == {milliseconds != "0"}
    assert "SIP/2.0 200" not in told.messages
    await asterisk_wrote_the_same(asterisk, records)


async def test_callers_who_give_up_end_the_ringing_at_the_shop(
    asterisk: RunningAsterisk, rig: Rig, tmp_path: Path
) -> None:
    async with sipp.shop(Side("shop-rings-on", SHOP, 20, tmp_path)) as answering:
        caller = Side("caller-gives-up", f"{CARRIER}:5080", 20, tmp_path, ("-d", "1500"))
        told = await sipp.calls_from(caller, to=SIP, number=NUMBER, rate=10)
        told.went_well(20)
        (await answering.told()).went_well(20)

    records = await the_records(rig, told)
    assert {(record.result, record.ended_by) for record in records} == {(Result.CALLER_GAVE_UP, Party.CALLER)}
    assert all(any(step.kind is StepKind.RECORDING_NOTICE for step in record.steps) for record in records)
    await asterisk_wrote_the_same(asterisk, records)


async def the_records(rig: Rig, *told: Told) -> list[CallRecord]:
    """The records of all calls that SIPp says it made; fails unless each has exactly one, and nothing else has any."""
    made = {call_id for one in told for call_id in re.findall(r"^Call-ID: *(\S+)\r?$", one.messages, re.MULTILINE)}
    await eventually(lambda: len(rig.records) >= len(made))
    assert sorted(record.sip_call_id or "" for record in rig.records) == sorted(made)
    assert len({record.call_id for record in rig.records}) == len(made)
    return rig.records


async def both_heard_the_shops_tone(rig: Rig, record: CallRecord) -> None:
    """Left, the caller: it only sends back what it hears. So the shop's tone there went both ways."""
    file = rig.monitor / f"{record.call_id}.raw"
    whole = int(2 * 2 * 8000 * (record.talk_seconds - 0.3))
    await eventually(lambda: file.stat().st_size >= whole)
    sides = np.fromfile(file, "<i2").reshape(-1, 2).astype(np.float64)
    talk = sides[4000:]
    assert record.talk_seconds > 0.8
    for side in (0, 1):
        assert strongest(talk[:, side]) == pytest.approx(SHOPS_TONE, abs=10), f"channel {side} of {file}"
        assert np.sqrt(np.mean(talk[:, side] ** 2)) > 1000, f"channel {side} of {file} is silent"


async def asterisk_wrote_the_same(asterisk: RunningAsterisk, records: list[CallRecord]) -> None:
    """Asterisk's own file has each call once, answered or not as our record says."""
    ours = {record.legs[0].channel: record.result is Result.ANSWERED for record in records}

    def theirs() -> list[tuple[str, bool]]:
        with asterisk.call_records.open() as lines:
            return sorted((line[0], line[11] == "ANSWERED") for line in csv.reader(lines) if line[0] in ours)

    await eventually(lambda: len(theirs()) >= len(ours))
    assert theirs() == sorted(ours.items())
