"""How long recordings stay, and that nothing of them stays longer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from engine.accounts.model import LOCAL_OPERATOR
from engine.audit import trail
from engine.audit.model import Wanted
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, GaveUp, Invalid, NotAllowed, NotFound
from engine.recordings import retention, store
from engine.recordings.check import compare
from engine.recordings.model import Deed
from engine.recordings.playback import access_log
from engine.recordings.retention import EXPIRED, SHREDDED, hold, release, set_term, shred, sweep
from tests.integration.recordings.conftest import TALK, VOICEMAIL, Desk

YEAR = timedelta(days=365)


async def test_what_is_kept_long_enough_goes_with_its_file_and_the_record_says_why(desk: Desk) -> None:
    old = await desk.kept()
    message = await desk.kept_voicemail()
    desk.clock.advance(YEAR - timedelta(days=1))
    young = await desk.kept()
    assert await sweep(desk.archive) == 0
    desk.clock.advance(timedelta(days=2))
    assert await sweep(desk.archive) == 2
    assert desk.files() == [young.file]
    for each, field in ((old, "recording"), (message, "voicemail")):
        row = await desk.row(each.call_id, each.kind)
        assert row is not None
        assert row.deleted_at == row.removed_at == desk.clock.now()
        noted = await desk.record(each.call_id)
        assert (getattr(noted, field), noted.recording_reason) == (None, EXPIRED)
    assert (await desk.record(young.call_id)).recording == young.file
    assert await sweep(desk.archive) == 0


async def test_what_is_held_stays_until_it_is_released(desk: Desk) -> None:
    kept = await desk.kept()
    await hold(desk.archive, LOCAL_OPERATOR, desk.reader(reason="court case 2026-77"), kept.call_id, TALK)
    desk.clock.advance(YEAR * 3)
    assert await sweep(desk.archive) == 0
    assert desk.files() == [kept.file]
    held = await desk.row(kept.call_id)
    assert held is not None
    assert held.held == "court case 2026-77"
    await release(desk.archive, LOCAL_OPERATOR, desk.reader(reason="case closed"), kept.call_id, TALK)
    assert await sweep(desk.archive) == 1
    assert desk.files() == []


async def test_only_the_owner_holds_and_releases_with_a_reason_and_it_is_written_down(desk: Desk) -> None:
    kept = await desk.kept()
    await hold(desk.archive, LOCAL_OPERATOR, desk.reader(reason="court case"), kept.call_id, TALK)
    with pytest.raises(NotAllowed):
        await release(desk.archive, LOCAL_OPERATOR, desk.reader(desk.other), kept.call_id, TALK)
    with pytest.raises(Invalid):
        await release(desk.archive, LOCAL_OPERATOR, desk.reader(reason=""), kept.call_id, TALK)
    with pytest.raises(NotFound):
        await hold(desk.archive, LOCAL_OPERATOR, desk.reader(), kept.call_id, VOICEMAIL)
    log = await access_log(desk.archive)
    assert [(each.deed, each.granted) for each in log] == [(Deed.RELEASE, False), (Deed.HOLD, True)]
    held = await desk.row(kept.call_id)
    assert held is not None
    assert held.held == "court case"


async def test_holds_releases_and_terms_are_in_the_audit_once_they_are_done(desk: Desk) -> None:
    kept = await desk.kept()
    await hold(desk.archive, LOCAL_OPERATOR, desk.reader(reason="court case"), kept.call_id, TALK)
    await release(desk.archive, LOCAL_OPERATOR, desk.reader(reason="case closed"), kept.call_id, TALK)
    for days in (30, 30, None):
        await set_term(desk.archive, LOCAL_OPERATOR, desk.owner, days)
    with pytest.raises(NotAllowed):
        await hold(desk.archive, LOCAL_OPERATOR, desk.reader(desk.other), kept.call_id, TALK)
    async with transaction(desk.archive.database) as connection:
        written = [one for one in await trail.entries(connection, Wanted()) if one.deed == "change recordings"]
    assert {one.account_id for one in written} == {desk.owner}
    assert {one.who for one in written} == {LOCAL_OPERATOR.who}
    told = [(one.before, one.after) for one in written]
    for changed in (
        ({"held": None}, {"kind": "talk", "held": "court case", "reason": "court case"}),
        ({"held": "court case"}, {"kind": "talk", "held": None, "reason": "case closed"}),
        ({"days": None}, {"days": 30}),
        ({"days": 30}, {"days": None}),
    ):
        told.remove(changed)
    assert told == []


async def test_an_account_has_a_term_of_its_own_for_what_is_there_and_what_comes(desk: Desk) -> None:
    kept, others = await desk.kept(), await desk.kept(desk.other)
    assert await set_term(desk.archive, LOCAL_OPERATOR, desk.owner, 30) == 30
    later = await desk.kept()
    desk.clock.advance(timedelta(days=31))
    assert await sweep(desk.archive) == 2
    assert desk.files() == [others.file]
    assert {kept.call_id, later.call_id}.isdisjoint({others.call_id})
    assert await set_term(desk.archive, LOCAL_OPERATOR, desk.owner, None) == 365
    for wrong in (0, -1, 36_501):
        with pytest.raises(Invalid, match="days"):
            await set_term(desk.archive, LOCAL_OPERATOR, desk.owner, wrong)


async def test_many_go_in_batches_and_several_sweeps_at_once_do_no_harm(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(7):
        await desk.kept(seconds=0.5)
    desk.clock.advance(YEAR * 2)
    told: list[int] = []
    done = await asyncio.gather(sweep(desk.archive, told.append), sweep(desk.archive))
    assert sum(done) == 7
    assert told == sorted(told)
    assert desk.files() == []


class PowerCut(Exception):  # noqa: N818 - not an error of ours
    """The power goes."""


@pytest.mark.parametrize("step", ["remove_file", "note_removed"])
async def test_a_sweep_that_is_cut_off_leaves_no_file_that_nobody_knows(
    desk: Desk, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await desk.kept()
    desk.clock.advance(YEAR * 2)

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as broken:
        broken.setattr(retention if step == "remove_file" else store, step, cut)
        with pytest.raises(PowerCut):
            await sweep(desk.archive)
    row = await desk.row(kept.call_id)
    assert row is not None
    assert row.deleted_at is not None
    assert row.removed_at is None
    assert await sweep(desk.archive) == 0
    row = await desk.row(kept.call_id)
    assert row is not None
    assert row.removed_at is not None
    assert desk.files() == []
    assert (await compare(desk.archive)).findings == ()


async def test_the_access_log_is_kept_two_years_and_longer_for_what_is_held(desk: Desk) -> None:
    kept, held = await desk.kept(), await desk.kept()
    await hold(desk.archive, LOCAL_OPERATOR, desk.reader(), held.call_id, TALK)
    await desk.heard(kept)
    desk.clock.advance(YEAR * 2)
    await sweep(desk.archive)
    assert len(await access_log(desk.archive)) == 2
    desk.clock.advance(timedelta(days=2))
    await sweep(desk.archive)
    assert [each.call_id for each in await access_log(desk.archive)] == [held.call_id]


async def test_with_an_owners_keys_all_its_recordings_are_gone_in_every_copy(desk: Desk) -> None:
    kept, others = await desk.kept(), await desk.kept(desk.other)
    copy = (desk.archive.folder / kept.file).read_bytes()
    assert await shred(desk.archive, desk.owner) == 1
    assert desk.files() == [others.file]
    assert (await desk.record(kept.call_id)).recording_reason == SHREDDED
    (desk.archive.folder / kept.file).write_bytes(copy)
    with pytest.raises(GaveUp, match="destroyed"):
        await desk.archive.key_for(desk.owner, 1)
    assert await desk.heard(others, desk.other)


async def test_nothing_is_shredded_while_something_is_held(desk: Desk) -> None:
    kept, held = await desk.kept(), await desk.kept()
    await hold(desk.archive, LOCAL_OPERATOR, desk.reader(), held.call_id, TALK)
    with pytest.raises(Conflict, match="1 of its recordings are on legal hold"):
        await shred(desk.archive, desk.owner)
    assert await desk.heard(kept) == await desk.heard(held)
