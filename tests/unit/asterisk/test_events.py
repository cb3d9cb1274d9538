"""Decoding of ARI events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.asterisk import events
from engine.asterisk.events import channel_ids, decode, type_name

CHANNEL = {
    "id": "c1",
    "name": "PJSIP/carrier-00000001",
    "state": "Ring",
    "protocol_id": "abc@host",
    "caller": {"name": "", "number": "01012345678"},
    "connected": {"name": "", "number": ""},
    "accountcode": "",
    "dialplan": {
        "context": "in",
        "exten": "05012345678",
        "priority": 2,
        "app_name": "StasisBroadcast",
        "app_data": "500",
    },
    "creationtime": "2026-11-21T10:00:00.000+0000",
    "language": "en",
}
PLAYBACK = {"id": "p1", "media_uri": "sound:x", "target_uri": "channel:c1", "language": "en", "state": "playing"}
BRIDGE = {"id": "b1", "technology": "native_rtp", "bridge_type": "mixing", "channels": ["c1", "c2"]}


def event(kind: str, **fields: object) -> events.Event | None:
    told = {"type": kind, "application": "dari", "timestamp": "2026-11-21T10:00:00.000+0000", **fields}
    return decode(msgspec.json.encode(told))


def test_stasis_start_gives_arguments_and_channel() -> None:
    start = event("StasisStart", args=["a", "b"], channel=CHANNEL)
    assert isinstance(start, events.StasisStart)
    assert start.args == ("a", "b")
    assert start.channel.caller.number == "01012345678"
    assert start.channel.dialplan.exten == "05012345678"
    assert start.channel.caller_rdnis == ""


def test_hang_up_without_cause_has_none() -> None:
    request = event("ChannelHangupRequest", channel=CHANNEL)
    assert isinstance(request, events.ChannelHangupRequest)
    assert (request.cause, request.tech_cause) == (0, 0)


@pytest.mark.parametrize(
    ("text", "counted_as"),
    [
        (b'{"type":"Somethingnew","application":"dari"}', "Somethingnew"),
        (b'{"type":"StasisStart","application":"dari"}', "StasisStart"),
        (b'{"type":7}', "unreadable"),
        (b"{}", "unreadable"),
        (b"[]", "unreadable"),
        (b"", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        ('{"type":"\ud800"}'.encode("utf-8", "surrogatepass"), "unreadable"),
    ],
)
def test_what_cannot_be_read_is_none_and_has_a_name_to_count_by(text: bytes, counted_as: str) -> None:
    assert decode(text) is None
    assert type_name(text) == counted_as


@given(st.binary() | st.text())
def test_garbage_never_raises(text: bytes | str) -> None:
    assert decode(text) is None
    type_name(text)


@pytest.mark.parametrize(
    ("told", "channels"),
    [
        (event("StasisEnd", channel=CHANNEL), ("c1",)),
        (event("Dial", peer=CHANNEL | {"id": "t1"}, caller=CHANNEL, dialstatus=""), ("t1", "c1")),
        (event("Dial", peer=CHANNEL | {"id": "t1"}, dialstatus=""), ("t1",)),
        (event("StasisStart", channel=CHANNEL, args=[], replace_channel=CHANNEL | {"id": "r"}), ("c1", "r")),
        (event("PlaybackFinished", playback=PLAYBACK), ("c1",)),
        (event("PlaybackStarted", playback=PLAYBACK | {"target_uri": "bridge:b1"}), ()),
        (event("ChannelEnteredBridge", bridge=BRIDGE, channel=CHANNEL), ("c1",)),
        (event("ChannelEnteredBridge", bridge=BRIDGE), ()),
        (event("BridgeDestroyed", bridge=BRIDGE), ("c1", "c2")),
        (event("ApplicationReplaced"), ()),
    ],
)
def test_event_names_the_channels_that_it_is_about(told: events.Event | None, channels: tuple[str, ...]) -> None:
    assert told is not None
    assert channel_ids(told) == channels
