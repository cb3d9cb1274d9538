"""The bare loop, with commands that only write down what they were asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.bench.sides.programs.bare_loop import CreatingLoop, OriginatingLoop, Started, target_of

CALLER = {
    "id": "c1",
    "name": "PJSIP/car-rier-0000000a",
    "state": "Ring",
    "caller": {"number": "01012345678"},
    "dialplan": {"exten": "050712340001"},
}


class _Written:
    """Commands that all work."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(*arguments: str) -> None:
            self.asked.append((name, *arguments))

        return ask


async def _told(*events: dict[str, Any], creates: bool = False) -> list[tuple[str, ...]]:
    commands = _Written()
    loop = (CreatingLoop if creates else OriginatingLoop)(commands, Started())
    for event in events:
        loop.take(event)
        for _ in range(5):
            await asyncio.sleep(0)
    return commands.asked


def _start(channel: dict[str, Any], *arguments: str) -> dict[str, Any]:
    return {"type": "StasisStart", "args": list(arguments), "channel": channel}


async def test_a_call_is_rung_answered_and_connected_and_both_ends_are_cleared() -> None:
    asked = await _told(
        _start(CALLER),
        _start({"id": "t-c1"}, "callee"),
        {"type": "ChannelHangupRequest", "channel": {"id": "c1"}},
        {"type": "ChannelDestroyed", "channel": {"id": "c1"}},
        {"type": "ChannelDestroyed", "channel": {"id": "t-c1"}},
    )
    assert asked == [
        ("originate", "PJSIP/023450001@car-rier", "t-c1", "c1", "01012345678"),
        ("answer", "c1"),
        ("make_bridge", "b-c1"),
        ("connect", "b-c1", "c1,t-c1"),
        ("hang_up", "t-c1"),
        ("destroy", "b-c1"),
    ]


async def test_with_create_it_dials_first_and_talks_when_the_target_is_up() -> None:
    asked = await _told(
        _start(CALLER),
        _start({"id": "t-c1"}, "callee"),
        {"type": "ChannelStateChange", "channel": {"id": "t-c1", "state": "Up"}},
        {"type": "ChannelStateChange", "channel": {"id": "c1", "state": "Up"}},
        creates=True,
    )
    assert [name for name, *_ in asked] == ["create", "dial", "answer", "make_bridge", "connect"]


async def test_a_target_that_fails_takes_the_caller_with_it() -> None:
    asked = await _told(_start(CALLER), {"type": "ChannelDestroyed", "channel": {"id": "t-c1"}})
    assert asked[1:] == [("hang_up", "c1"), ("destroy", "b-c1")]


async def test_a_target_whose_caller_has_gone_is_hung_up() -> None:
    assert await _told(_start({"id": "t-c9"}, "callee")) == [("hang_up", "t-c9")]


def test_a_target_is_behind_the_trunk_that_the_call_came_by() -> None:
    assert target_of("050712349001", "PJSIP/probe-00000001") == "PJSIP/023459001@probe"
