"""What is kept of an answer, and in which order equal requests come."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.idempotency import Turns, slot_of
from engine.api.problems import Refused

_KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)


@given(st.text(max_size=50), _KEYS, st.binary(max_size=100))
def test_a_slot_is_found_again_by_the_same_and_opened_by_nothing_else(who: str, key: str, request: bytes) -> None:
    slot = slot_of(who, key, request)
    assert slot == slot_of(who, key, request)
    other = slot_of(who, key, request + b"x")
    assert (other.id, other.key) == (slot.id, slot.key)
    assert other.fingerprint != slot.fingerprint
    assert slot_of(who + "x", key, request).id != slot.id
    assert slot.key != slot.id


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\nb", "주문"])
def test_what_cannot_be_a_key_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="Idempotency-Key"):
        slot_of("user:1", key, b"")


async def test_equal_requests_go_one_after_the_other_and_others_do_not_wait() -> None:
    turns, slot, other = Turns(), slot_of("a", "k", b""), slot_of("b", "k", b"")
    inside, most, done = 0, 0, []

    async def once(number: int) -> None:
        nonlocal inside, most
        async with turns.turn(slot):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
        done.append(number)

    async with turns.turn(slot):
        waiting = [asyncio.ensure_future(once(number)) for number in range(5)]
        async with turns.turn(other):
            pass
        waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert most == 1
    assert done == [0, 1, 3, 4]
    assert turns.idle
