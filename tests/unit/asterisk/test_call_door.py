"""The door at which the dialplan asks, spoken to over a plain socket as Asterisk does, on both event loops."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvloop
from structlog.testing import capture_logs

from engine.asterisk.call_door import Asked, call_door, door_key
from engine.asterisk.call_question import Question
from engine.foundation.errors import Invalid
from tests.eventually import PATIENCE, eventually
from tests.loopback import HOST, free_port

KEY = door_key("secret")
LINES = {
    "agi_network": "yes",
    "agi_network_script": KEY,
    "agi_channel": "PJSIP/carrier-0000000a",
    "agi_uniqueid": "1793577600.7",
    "agi_callerid": "01012345678",
    "agi_callingpres": "0",
    "agi_extension": "050712345678",
}
LONGEST = 4200
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Run = Callable[[Coroutine[object, object, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's story on the one loop and on the other."""

    def on_the_loop(story: Coroutine[object, object, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(asyncio.wait_for(story, PATIENCE))

    return on_the_loop


@dataclass(slots=True)
class Answers:
    """Who answers at the door: tells these values, or nothing."""

    values: dict[str, str] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    refused: str = ""
    """Why the values were not told."""

    async def __call__(self, asked: Asked) -> None:
        self.questions.append(asked.question)
        try:
            if self.values:
                asked.tell(self.values, LONGEST)
        except Invalid as error:
            self.refused = str(error)


def question(**changes: str) -> str:
    return "".join(f"{name}: {value}\n" for name, value in (LINES | changes).items()) + "\n"


class Dialplan:
    """Asterisk's end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def ask(self, **changes: str) -> None:
        self.send(question(**changes))

    def send(self, text: str) -> None:
        self._writer.write(text.encode())

    async def told(self) -> str:
        """The next command; empty: the line is closed."""
        try:
            return (await self._reader.readline()).decode()
        except ConnectionResetError:
            return ""

    def leave(self) -> None:
        self._writer.close()


@asynccontextmanager
async def asking(answer: Callable[[Asked], Awaitable[None]]) -> AsyncIterator[Dialplan]:
    """A line to a door where `answer` answers."""
    port = free_port()
    async with call_door(HOST, port, KEY, answer):
        dialplan = Dialplan(*await asyncio.open_connection(HOST, port))
        try:
            yield dialplan
        finally:
            dialplan.leave()


def test_what_is_told_is_one_command_and_then_the_dialplan_goes_on(run: Run) -> None:
    async def story() -> None:
        answers = Answers({"DARI_DIAL": "PJSIP/02@carrier", "REDIRECTING(count,i)": "1"})
        async with asking(answers) as dialplan:
            dialplan.ask()
            told = 'EXEC MSet "DARI_DIAL=PJSIP/02@carrier,REDIRECTING(count,i)=1,TIMEOUT(absolute)=4200"\n'
            assert await dialplan.told() == told
            assert await dialplan.told() == "", "the dialplan goes on when it has done it: there is no more to come"
            dialplan.send("200 result=0\n")
        (question,) = answers.questions
        assert (question.channel, question.number_sent) == ("1793577600.7", "050712345678")

    run(story())


def test_the_dialplan_goes_on_before_we_do_anything_else(run: Run) -> None:
    at_its_end = threading.Event()
    went_on: list[bool] = []

    async def answer(asked: Asked) -> None:
        asked.tell({"DARI_DIAL": "PJSIP/02@carrier"}, LONGEST)
        went_on.append(at_its_end.wait(PATIENCE / 2))  # the event loop does nothing meanwhile

    run(_asked_by_a_thread(answer, at_its_end))
    assert went_on == [True]


def test_the_dialplan_goes_on_too_when_we_have_no_descriptor_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(asked: Asked) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", _no_descriptor_left)
            asked.tell({"DARI_DIAL": "PJSIP/02@carrier"}, LONGEST)

    run(_asked_by_a_thread(answer, threading.Event()))


def _no_descriptor_left(_descriptor: int) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def _asked_by_a_thread(answer: Callable[[Asked], Awaitable[None]], at_its_end: threading.Event) -> None:
    """Returns at the end of the line, which the thread that asks sees by itself."""
    port = free_port()

    def ask() -> None:
        with socket.create_connection((HOST, port), timeout=PATIENCE) as line:
            line.sendall(question().encode())
            while line.recv(4096):
                pass
            at_its_end.set()

    async with call_door(HOST, port, KEY, answer):
        await asyncio.to_thread(ask)


def test_who_is_told_nothing_goes_on_at_once(run: Run) -> None:
    async def story() -> None:
        answers = Answers()
        async with asking(answers) as dialplan:
            dialplan.ask()
            assert await dialplan.told() == ""
        assert len(answers.questions) == 1

    run(story())


def test_a_question_may_come_in_pieces(run: Run) -> None:
    async def story() -> None:
        answers = Answers()
        async with asking(answers) as dialplan:
            lines = "".join(f"{name}: {value}\n" for name, value in LINES.items())
            for piece in (lines[:7], lines[7:], "\n"):
                dialplan.send(piece)
                await asyncio.sleep(0)
            assert await dialplan.told() == ""
        assert len(answers.questions) == 1

    run(story())


@pytest.mark.parametrize("key", ["", "guessed", KEY[:-1], f"{KEY}0", "\N{SNOWMAN}"])
def test_nobody_is_answered_without_the_key(run: Run, key: str) -> None:
    async def story() -> None:
        answers = Answers()
        async with asking(answers) as dialplan:
            dialplan.ask(agi_network_script=key)
            assert await dialplan.told() == ""
        assert answers.questions == []

    run(story())


def test_a_question_without_end_is_cut(run: Run) -> None:
    async def story() -> None:
        answers = Answers()
        async with asking(answers) as dialplan:
            dialplan.send("agi_network: yes\n" * 1000)
            assert await dialplan.told() == ""
        assert answers.questions == []

    run(story())


def test_it_is_known_whether_the_dialplan_still_waits(run: Run) -> None:
    async def story() -> None:
        was_asked, found = asyncio.Event(), list[bool]()

        async def patiently(asked: Asked) -> None:
            found.append(asked.waits)
            was_asked.set()
            while asked.waits:
                await asyncio.sleep(0.001)
            asked.tell({"DARI_DIAL": "PJSIP/02@carrier"}, LONGEST)  # to nobody
            found.append(asked.waits)

        async with asking(patiently) as dialplan:
            dialplan.ask()
            await was_asked.wait()
            dialplan.leave()
            await eventually(lambda: len(found) == 2)
        assert found == [True, False]

    run(story())


def test_a_caller_who_leaves_in_the_instant_of_the_answer_is_no_failure(run: Run) -> None:
    async def story() -> None:
        was_told = asyncio.Event()

        async def leaves_and_is_told(asked: Asked) -> None:
            line.close()  # the engine's loop has seen nothing of it when it writes
            asked.tell({"DARI_DIAL": "PJSIP/02@carrier"}, LONGEST)
            was_told.set()

        port = free_port()
        async with call_door(HOST, port, KEY, leaves_and_is_told):
            line = socket.create_connection((HOST, port))
            with capture_logs() as logs:
                line.sendall(question().encode())
                await was_told.wait()
                await asyncio.sleep(0.05)
        assert logs == []

    run(story())


@pytest.mark.parametrize("sign", [",", '"', "$", "{", "&", "\n", "\\", "|", ";", ")", "ㄱ"])
def test_a_sign_that_means_something_in_a_dialplan_is_never_told(run: Run, sign: str) -> None:
    async def story() -> None:
        answers = Answers({"DARI_DIAL": f"PJSIP/02{sign}@carrier"})
        async with asking(answers) as dialplan:
            dialplan.ask()
            assert await dialplan.told() == ""
        assert answers.refused == "DARI_DIAL: it holds signs that mean something in a dialplan"

    run(story())


@pytest.mark.parametrize(
    "caller",
    [
        "010\nagi_extension: 050799999999",
        "010\nagi_callingpres: 32",
        "010\nagi_uniqueid: 1.1",
        "010\n\nagi_extension: 050799999999",
        "010\n\nHANGUP\nagi_extension: 050799999999",
    ],
)
def test_a_caller_who_makes_lines_of_a_question_is_told_nothing(run: Run, caller: str) -> None:
    async def story() -> None:
        answers = Answers({"DARI_DIAL": "PJSIP/02@carrier"})
        async with asking(answers) as dialplan:
            with capture_logs() as logs:
                dialplan.ask(agi_callerid=caller)
                assert await dialplan.told() == ""
        assert answers.questions == []
        assert [line["log_level"] for line in logs] == ["warning"]

    run(story())


@pytest.mark.parametrize("times", [1, 2])
def test_a_question_is_known_for_which_nobody_waits_any_more(run: Run, times: int) -> None:
    async def story() -> None:
        waits = list[bool]()

        async def notes(asked: Asked) -> None:
            waits.append(asked.waits)

        async with asking(notes) as dialplan:
            with capture_logs() as logs:
                dialplan.send(question() + "HANGUP\n" * times)
                assert await dialplan.told() == ""
        assert (waits, logs) == ([False], [])

    run(story())


def test_several_engines_open_the_same_door_and_none_an_address_of_others(run: Run) -> None:
    async def story() -> None:
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Invalid, match="DARI_CALL_DOOR"):
                async with call_door(HOST, port, KEY, Answers()):
                    pass
        async with call_door(HOST, port, KEY, Answers()), call_door(HOST, port, KEY, Answers()):
            pass

    run(story())
