"""SIP messages of both legs of a call, as a real Asterisk copies them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.asterisk.sip_trace import SipTrace, find
from engine.foundation.clock import SystemClock
from engine.trunks.model import Trunk
from tests.eventually import PATIENCE
from tests.plain_sip import Telephone
from tests.real_asterisk import loopback, start_asterisk

SERVER, CARRIER, SHOP = (loopback(12, host) for host in (31, 32, 33))
HEP = f"{SERVER}:9060"
TRUNKS = [
    Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070"),
    Trunk(name="shop", match=(SHOP,), contact=f"sip:{SHOP}:5070"),
]


async def test_both_legs_are_found_by_their_call_ids_in_order(tmp_path: Path) -> None:
    trace = SipTrace(tmp_path / "trace", 1, SystemClock())
    await trace.open(HEP)
    asterisk = await start_asterisk(tmp_path / "a", SERVER, TRUNKS, hep_address=HEP, claim_milliseconds=100)
    try:
        with Telephone(CARRIER) as caller, Telephone(SHOP) as shop:
            answering = asyncio.ensure_future(shop.answer_once())
            async with asterisk.ari() as ari:
                # Both parties end in the dialplan without an engine, which hangs up on them.
                place = {"endpoint": "PJSIP/0212345678@shop", "context": "dari-incoming", "extension": "1"}
                await ari.post("/ari/channels", params=place)
                call = await caller.call(asterisk.sip_address, "05071234567")
                invite = await asyncio.wait_for(answering, PATIENCE)
        other = next(line[9:] for line in invite.split("\r\n") if line.startswith("Call-ID: "))
        await asyncio.sleep(0.2)
        trace.write()
    finally:
        await asterisk.stop()
        trace.close()

    messages = find(tmp_path / "trace", [call.call_id, other])
    incoming = [message for message in messages if message.call_id == call.call_id]
    outgoing = [message for message in messages if message.call_id == other]
    assert [message.text.split("\r\n")[0] for message in incoming] == [
        f"INVITE sip:05071234567@{SERVER}:5060 SIP/2.0",
        "SIP/2.0 100 Trying",
        "SIP/2.0 183 Session Progress",
        "SIP/2.0 503 Service Unavailable",
        f"ACK sip:05071234567@{SERVER}:5060 SIP/2.0",
    ]
    assert [message.text.split()[0] for message in outgoing[:1]] == ["INVITE"]
    assert "BYE" in [message.text.split()[0] for message in outgoing]
    assert incoming[0].source == f"{CARRIER}:5070"
    assert incoming[1].destination == f"{CARRIER}:5070"
    assert outgoing[0].destination == f"{SHOP}:5070"
    assert [message.at for message in messages] == sorted(message.at for message in messages)
    assert trace.unreadable == trace.lost == 0
    assert find(tmp_path / "trace", ["another@call"]) == []
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "trace").iterdir())
