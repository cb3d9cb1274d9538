"""Which of Asterisk's channels are calls without an engine."""

from __future__ import annotations

from uuid import uuid4

import pytest

from engine.asterisk.events import Channel, DialplanPlace
from engine.settings import read_settings
from engine.supervisor.alone import CallsAlone, calls_alone, counted


def channel(context: str, application: str, channel_id: str = "1795000000.1") -> Channel:
    return Channel(channel_id, "PJSIP/carrier-1", "Up", dialplan=DialplanPlace(context=context, app_name=application))


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ([], CallsAlone()),
        ([channel("dari-alone-ring", "Dial")], CallsAlone(by_dialplan=1)),
        ([channel("dari-say", "Playback")], CallsAlone(by_dialplan=1)),
        ([channel("dari-alone-ring", "Dial"), channel("dari-alone-told", "Read")], CallsAlone(by_dialplan=1)),
        ([channel("dari-alone-ring", "Dial"), channel("dari-incoming", "AppDial")], CallsAlone(by_dialplan=1)),
        ([channel("dari-incoming", "Stasis")], CallsAlone(in_application=1)),
        ([channel("dari-incoming", "StasisBroadcast")], CallsAlone()),
        ([channel("dari-incoming", "Stasis", f"{uuid4()}.t1.n1")], CallsAlone()),
        ([channel("default", "Dial")], CallsAlone()),
    ],
)
def test_each_caller_is_one_call(channels: list[Channel], found: CallsAlone) -> None:
    assert counted(channels) == found


async def test_where_no_asterisk_is_nobody_knows() -> None:
    assert await calls_alone(read_settings()) is None
    assert await calls_alone(read_settings(ari_url="http://127.0.0.1:1")) is None
