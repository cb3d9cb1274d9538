"""Calls, recordings, messages, prompts, simulation and trunks over the API."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import grants
from engine.accounts.model import LOCAL_OPERATOR, AccountKind, Role
from engine.cdr.model import Result
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.prompts.telephone_sound import WIDE_RATE, pcm, wav
from engine.routing.plan import plan
from engine.whatif.asked import read_from_database
from tests.hand_clock import HandClock
from tests.sounds_left import inside, talk
from tests.tones import tone
from tests.trade_desk import TARGET, TradeDesk, trade_desk

NUMBER = "05071234567"
SOUND = wav(pcm(tone(700, 0.5, WIDE_RATE) / 32768), WIDE_RATE)
WAV = {"Content-Type": "audio/wav"}
WHY = {"Dari-Reason": "a%20complaint"}


@pytest.fixture
async def desk(database: AsyncEngine, tmp_path: Path) -> AsyncIterator[TradeDesk]:
    async with trade_desk(database, tmp_path, clock=HandClock()) as opened:
        yield opened


async def shop_with_key(desk: TradeDesk, name: str = "다리분식") -> tuple[UUID, str]:
    shop = await desk.account(name)
    return shop.id, await desk.key(shop.id)


def tick(desk: TradeDesk, **time: float) -> None:
    assert isinstance(desk.clock, HandClock)
    desk.clock.advance(timedelta(**time))


async def several(desk: TradeDesk, account: UUID | None, count: int) -> list[str]:
    """So many calls, a second apart; their ids, the newest first."""
    made = []
    for _ in range(count):
        made.append(str((await desk.call(account)).call_id))
        tick(desk, seconds=1)
    return made[::-1]


async def test_calls_are_paged_from_the_newest_on(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    other, _ = await shop_with_key(desk, "other")
    made = await several(desk, shop, 5)
    await several(desk, other, 2)
    found: list[str] = []
    query = {"limit": "2"}
    while True:
        page = (await desk.ask("GET", "/calls", key, query=query)).json
        found += [call["call_id"] for call in page["items"]]
        if page["next"] is None:
            break
        await several(desk, shop, 1)  # what comes meanwhile moves nothing
        query["cursor"] = page["next"]
    assert found == made


async def test_calls_are_found_by_number_time_result_and_caller(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    busy = await desk.call(shop, "05077654321", result=Result.BUSY, caller=PhoneNumber("01099998888"))
    tick(desk, minutes=10)
    talked = await desk.call(shop, NUMBER)
    since = (talked.arrived_at - timedelta(minutes=1)).isoformat()
    for query, wanted in (
        ({"number": "0507-765-4321"}, busy),
        ({"number": "+8250 7765 4321"}, busy),
        ({"result": "busy"}, busy),
        ({"from": since}, talked),
        ({"to": since}, busy),
    ):
        found = (await desk.ask("GET", "/calls", key, query=query)).json["items"]
        assert [call["call_id"] for call in found] == [str(wanted.call_id)], query
    body = {"caller": "010-9999-8888", "from": "2026-01-01T00:00:00+09:00"}
    found = (await desk.ask("POST", "/calls/search", key, body=body)).json["items"]
    assert found[0]["caller"] == {"national": "01099998888", "e164": "+821099998888"}
    assert len(found) == 1
    assert (await desk.ask("GET", "/calls", key, query={"since": "start", "cursor": "x"})).code == "invalid"


async def test_the_log_is_pulled_without_gap_or_repetition(desk: TradeDesk) -> None:
    agency = await desk.account("agency", AccountKind.AGENCY)
    shop = await desk.account("shop", parent=agency.id)
    key = await desk.key(agency.id)
    made: list[str] = []
    pulled: list[str] = []
    place = "start"
    for _ in range(4):
        made += (await several(desk, shop.id, 3))[::-1]
        more = True
        while more:
            page = (await desk.ask("GET", "/calls", key, query={"since": place, "limit": "2"})).json
            pulled += [call["call_id"] for call in page["items"]]
            place, more = page["next"], page["more"]
    assert pulled == made
    other, others = await shop_with_key(desk, "another")
    assert (await desk.ask("GET", "/calls", others, query={"since": place})).code == "invalid"
    assert (await desk.ask("GET", "/calls", others, query={"since": "start"})).json["items"] == []
    operator = await desk.key()
    named = {"since": "start", "account": str(agency.id), "limit": "500"}
    assert len((await desk.ask("GET", "/calls", operator, query=named)).json["items"]) == len(made)
    del other


async def test_one_call_tells_what_it_went_through(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    _, stranger = await shop_with_key(desk, "stranger")
    record = await desk.call(shop)
    told = (await desk.ask("GET", f"/calls/{record.call_id}", key)).json
    assert (told["result"], told["talk_seconds"], told["recorded"]) == ("answered", 42.5, False)
    assert told["legs"][0]["number"] == {"national": str(record.target), "e164": "+82212345678"}
    assert told["steps"][0]["kind"] == "ringback"
    assert (await desk.ask("GET", f"/calls/{record.call_id}", stranger)).code == "not_found"


async def test_recording_is_heard_whole_and_in_parts_and_each_time_written_down(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    record = await desk.recorded(shop)
    figures = (await desk.ask("GET", "/recordings", key)).json["items"]
    assert [(one["call_id"], one["kind"], round(one["seconds"])) for one in figures] == [
        (str(record.call_id), "talk", 3)
    ]
    audio = f"/calls/{record.call_id}/recordings/talk/audio"
    whole = await desk.ask("GET", audio, key)
    assert (whole.status, whole.headers["Content-Type"], whole.headers["Accept-Ranges"]) == (200, "audio/wav", "bytes")
    file = desk.equipment.sounds / "heard.wav"
    file.write_bytes(whole.raw)
    assert inside(file)[2] == talk(3.0)
    size = len(whole.raw)
    for asked, first, last in (
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, size - 1),
        ("bytes=-10", size - 10, size - 1),
        (f"bytes=5-{size * 2}", 5, size - 1),
    ):
        part = await desk.ask("GET", audio, key, headers={"Range": asked})
        assert (part.status, part.headers["Content-Range"]) == (206, f"bytes {first}-{last}/{size}"), asked
        assert part.raw == whole.raw[first : last + 1], asked
    beyond = await desk.ask("GET", audio, key, headers={"Range": f"bytes={size}-"})
    assert (beyond.code, beyond.headers["Content-Range"]) == ("range_not_satisfiable", f"bytes */{size}")
    for odd in ("bytes=9-1", "bytes=-", "lines=1-2", "bytes=0-1,4-5"):
        assert (await desk.ask("GET", audio, key, headers={"Range": odd})).raw == whole.raw, odd
    async with transaction(desk.database) as connection:
        heard = await connection.scalar(text("SELECT count(*) FROM recording_access WHERE granted AND deed = 'listen'"))
        assert heard == 9
        audited = text("SELECT count(*) FROM audit WHERE deed = 'hear recordings' AND account_id = :shop")
        assert await connection.scalar(audited, {"shop": shop}) >= heard


async def test_agency_sees_figures_and_hears_only_while_the_shop_lets_it(desk: TradeDesk) -> None:
    agency = await desk.account("agency", AccountKind.AGENCY)
    shop = await desk.account("shop", parent=agency.id)
    manager = await desk.user(agency.id, Role.AGENCY, "manager@example.com")
    owner = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    record = await desk.recorded(shop.id)
    audio = f"/calls/{record.call_id}/recordings/talk/audio"
    assert len((await desk.ask("GET", f"/calls/{record.call_id}/recordings", manager)).json["recordings"]) == 1
    assert (await desk.ask("GET", audio, manager, headers=WHY)).code == "not_allowed"
    async with transaction(desk.database) as connection:
        refused = text("SELECT who, reason FROM recording_access WHERE NOT granted")
        (line,) = (await connection.execute(refused)).all()
        assert (line.who.startswith("user:"), line.reason) == (True, "a complaint")
    until = (desk.clock.now() + timedelta(days=1)).isoformat()
    wish = {"to_account": str(agency.id), "until": until, "reason": "교육"}
    granted = await desk.ask("POST", f"/accounts/{shop.id}/listening-grants", owner, body=wish)
    assert granted.status == 201, granted
    assert (await desk.ask("GET", audio, manager, headers=WHY)).status == 200
    assert (await desk.ask("POST", f"/listening-grants/{granted.json['id']}/take-back", owner)).status == 200
    assert (await desk.ask("GET", audio, manager, headers=WHY)).status == 403
    async with transaction(desk.database) as connection:
        await grants.give(
            connection,
            LOCAL_OPERATOR,
            shop.id,
            agency.id,
            desk.clock.now(),
            until=desk.clock.now() + timedelta(hours=1),
            reason="교육",
            evidence="a letter",
        )
    assert (await desk.ask("GET", audio, manager, headers=WHY)).status == 200
    tick(desk, minutes=59)
    assert (await desk.ask("GET", audio, manager, headers=WHY)).status == 200
    tick(desk, minutes=2)
    assert (await desk.ask("GET", audio, manager, headers=WHY)).status in (401, 403)


async def test_recording_is_held_and_let_go(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    record = await desk.recorded(shop)
    path = f"/calls/{record.call_id}/recordings/talk"
    assert (await desk.ask("POST", f"{path}/hold", key, body={"reason": "분쟁"})).status == 204
    assert (await desk.ask("GET", "/recordings", key)).json["items"][0]["held"] is True
    assert (await desk.ask("POST", f"{path}/release", key, body={"reason": "끝"})).status == 204
    assert (await desk.ask("GET", "/recordings", key)).json["items"][0]["held"] is False
    assert (await desk.ask("POST", f"{path}/hold", key, body={"reason": " "})).code == "invalid"


async def test_message_tells_every_rule_that_was_asked(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, NUMBER, callback="[다리분식] 감사합니다.")
    message = await desk.messaged(shop, number)
    listed = (await desk.ask("GET", "/messages", key, query={"number": number})).json["items"]
    assert [(one["id"], one["status"]) for one in listed] == [(str(message.id), message.status.value)]
    whole = (await desk.ask("GET", f"/messages/{message.id}", key)).json
    assert (whole["text"], len(whole["certificate"])) == (message.text, len(message.certificate))
    assert whole["recipient"]["e164"].startswith("+82")
    assert (await desk.ask("GET", "/messages", key, query={"status": "failed"})).json["items"] == []


async def test_a_voice_is_put_over_music_that_the_account_has(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    prompts = f"/accounts/{shop}/prompts"
    for name in ("음악", "목소리"):
        await desk.ask("POST", f"{prompts}/{name}/upload", key, raw=SOUND, headers=WAV)
    timed = {"music": "음악", "before": 2, "after": 1}
    recorded = await desk.ask("POST", f"{prompts}/인사말/mix", key, body=timed | {"voice": "목소리"})
    told = {name: recorded.json[name] for name in ("version", "origin", "source", "voice", "music")}
    assert told == {"version": 1, "origin": "mix", "source": "목소리", "voice": None, "music": "음악"}, recorded
    spoken = await desk.ask("POST", f"{prompts}/인사말/mix", key, body=timed | {"text": "다리분식입니다."})
    assert (spoken.json["version"], spoken.json["voice"]) == (2, "announcer/low"), spoken
    versions = (await desk.ask("GET", f"{prompts}/목소리", key)).json["versions"]
    assert recorded.json["seconds"] == pytest.approx(versions[0]["seconds"] + 3, abs=0.1)
    for wrong in (timed, timed | {"voice": "목소리", "text": "둘 다"}, timed | {"text": "큰", "music_level": 7}):
        assert (await desk.ask("POST", f"{prompts}/인사말/mix", key, body=wrong)).code == "invalid"
    missing = await desk.ask("POST", f"{prompts}/인사말/mix", key, body=timed | {"voice": ".."})
    assert (missing.code, len((await desk.ask("GET", f"{prompts}/인사말", key)).json["versions"])) == ("not_found", 2)


async def test_what_would_be_heard_is_a_sound(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    asked = {"number": str(number), "at": "2026-11-23T03:00:00Z"}

    async def heard(**more: object) -> tuple[int, float]:
        answer = await desk.ask("POST", "/simulate/sound", key, body=asked | more)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "audio/wav"), answer
        with wave.open(BytesIO(answer.raw)) as file:
            return file.getnchannels(), file.getnframes() / file.getframerate()

    channels, soon = await heard(answer_after=3)
    assert channels == 1
    assert (await heard(answer_after=13))[1] == pytest.approx(soon + 10, abs=0.01)
    assert (await heard(stereo=True, outcome="no answer"))[0] == 2
    _, stranger = await shop_with_key(desk, "stranger")
    assert (await desk.ask("POST", "/simulate/sound", stranger, body=asked)).code == "not_found"


async def test_prompt_is_uploaded_spoken_heard_and_turned_back(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    prompt = f"/accounts/{shop}/prompts/인사말"
    uploaded = await desk.ask("POST", f"{prompt}/upload", key, raw=SOUND, headers=WAV, query={"file": "인사.wav"})
    assert (uploaded.status, uploaded.json["version"], uploaded.json["source"]) == (201, 1, "인사.wav"), uploaded
    spoken = await desk.ask("POST", f"{prompt}/speech", key, body={"text": "다리분식입니다."})
    assert (spoken.json["version"], spoken.json["voice"]) == (2, "announcer/low")
    read = await desk.ask("GET", prompt, key)
    assert (read.json["current"], len(read.json["versions"])) == (2, 2)
    back = await desk.ask("PUT", f"{prompt}/current", key, body={"version": 1}, headers={"If-Match": read.etag})
    assert back.json["current"] == 1
    sound = await desk.ask("GET", f"{prompt}/versions/1/sound", key)
    assert (sound.headers["Content-Type"], sound.raw[:4]) == ("audio/wav", b"RIFF")
    number = await desk.number(shop, NUMBER)
    tag = (await desk.ask("GET", f"/numbers/{number}", key)).etag
    change = {"treatment": {"notice": "prompt:인사말"}}
    assert (await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": tag})).status == 200
    assert (await desk.ask("DELETE", prompt, key)).code == "conflict"
    assert (await desk.ask("DELETE", f"{prompt}/versions/2", key)).status == 204
    assert (await desk.ask("GET", "/voices", key)).json == {"voices": ["announcer/low"]}


async def test_an_upload_that_is_no_sound_is_refused_by_its_name(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    prompt = f"/accounts/{shop}/prompts/x"
    refused = await desk.ask(
        "POST", f"{prompt}/upload", key, raw=b"no sound", headers=WAV, query={"file": "a/../b.wav"}
    )
    assert refused.code == "invalid"
    assert refused.json["detail"].startswith("file: b.wav cannot be")
    other = await desk.ask("POST", f"{prompt}/upload", key, raw=SOUND, headers={"Content-Type": "text/html"})
    assert other.code == "wrong_media_type"
    assert (await desk.ask("GET", f"/accounts/{shop}/prompts", key)).json == {"prompts": []}


async def test_simulation_says_what_the_plan_says(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, NUMBER, callback="[다리분식] 감사합니다.")
    rule = {"name": "성탄절", "condition": {"dates": [{"first": "2026-12-25", "last": "2026-12-25"}]}}
    closed = rule | {"treatment": {"announcement": "ko/closed"}}
    assert (await desk.ask("POST", f"/numbers/{number}/rules", key, body=closed)).status == 201
    asked = {"number": number, "caller": "010-2345-6789"}
    holiday = (await desk.ask("POST", "/simulate", key, body=asked | {"at": "2026-12-25T09:00:00+09:00"})).json
    assert (holiday["announcement"]["sound"], holiday["at"]) == ("ko/closed", "2026-12-25T00:00:00Z")
    workday = (await desk.ask("POST", "/simulate", key, body=asked | {"at": "2026-12-28T03:00:00Z"})).json
    assert workday["forwarding"]["stages"][0]["telephones"][0]["number"]["national"] == TARGET
    assert workday["messages"][0]["sent"] is True
    async with transaction(desk.database) as connection:
        caller, at = PhoneNumber("01023456789"), desk.clock.now()
        read = await read_from_database(connection, PhoneNumber(NUMBER), caller, lambda _line: at)
    now = (await desk.ask("POST", "/simulate", key, body=asked)).json
    made = plan(read.line, caller, at, read.history, 30)
    assert [one["rule"] for one in now["rules"]] == [one.rule for one in made.asked]
    _, stranger = await shop_with_key(desk, "stranger")
    foreign = await desk.ask("POST", "/simulate", stranger, body=asked)
    unknown = await desk.ask("POST", "/simulate", stranger, body={"number": "0507-999-9999"})
    assert (foreign.code, unknown.code) == ("not_found", "not_found")


async def test_trunks_are_the_operators_and_their_password_is_told_to_nobody(desk: TradeDesk) -> None:
    operator = await desk.key()
    wanted = {
        "name": "carrier",
        "match": ["192.0.2.10"],
        "contact": "sip:192.0.2.10",
        "login": {"user": "dari", "password": "hush-hush"},
        "register": True,
        "max_calls": 30,
    }
    made = await desk.ask("POST", "/trunks", operator, body=wanted)
    assert (made.status, made.json["user"], made.json["register"]) == (201, "dari", True), made
    change = {"max_calls": None, "priority": 5}
    changed = await desk.ask("PATCH", "/trunks/carrier", operator, body=change, headers={"If-Match": made.etag})
    assert (changed.json["max_calls"], changed.json["priority"], changed.json["user"]) == (None, 5, "dari"), changed
    listed = await desk.ask("GET", "/trunks", operator)
    assert listed.json["states"] == []
    assert b"hush" not in made.raw + changed.raw + listed.raw
    async with transaction(desk.database) as connection:
        written = await connection.scalar(text("SELECT string_agg(CAST(after AS text), '') FROM audit"))
        assert "carrier" in written
        assert "hush" not in written
    assert (await desk.ask("POST", "/trunks", operator, body=wanted)).code == "conflict"
    assert (await desk.ask("DELETE", "/trunks/carrier", operator)).status == 204
    _, key = await shop_with_key(desk)
    assert (await desk.ask("GET", "/trunks", key)).status == 404


async def test_an_order_that_is_sent_twice_is_placed_once(desk: TradeDesk) -> None:
    await desk.stock("050712341234", "050712341111")
    shop, key = await shop_with_key(desk)
    order = {"account": str(shop), "count": 1}
    once = [
        await desk.ask("POST", "/number-orders", key, body=order, headers={"Idempotency-Key": "o-1"}) for _ in range(2)
    ]
    assert once[0].json == once[1].json
    assert len((await desk.ask("GET", "/number-orders", key)).json["items"]) == 1


async def test_without_an_engine_live_calls_are_said_to_be_unknown(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    await desk.number(shop, NUMBER)
    assert (await desk.ask("GET", "/live-calls", key)).code == "try_later"
    order = {"number": NUMBER, "first": "02-1111-2222"}
    assert (await desk.ask("POST", "/live-calls", key, body=order)).code == "try_later"
