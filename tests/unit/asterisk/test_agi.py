"""The FastAGI transport, spoken to over a plain socket as Asterisk does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import pytest

from engine.asterisk.agi import MOST_AT_ONCE, AgiRequest, Script, agi_server, exact, words
from engine.foundation.errors import Invalid, TryLater
from tests.loopback import HOST

SECONDS = 20.0
"""So long that only a request that hangs ever comes near."""


class Dialplan:
    """Asterisk's end: sends what it knows of the channel, sets the variables that it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.commands: list[str] = []

    @property
    def variables(self) -> dict[str, str]:
        found = (re.fullmatch(r'SET VARIABLE (\w+) "(.*)"', command) for command in self.commands)
        return {match[1]: match[2] for match in found if match}

    async def ask(self, script: str, **facts: str) -> dict[str, str]:
        """The variables set until the other side has closed."""
        head = {"network": "yes", "network_script": script, "extension": "050712345678"} | facts
        self.writer.write("".join(f"agi_{name}: {value}\n" for name, value in head.items()).encode() + b"\n")
        async with asyncio.timeout(30):
            while line := await self.reader.readline():
                self.commands.append(line.decode().rstrip("\n"))
                self.writer.write(b"200 result=1\n")
        self.writer.close()
        return self.variables


async def connected(address: tuple[str, int]) -> Dialplan:
    return Dialplan(*await asyncio.open_connection(*address))


async def echo(request: AgiRequest) -> Mapping[str, str]:
    return {"DARI_NUMBER": request.query.get("number", request.facts["agi_extension"])}


async def hangs(_request: AgiRequest) -> Mapping[str, str]:
    await asyncio.Event().wait()
    return {}


async def away(_request: AgiRequest) -> Mapping[str, str]:
    raise TryLater('the numbers are not known yet; "try" again, ${later}')


async def evil(_request: AgiRequest) -> Mapping[str, str]:
    return {"DARI_X": 'x"\nEXEC Hangup'}


SCRIPTS: dict[str, Script] = {"echo": echo, "hangs": hangs, "away": away, "evil": evil}


async def test_answers_are_channel_variables() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        told = await (await connected(address)).ask("echo")
    assert told == {"DARI_NUMBER": "050712345678", "DARI_STATUS": "OK"}


async def test_the_query_of_the_address_reaches_the_script_a_plus_too() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        told = await (await connected(address)).ask("echo?number=+825071234567&caller=")
    assert told["DARI_NUMBER"] == "+825071234567"


async def test_a_failure_is_told_and_holds_nothing_that_a_dialplan_reads() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        told = await (await connected(address)).ask("away")
    assert told == {"DARI_REASON": "the numbers are not known yet try again later", "DARI_STATUS": "FAILED"}


async def test_no_script_of_that_name() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        told = await (await connected(address)).ask("nothing")
    assert told["DARI_STATUS"] == "FAILED"
    assert "none of that name" in told["DARI_REASON"]


async def test_a_value_that_would_break_out_is_never_sent() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        asking = await connected(address)
        told = await asking.ask("evil")
    assert told["DARI_STATUS"] == "FAILED"
    assert not any("EXEC" in command for command in asking.commands)


async def test_a_script_that_hangs_is_given_up_in_its_time() -> None:
    async with agi_server(HOST, 0, SCRIPTS, 0.05) as address:
        told = await (await connected(address)).ask("hangs")
    assert told == {"DARI_REASON": "no answer within 0.05 s", "DARI_STATUS": "FAILED"}


async def test_a_request_that_never_ends_is_closed_in_its_time() -> None:
    async with agi_server(HOST, 0, SCRIPTS, 0.05) as address:
        asking = await connected(address)
        asking.writer.write(b"agi_network: yes\n")
        async with asyncio.timeout(30):
            assert await asking.reader.read() == b""
        asking.writer.close()


@pytest.mark.parametrize("sent", [b"", b"agi_network: yes\n", b"x" * 100_000, b"\xff\xfe\n\n", b"\n\n"])
async def test_what_is_no_request_disturbs_nobody(sent: bytes) -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        stranger = await connected(address)
        stranger.writer.write(sent)
        stranger.writer.write_eof()
        stranger.writer.transport.abort()
        told = await (await connected(address)).ask("echo")
    assert told["DARI_STATUS"] == "OK"


async def test_a_caller_who_hangs_up_meanwhile_disturbs_nobody() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        asking = await connected(address)
        asking.writer.write(b"agi_network_script: echo\nagi_extension: 1\n\n")
        assert await asking.reader.readline()
        asking.writer.write(b"HANGUP\n")
        async with asyncio.timeout(30):
            await asking.reader.read()
        asking.writer.close()
        told = await (await connected(address)).ask("echo")
    assert told["DARI_STATUS"] == "OK"


async def test_more_at_once_than_allowed_are_closed_and_not_left_waiting() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as address:
        waiting = [await connected(address) for _ in range(MOST_AT_ONCE)]
        one_more = await connected(address)
        async with asyncio.timeout(30):
            assert await one_more.reader.read() == b""
        for dialplan in (*waiting, one_more):
            dialplan.writer.close()


async def test_closing_lets_every_dialplan_go_and_leaves_nothing_running() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits(_request: AgiRequest) -> Mapping[str, str]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    async with agi_server(HOST, 0, {"waits": waits}, SECONDS) as address:
        asking = await connected(address)
        asking.writer.write(b"agi_network_script: waits\n\n")
        async with asyncio.timeout(30):
            await begun.wait()
    assert ended.is_set()
    try:
        async with asyncio.timeout(30):
            heard = await asking.reader.read()
    except ConnectionError:
        heard = b""
    assert heard == b""
    asking.writer.close()


async def test_an_address_that_is_taken() -> None:
    async with agi_server(HOST, 0, SCRIPTS, SECONDS) as (host, port):
        with pytest.raises(Invalid, match="DARI_AGI_BIND"):
            async with agi_server(host, port, SCRIPTS, SECONDS):
                pass


def test_exact_values_hold_only_harmless_signs() -> None:
    assert exact("/var/lib/dari/sounds/ko/closed&x", "sound")
    for bad in ('a"b', "a,b", "${X}", "a;b", "a|b", "a(b)", "a\nb", "소리"):
        with pytest.raises(Invalid):
            exact(bad, "sound")


def test_words_keep_letters_and_lose_signs() -> None:
    assert words('평일 낮: ${EVIL}, "x"; (y)') == "평일 낮: EVIL x y"
