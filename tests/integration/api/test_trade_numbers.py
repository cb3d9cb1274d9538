"""Numbers over the API: issued, set, suspended, ruled, transferred; each for the next call, and never half."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import modules
from engine.accounts.model import LOCAL_OPERATOR, AccountKind, Deed, Module, Role
from engine.foundation.database import transaction
from tests.trade_desk import TARGET, TradeDesk, trade_desk

FREE = ("050712341234", "050712341111", "050799998888")


@pytest.fixture
async def desk(database: AsyncEngine, tmp_path: Path) -> AsyncIterator[TradeDesk]:
    async with trade_desk(database, tmp_path) as opened:
        yield opened


async def shop_with_key(desk: TradeDesk, name: str = "다리분식") -> tuple[UUID, str]:
    shop = await desk.account(name)
    return shop.id, await desk.key(shop.id)


async def test_number_is_chosen_kept_issued_and_given_back(desk: TradeDesk) -> None:
    await desk.stock(*FREE)
    shop, key = await shop_with_key(desk)
    offers = await desk.ask("GET", "/number-choice", key, query={"account": str(shop), "like": "031-555-1234"})
    best = offers.json["items"][0]
    assert best["number"] == {"national": "050712341234", "e164": "+8250712341234"}
    assert best["reasons"][0]["korean"]

    kept = await desk.ask("POST", "/number-choice/keep", key, body={"account": str(shop), "number": "+8250712341234"})
    assert (kept.status, kept.json["number"]["national"]) == (201, "050712341234")
    wanted = {"number": "0507-1234-1234", "account": str(shop), "target": "02-1234-5678"}
    issued = await desk.ask("POST", "/numbers", key, body=wanted)
    assert (issued.status, issued.json["state"]) == (201, "in service"), issued
    assert issued.json["settings"]["target"] == {"national": "0212345678", "e164": "+82212345678"}

    released = await desk.ask("POST", "/numbers/050712341234/release", key)
    assert released.json["state"] == "quarantined"
    assert released.json["last_holder"] == str(shop)
    moves = (await desk.ask("GET", "/numbers/050712341234/history", key)).json["moves"]
    assert [move["move"] for move in moves][:3] == ["released", "issued", "reserved"]


async def test_pages_of_the_choice_follow_each_other(desk: TradeDesk) -> None:
    await desk.stock(*FREE)
    shop, key = await shop_with_key(desk)
    seen: list[str] = []
    query = {"account": str(shop), "limit": "1"}
    while True:
        page = (await desk.ask("GET", "/number-choice", key, query=query)).json
        seen += [one["number"]["national"] for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == sorted(FREE)


async def test_settings_are_changed_on_what_was_read(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    read = await desk.ask("GET", f"/numbers/{number}", key)
    change = {"target": "010-9876-5432", "treatment": {"label": "배달앱", "ring_seconds": 25}}
    assert (await desk.ask("PATCH", f"/numbers/{number}", key, body=change)).code == "if_match_missing"
    changed = await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": read.etag})
    assert changed.status == 200, changed
    assert changed.json["settings"]["target"]["national"] == "01098765432"
    assert changed.json["settings"]["treatment"]["label"] == "배달앱"
    late = await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": read.etag})
    assert late.code == "changed_meanwhile"
    again = {"treatment": {"label": None}}
    cleared = await desk.ask("PATCH", f"/numbers/{number}", key, body=again, headers={"If-Match": changed.etag})
    assert cleared.json["settings"]["treatment"]["label"] is None
    assert cleared.json["settings"]["treatment"]["ring_seconds"] == 25


@pytest.mark.parametrize(
    ("change", "field", "status"),
    [
        ({"target": "119"}, "target", 403),
        ({"target": "nobody"}, "body.target", 422),
        ({"treatment": {"ring_seconds": 500}}, None, 422),
        ({"treatment": {"ringback": ["prompt:없음"]}}, None, 422),
        ({"treatment": {"melody": 1}}, "body.treatment.melody", 422),
        ({"callback": "문자", "sender": None}, "callback", 422),
        ({"limits": {"at_once": -1}}, "body.limits.at_once", 422),
    ],
)
async def test_what_cannot_be_set_is_named_and_nothing_is_changed(
    desk: TradeDesk, change: dict[str, object], field: str | None, status: int
) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    before = await desk.ask("GET", f"/numbers/{number}", key)
    refused = await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": before.etag})
    assert (refused.status, bool(refused.code)) == (status, True), refused
    if field and status == 422:
        assert field in [error["field"] for error in refused.json["errors"]], refused.json
    assert (await desk.ask("GET", f"/numbers/{number}", key)).etag == before.etag


async def test_a_refused_number_leaves_nothing_behind(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    await desk.stock(*FREE)
    wanted = {
        "number": FREE[0],
        "account": str(shop),
        "target": str(TARGET),
        "treatment": {"notice": "prompt:없음"},
    }
    refused = await desk.ask("POST", "/numbers", key, body=wanted)
    assert refused.code == "invalid"
    assert (await desk.ask("GET", f"/numbers/{FREE[0]}", key)).json["state"] == "available"
    async with transaction(desk.database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM numbers")) == 0
        written = text("SELECT count(*) FROM events WHERE kind = 'number.changed' AND body->>'change' = 'issued'")
        assert await connection.scalar(written) == 0


async def test_a_function_that_is_off_is_not_set(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    async with transaction(desk.database) as connection:
        await modules.switch(connection, LOCAL_OPERATOR, shop, Module.RECORDING, False, desk.clock.now())
    tag = (await desk.ask("GET", f"/numbers/{number}", key)).etag
    change = {"treatment": {"recording": "always"}}
    assert (await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers={"If-Match": tag})).status == 403
    rule = {"name": "밤", "condition": {"weekdays": [7]}, **change}
    assert (await desk.ask("POST", f"/numbers/{number}/rules", key, body=rule)).code == "not_allowed"
    assert (await desk.ask("GET", f"/numbers/{number}/rules", key)).json["rules"] == []


async def test_messages_come_from_a_registered_sender(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    change = {"callback": "[다리분식] 감사합니다.", "sender": "02-345-6789"}
    edit = {"If-Match": "*"}
    assert (await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers=edit)).code == "not_allowed"
    sender = {"number": "02-345-6789", "evidence": "이용증명원"}
    assert (await desk.ask("POST", f"/accounts/{shop}/senders", key, body=sender)).status == 204
    assert (await desk.ask("PATCH", f"/numbers/{number}", key, body=change, headers=edit)).status == 200
    listed = await desk.ask("GET", f"/accounts/{shop}/senders", key)
    assert listed.json == {
        "senders": [{"number": {"national": "023456789", "e164": "+8223456789"}, "evidence": "이용증명원"}]
    }
    forwarding = sender | {"number": str(number)}
    assert (await desk.ask("POST", f"/accounts/{shop}/senders", key, body=forwarding)).code == "not_allowed"


async def test_suspended_and_resumed_from_above_and_by_the_holder(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    operator = await desk.key()
    number = await desk.number(shop, "05071234567")
    assert (await desk.ask("POST", f"/numbers/{number}/suspend", key, body={})).json["suspended_for"] == "wish"
    assert (await desk.ask("POST", f"/numbers/{number}/resume", key)).json["state"] == "in service"
    barred = await desk.ask("POST", f"/numbers/{number}/suspend", operator, body={"note": "unpaid"})
    assert (barred.json["suspended_for"], barred.json["settings"]["suspended"]) == ("barred", "ko/not-in-service")
    assert (await desk.ask("POST", f"/numbers/{number}/resume", key)).code == "not_allowed"
    assert (await desk.ask("POST", f"/numbers/{number}/resume", operator)).status == 200


async def test_rules_are_added_changed_moved_and_removed(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    rules = f"/numbers/{number}/rules"
    night = {
        "name": "밤/낮",
        "condition": {"times": [{"start": "22:00", "end": "09:00"}]},
        "treatment": {"announcement": "ko/closed"},
    }
    added = await desk.ask("POST", rules, key, body=night)
    assert (added.status, [rule["name"] for rule in added.json["rules"]]) == (201, ["밤/낮"]), added
    second = await desk.ask(
        "POST", rules, key, body={"name": "주말", "condition": {"weekdays": [6, 7]}, "treatment": {"label": "주말"}}
    )
    assert [rule["name"] for rule in second.json["rules"]] == ["밤/낮", "주말"]
    change = {"position": 1, "enabled": False, "treatment": {"label": None, "ring_seconds": 40}}
    changed = await desk.ask("PATCH", f"{rules}/주말", key, body=change, headers={"If-Match": second.etag})
    first = changed.json["rules"][0]
    assert (first["name"], first["enabled"], first["treatment"]["label"]) == ("주말", False, None), changed
    gone = await desk.ask("DELETE", f"{rules}/밤%2F낮", key, headers={"If-Match": changed.etag})
    assert [rule["name"] for rule in gone.json["rules"]] == ["주말"], gone
    put = await desk.ask("PUT", rules, key, body={"rules": [night]}, headers={"If-Match": gone.etag})
    assert put.json == (await desk.ask("GET", rules, key)).json
    wrong = {"name": "안됨", "condition": {}, "treatment": {"store_notice": False}}
    assert (await desk.ask("POST", rules, key, body=wrong)).code == "invalid"
    assert (await desk.ask("POST", rules, key, body=night)).code == "conflict"


async def test_days_off_groups_and_call_settings(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    for path in (f"/accounts/{shop}/closed-days", f"/numbers/{number}/closed-days"):
        before = await desk.ask("GET", path, key)
        wanted = {"days": [{"weekday": 7, "weeks": [2, 4]}, {"day": "2026-12-25"}]}
        put = await desk.ask("PUT", path, key, body=wanted, headers={"If-Match": before.etag})
        assert {day["day"] for day in put.json["days"]} == {None, "2026-12-25"}, put
        fewer = await desk.ask("PUT", path, key, body={"days": [{"day": "2026-12-25"}]}, headers={"If-Match": put.etag})
        assert len(fewer.json["days"]) == 1
        wrong = {"days": [{"day": "2026-12-25", "weekday": 1}]}
        assert (await desk.ask("PUT", path, key, body=wrong, headers={"If-Match": "*"})).code == "invalid"

    members = f"/accounts/{shop}/groups/blocked/members"
    added = await desk.ask("POST", members, key, body={"numbers": ["010-2345-6789", "010-1111-2222"], "note": "장난"})
    assert added.json == {"callers": 2}
    assert (await desk.ask("GET", f"/accounts/{shop}/groups", key)).json["groups"] == [
        {"name": "blocked", "members": 2}
    ]
    page = await desk.ask("GET", members, key, query={"limit": "1"})
    rest = await desk.ask("GET", members, key, query={"limit": "1", "cursor": page.json["next"]})
    found = [page.json["items"][0]["number"]["national"], rest.json["items"][0]["number"]["national"]]
    assert found == ["01011112222", "01023456789"]
    assert (await desk.ask("POST", f"{members}/remove", key, body={"numbers": None})).json == {"callers": 2}

    settings = f"/accounts/{shop}/call-settings"
    tag = (await desk.ask("GET", settings, key)).etag
    put = await desk.ask(
        "PUT", settings, key, body={"zone": "Asia/Tokyo", "limits": {"at_once": 3}}, headers={"If-Match": tag}
    )
    assert put.json == {"zone": "Asia/Tokyo", "limits": {"at_once": 3, "per_hour": None, "per_day": None}}


async def test_holidays_are_the_operators(desk: TradeDesk) -> None:
    _, key = await shop_with_key(desk)
    operator = await desk.key()
    assert (await desk.ask("POST", "/holidays", key, body={"day": "2027-03-09", "name": "선거일"})).status == 404
    made = await desk.ask("POST", "/holidays", operator, body={"day": "2027-03-09", "name": "선거일"})
    assert made.status == 201
    assert (await desk.ask("GET", "/holidays", key, query={"year": "2027"})).json["holidays"] == [made.json]
    assert (await desk.ask("DELETE", "/holidays/2027-03-09", operator)).status == 204
    calendar = {"years": [2026]}
    assert (await desk.ask("POST", "/holidays/seed", key, body=calendar)).status == 404
    taken = await desk.ask("POST", "/holidays/seed", operator, body=calendar)
    listed = (await desk.ask("GET", "/holidays", key, query={"year": "2026"})).json["holidays"]
    assert taken.json == {"new": len(listed), "gone": 0}
    assert {"day": "2026-12-25", "name": "기독탄신일", "source": "public"} in listed
    assert (await desk.ask("POST", "/holidays/seed", operator, body=calendar)).json == {"new": 0, "gone": 0}
    assert (await desk.ask("POST", "/holidays/seed", operator, body={"years": [1999]})).code == "invalid"


async def test_transfer_is_offered_and_accepted_by_the_receiver_alone(desk: TradeDesk) -> None:
    giver, givers = await shop_with_key(desk, "giver")
    taker, takers = await shop_with_key(desk, "taker")
    _, strangers = await shop_with_key(desk, "stranger")
    number = await desk.number(giver, "05071234567")
    offer = {"number": str(number), "to_account": str(taker), "keep_settings": False}
    offered = await desk.ask("POST", "/number-transfers", givers, body=offer)
    assert offered.status == 201, offered
    path = f"/number-transfers/{offered.json['id']}"
    assert (await desk.ask("GET", path, strangers)).status == 404
    assert (await desk.ask("POST", f"{path}/accept", givers, body={"target": str(TARGET)})).status in (403, 404)
    assert (await desk.ask("POST", f"{path}/accept", takers, body={})).code == "invalid"
    done = await desk.ask("POST", f"{path}/accept", takers, body={"target": "031-555-1234"})
    assert done.json["status"] == "accepted"
    assert (await desk.ask("GET", f"/numbers/{number}", takers)).json["settings"]["target"]["national"] == "0315551234"
    assert (await desk.ask("GET", f"/numbers/{number}", givers)).status == 404
    for key in (givers, takers):
        moves = (await desk.ask("GET", f"/numbers/{number}/history", key)).json["moves"]
        assert "transferred" in [move["move"] for move in moves]


async def test_ranges_are_imported_whole_or_not_at_all(desk: TradeDesk) -> None:
    operator = await desk.key()
    made = await desk.ask("POST", "/number-ranges", operator, body={"name": "r", "prefix": "0507", "digits": 12})
    assert made.status == 201, made
    csv = {"Content-Type": "text/csv"}
    refused = await desk.ask("POST", "/number-ranges/import", operator, raw=b"050712341234\n0299\n", headers=csv)
    assert (refused.code, refused.json["errors"]) == (
        "invalid",
        [{"field": "line 2", "value": "0299", "rule": "it must begin with 0502 to 0508"}],
    )
    assert (await desk.ask("GET", "/numbers", operator)).json["items"] == []
    done = await desk.ask("POST", "/number-ranges/import", operator, raw=b"number\n050712341234\n", headers=csv)
    assert done.json == {"lines": 1, "taken": 1}
    figures = (await desk.ask("GET", "/number-ranges", operator)).json["ranges"][0]
    assert (figures["name"], figures["numbers"]) == ("r", {"available": 1})
    read = await desk.ask("GET", "/number-ranges/r", operator)
    assert (read.etag, read.json) == (made.etag, made.json)
    wanted, match = {"days": 30, "longest_days": 60}, {"If-Match": read.etag}
    assert (await desk.ask("PUT", "/number-ranges/r/terms", operator, body=wanted)).code == "if_match_missing"
    terms = await desk.ask("PUT", "/number-ranges/r/terms", operator, body=wanted, headers=match)
    assert terms.json["terms"]["days"] == 30, terms
    again = await desk.ask("PUT", "/number-ranges/r/terms", operator, body=wanted, headers=match)
    assert (again.code, again.etag) == ("changed_meanwhile", terms.etag)
    _, key = await shop_with_key(desk)
    assert (await desk.ask("GET", "/number-ranges", key)).status == 404


async def test_numbers_are_ordered_by_count_and_period(desk: TradeDesk) -> None:
    await desk.stock(*FREE)
    shop, key = await shop_with_key(desk)
    order = {"account": str(shop), "count": 2, "target": str(TARGET), "ends_at": "2099-01-01T00:00:00Z"}
    placed = await desk.ask("POST", "/number-orders", key, body=order)
    assert (placed.status, len(placed.json["numbers"]), placed.json["status"]) == (201, 2, "begun"), placed
    path = f"/number-orders/{placed.json['id']}"
    assert {one["state"] for one in (await desk.ask("GET", path, key)).json["numbers"]} == {"in service"}
    assert (await desk.ask("POST", f"{path}/cancel", key)).code == "conflict"
    assert (await desk.ask("POST", f"{path}/prolong", key, body={"ends_at": None})).json["ends_at"] is None
    assert (await desk.ask("POST", "/number-orders", key, body=order)).code == "conflict"
    assert len((await desk.ask("GET", "/number-orders", key)).json["items"]) == 1


async def test_lists_show_what_is_below_and_nothing_else(desk: TradeDesk) -> None:
    agency = await desk.account("agency", AccountKind.AGENCY)
    below = await desk.account("below", parent=agency.id)
    beside = await desk.account("beside")
    mine = await desk.number(below.id, "05071234567")
    await desk.number(beside.id, "05077654321")
    listed = await desk.ask("GET", "/numbers", await desk.key(agency.id))
    assert [one["number"]["national"] for one in listed.json["items"]] == [mine]
    other = await desk.ask("GET", "/numbers", await desk.key(agency.id), query={"account": str(beside.id)})
    assert other.status == 404


async def test_a_key_does_nothing_beyond_its_scopes(desk: TradeDesk) -> None:
    shop = await desk.account("다리분식")
    number = await desk.number(shop.id, "05071234567")
    key = await desk.key(shop.id, [Deed.SEE_NUMBERS, Deed.SEE_ACCOUNTS])
    assert (await desk.ask("GET", f"/numbers/{number}", key)).status == 200
    assert (await desk.ask("POST", f"/numbers/{number}/release", key)).code == "not_allowed"


async def test_safen_programs_go_on_working(desk: TradeDesk) -> None:
    await desk.stock(*FREE)
    _, key = await shop_with_key(desk)
    _, stranger = await shop_with_key(desk, "stranger")
    mapping = "/safen/mappings"
    made = await desk.ask(
        "POST", f"{mapping}/create", key, body={"old_tel_num": "010-1234-5678", "group_code": "group_1"}
    )
    number = made.json["new_tel_num"]
    assert (made.json["code"], made.json["old_tel_num"]) == ("0000", "010-1234-5678"), made
    assert (await desk.ask("GET", mapping, key, query={"new_tel_num": number})).json == made.json
    gone = await desk.ask("GET", mapping, stranger, query={"new_tel_num": number})
    assert (gone.status, gone.headers["Safen-Code"]) == (404, "E401")

    def update(old: str, new: str) -> dict[str, str]:
        return {"old_tel_num": old, "new_old_tel_num": new, "group_code": "group_1", "new_tel_num": number}

    moved = await desk.ask("POST", f"{mapping}/update", key, body=update("010-1234-5678", "010-9999-9999"))
    assert moved.json["old_tel_num"] == "010-9999-9999", moved
    stale = await desk.ask("POST", f"{mapping}/update", key, body=update("010-1234-5678", "010-1111-2222"))
    assert (stale.status, stale.headers["Safen-Code"]) == (404, "E401")
    off = await desk.ask("POST", f"{mapping}/update", key, body=update("010-9999-9999", "1234567890"))
    assert off.json["old_tel_num"] == "1234567890"
    assert (await desk.ask("GET", f"/numbers/{number}", key)).json["state"] == "suspended"
    on = await desk.ask("POST", f"{mapping}/update", key, body=update("1234567890", "010-1111-2222"))
    assert on.json["old_tel_num"] == "010-1111-2222"
    wrong = await desk.ask("POST", f"{mapping}/update", key, body=update("010-1111-2222", "119"))
    assert wrong.headers["Safen-Code"] == "E502"
    other = await desk.ask("POST", f"{mapping}/remove", key, body={"new_tel_num": number, "group_code": "other"})
    assert other.headers["Safen-Code"] == "E401"
    removed = await desk.ask("POST", f"{mapping}/remove", key, body={"new_tel_num": number, "group_code": "group_1"})
    assert removed.json["code"] == "0000"
    assert (await desk.ask("GET", mapping, key, query={"new_tel_num": number})).status == 404
    for _ in range(2):
        await desk.ask("POST", f"{mapping}/create", key, body={"old_tel_num": "010-1234-5678", "group_code": "g"})
    empty = await desk.ask("POST", f"{mapping}/create", key, body={"old_tel_num": "010-1234-5678", "group_code": "g"})
    assert (empty.status, empty.headers["Safen-Code"]) == (409, "E301")


async def test_what_callers_of_a_suspended_number_hear_is_there_to_be_heard(desk: TradeDesk) -> None:
    shop, key = await shop_with_key(desk)
    number = await desk.number(shop, "05071234567")
    suspend, unknown = f"/numbers/{number}/suspend", {"announcement": "prompt:이사"}
    refused = await desk.ask("POST", suspend, key, body=unknown)
    assert (refused.code, "no prompt named '이사'" in refused.json["detail"]) == ("invalid", True)
    assert (await desk.ask("GET", f"/numbers/{number}", key)).json["state"] == "in service", "nothing half done"
    await desk.ask("POST", f"/accounts/{shop}/prompts/이사/speech", key, body={"text": "이사했습니다"})
    suspended = await desk.ask("POST", suspend, key, body={})
    assert [(one["why"], one["announcement"]) for one in suspended.json["suspensions"]] == [
        ("wish", "ko/not-in-service")
    ]
    edit = {"If-Match": suspended.etag}
    gone = await desk.ask("PATCH", f"/numbers/{number}", key, body={"suspended": "prompt:없음"}, headers=edit)
    assert gone.code == "invalid"
    changed = await desk.ask("PATCH", f"/numbers/{number}", key, body={"suspended": "ko/closed"}, headers=edit)
    assert (changed.json["state"], changed.json["settings"]["suspended"]) == ("suspended", "ko/closed"), changed
    assert (await desk.ask("POST", f"/numbers/{number}/resume", key)).json["suspensions"] == []


async def test_the_content_centre_writes_texts_and_names_no_target(desk: TradeDesk) -> None:
    agency = await desk.account("대행사", AccountKind.AGENCY)
    shop = await desk.account("다리분식", parent=agency.id)
    number = await desk.number(shop.id, "05071234567", callback="어서 오세요")
    centre = await desk.user(agency.id, Role.CONTENT, "content@example.com")
    path = f"/numbers/{number}"
    edit = {"If-Match": (await desk.ask("GET", path, centre)).etag}
    for wider in ({"target": "02-555-1234"}, {"callback": "또 오세요", "min_talk_seconds": 1}):
        assert (await desk.ask("PATCH", path, centre, body=wider, headers=edit)).code == "not_allowed"
    content = {"callback": "또 오세요", "treatment": {"ringback": ["ko/ringback-tone"]}}
    changed = await desk.ask("PATCH", path, centre, body=content, headers=edit)
    assert (changed.status, changed.json["settings"]["callback"]) == (200, "또 오세요"), changed


async def test_numbers_of_one_length_are_chosen(desk: TradeDesk) -> None:
    await desk.stock("05071231234", prefix="05071")
    await desk.stock("050521231234", prefix="05052")
    shop, key = await shop_with_key(desk)
    for digits, number in (("11", "05071231234"), ("12", "050521231234")):
        query = {"account": str(shop), "digits": digits}
        offers = await desk.ask("GET", "/number-choice", key, query=query)
        assert [one["number"]["national"] for one in offers.json["items"]] == [number]
        best = {"account": str(shop), "digits": int(digits)}
        kept = await desk.ask("POST", "/number-choice/keep-best", key, body=best)
        assert [one["number"]["national"] for one in kept.json["numbers"]] == [number]
    assert (
        await desk.ask("GET", "/number-choice", key, query={"account": str(shop), "digits": "10"})
    ).code == "invalid"
