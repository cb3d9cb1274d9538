"""The manager connection: what panoramisk would get wrong if left to itself."""

from __future__ import annotations

import asyncio
import logging

import pytest
import structlog

from engine.asterisk.commands import ChannelGone, OutcomeUnknown
from engine.asterisk.manager import Manager
from engine.foundation.errors import Invalid, NotAllowed, NotFound, TryLater
from tests.eventually import PATIENCE
from tests.fake_ami import Action, FakeAmi

SECRET = "never-to-be-seen"


def manager_of(server: FakeAmi, timeout: float = 5.0, heartbeat: float = 4.0) -> Manager:
    return Manager(server.host, server.port, "dari", SECRET, timeout=timeout, heartbeat=heartbeat)


async def until_connected(manager: Manager) -> None:
    async with asyncio.timeout(PATIENCE):
        while not manager.connected:
            await asyncio.sleep(0.01)


async def test_recording_is_one_action_with_the_channels_name() -> None:
    async with FakeAmi() as server, manager_of(server) as manager:
        await manager.record("PJSIP/carrier-00000001", "/spool/x.raw", "bD")
        login, record = server.actions
    assert (login["Action"], login["Username"], login["Events"]) == ("Login", "dari", "off")
    del record["ActionID"]
    assert record == {
        "Action": "MixMonitor",
        "Channel": "PJSIP/carrier-00000001",
        "File": "/spool/x.raw",
        "Options": "bD",
    }


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("No such channel", ChannelGone),
        ("Database entry not found", NotFound),
        ("Permission denied", NotAllowed),
        ("Could not stop monitoring channel", Invalid),
    ],
)
async def test_refusal_becomes_its_own_error_with_asterisks_reason(message: str, error: type[Exception]) -> None:
    def answer(action: Action) -> str:
        refused = f"Response: Error\r\nMessage: {message}\r\n"
        return "Response: Success\r\n" if action["Action"] == "Login" else refused

    async with FakeAmi(answer) as server, manager_of(server) as manager:
        with pytest.raises(error, match=message) as raised:
            await manager.action("Anything")
        assert type(raised.value) is error


async def test_output_of_a_command_keeps_its_lines() -> None:
    def answer(action: Action) -> str:
        lines = "Message: Command output follows\r\nOutput: one\r\nOutput: two: 2\r\n"
        return "Response: Success\r\n" + ("" if action["Action"] == "Login" else lines)

    async with FakeAmi(answer) as server, manager_of(server) as manager:
        assert await manager.command("core show") == "one\ntwo: 2"


async def test_action_cut_off_by_a_lost_connection_is_unknown_and_not_sent_again() -> None:
    def drop_first_recording(action: Action) -> str | None:
        return None if server.names() == ["Login", "MixMonitor"] else "Response: Success\r\n"

    async with FakeAmi(drop_first_recording) as server, manager_of(server) as manager:
        with pytest.raises(OutcomeUnknown):
            await manager.record("PJSIP/carrier-00000001", "x.raw", "")
        await until_connected(manager)
        await manager.core_status()
        assert server.names() == ["Login", "MixMonitor", "Login", "CoreStatus"]


async def test_no_answer_in_time_leaves_the_outcome_unknown() -> None:
    def answer(action: Action) -> str:
        return "Response: Success\r\n" if action["Action"] == "Login" else ""

    async with FakeAmi(answer) as server, manager_of(server, timeout=0.05) as manager:
        with pytest.raises(OutcomeUnknown, match=r"did not answer CoreStatus within 0\.05 s"):
            await manager.core_status()


async def test_peer_that_has_fallen_silent_is_given_up_and_connected_again() -> None:
    def deaf_to_the_first_ping(action: Action) -> str:
        return "" if server.names() == ["Login", "Ping"] else "Response: Success\r\n"

    async with (
        FakeAmi(deaf_to_the_first_ping) as server,
        manager_of(server, timeout=0.05, heartbeat=0.02),
        asyncio.timeout(PATIENCE),
    ):
        while server.names()[:3] != ["Login", "Ping", "Login"]:
            await asyncio.sleep(0.01)


async def test_wrong_secret_is_one_sentence_and_not_the_end() -> None:
    def answer(_action: Action) -> str:
        return "Response: Error\r\nMessage: Authentication failed\r\n" if refuse else "Response: Success\r\n"

    refuse = True
    async with FakeAmi(answer) as server, manager_of(server) as manager:
        assert "refuses the user dari or its secret" in manager.state
        with pytest.raises(TryLater, match="refuses the user dari"):
            await manager.core_status()
        refuse = False
        await until_connected(manager)


async def test_manager_that_is_not_there_is_named() -> None:
    async with FakeAmi() as server:
        manager = manager_of(server)
    async with manager:
        assert f"no manager (AMI) at {server.host}:{server.port}" in manager.state


async def test_line_break_in_a_value_is_never_sent() -> None:
    async with FakeAmi() as server, manager_of(server) as manager:
        with pytest.raises(Invalid, match="File must be one line"):
            await manager.record("PJSIP/carrier-00000001", "x\r\nAction: Originate", "")
        assert server.names() == ["Login"]


async def test_neither_secret_nor_numbers_reach_any_log(caplog: pytest.LogCaptureFixture) -> None:
    def drop_recordings(action: Action) -> str | None:
        return None if action["Action"] == "MixMonitor" else "Response: Success\r\n"

    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logged:
        async with FakeAmi(drop_recordings) as server, manager_of(server) as manager:
            with pytest.raises(OutcomeUnknown):
                await manager.record("PJSIP/carrier-00000001", "01012345678.raw", "")
            await until_connected(manager)
    assert logged
    for text in (caplog.text, str(logged)):
        assert SECRET not in text
        assert "01012345678" not in text


async def test_events_are_asked_for_only_when_somebody_wants_them() -> None:
    async with FakeAmi() as server:
        async with manager_of(server):
            pass
        told = manager_of(server)
        told.tell_of("ContactStatus", lambda: None)
        async with told:
            pass
        assert [action["Events"] for action in server.actions if action["Action"] == "Login"] == ["off", "system"]
