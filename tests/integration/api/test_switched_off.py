"""What is switched off over the API for an account is told of its calls and messages."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID
from tests.trade_desk import trade_desk


async def test_a_switch_is_in_the_next_forecast(database: AsyncEngine, tmp_path: Path) -> None:
    async with trade_desk(database, tmp_path) as desk:
        shop = (await desk.account("다리분식")).id
        key, operator = await desk.key(shop), await desk.key(OPERATOR_ID)
        number = await desk.number(shop, "05071234567")
        asked = {"number": str(number), "caller": "010-2345-6789"}
        change = {"treatment": {"recording": "always", "store_notice": True}}
        changed = await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": "*"})
        assert changed.status == 200, changed

        async def switch(**on: bool) -> None:
            body = {"modules": {name.replace("_", " "): value for name, value in on.items()}}
            answer = await desk.ask("PATCH", f"/accounts/{shop}", operator, body=body, headers={"If-Match": "*"})
            assert answer.status == 200, answer

        before = (await desk.ask("POST", "/simulate", key, body=asked)).json
        assert (before["switched_off"], before["forwarding"]["recording"]) == ([], "always")
        assert [notice["kind"] for notice in before["forwarding"]["notices"]] == ["store information", "recording"]
        await switch(recording=False, store_message=False)
        without = (await desk.ask("POST", "/simulate", key, body=asked)).json
        assert without["switched_off"] == ["recording", "store message"]
        assert (without["forwarding"]["recording"], without["forwarding"]["notices"]) == ("never", [])
        await switch(calls=False)
        refused = (await desk.ask("POST", "/simulate", key, body=asked)).json
        assert (refused["switched_off"], refused["announcement"]["result"]) == (["calls"], "switched off")
        await switch(calls=True, recording=True, store_message=True)
        assert (await desk.ask("POST", "/simulate", key, body=asked)).json == before
