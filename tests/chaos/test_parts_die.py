"""Parts die that look after others, and Asterisk stands still: live calls go on, and nobody is left on a line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.chaos import oracle
from tests.chaos.answers_to_nobody import answers_to_nobody
from tests.chaos.asterisk_still import killed_while_it_stands, stands_still, three_are_gone
from tests.chaos.field import Field, field_on
from tests.chaos.figures import Figures
from tests.chaos.nobody_looks_after import LIVE_CALLS, dies_again_and_again, gone_for_good
from tests.chaos.processes import vacuous
from tests.chaos.scene import install_telephones, numbers
from tests.chaos.size import CALLS, INSTANTS, seeds
from tests.chaos.supervisor_killed import (
    STOP_SECONDS,
    died_in_between,
    ends_after_its_calls,
    killed_under_calls,
    told_to_stop,
)
from tests.chaos.watched_shop import WatchedShop, watched_shop
from tests.real_asterisk import loopback

DARI, CARRIER = (loopback(33, host) for host in (1, 2))


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[WatchedShop]:
    async with watched_shop(DARI, CARRIER, DARI_STOP_SECONDS=str(STOP_SECONDS)) as running:
        yield running


@pytest.fixture(scope="module")
async def field(shop: WatchedShop) -> AsyncIterator[Field]:
    """The same, with calls in every phase."""
    async with field_on(shop.shop.home, shop.shop.up, shop.carrier) as running:
        install_telephones(running.carrier)
        await running.put_into_service(numbers())
        yield running


async def test_live_calls_notice_nothing_of_a_killed_dari_up_and_calls_come_through_while_there_is_none(
    shop: WatchedShop, field: Field, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("`dari up` is killed with calls in every phase, and another takes its parts over, twice")
    await vacuous(lambda hand: killed_under_calls(shop, field, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean(
        [await killed_under_calls(shop, field, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)]
    )


async def test_a_part_that_died_in_between_is_started_again_and_the_others_are_not(
    shop: WatchedShop, field: Field, figures: Figures
) -> None:
    await vacuous(lambda hand: died_in_between(shop, figures, seed=1, calls=0, hand=hand))
    for seed in seeds(INSTANTS):
        await died_in_between(shop, figures, seed=seed, calls=1)
    field.up = shop.shop.up


async def test_nobody_is_left_on_a_line_when_there_is_no_engine_and_no_dari_up(
    shop: WatchedShop, field: Field, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("engine and `dari up` are killed, and nobody starts them again")
    await vacuous(lambda hand: gone_for_good(shop, field, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean(
        [await gone_for_good(shop, field, figures, seed=seed, calls=LIVE_CALLS) for seed in seeds(INSTANTS)]
    )


async def test_nor_when_the_engine_dies_again_and_again(shop: WatchedShop, figures: Figures) -> None:
    await vacuous(lambda hand: dies_again_and_again(shop, figures, seed=1, calls=0, hand=hand))
    for seed in seeds(INSTANTS):
        await dies_again_and_again(shop, figures, seed=seed, calls=1)


async def test_a_telephone_that_answers_while_there_is_no_engine_waits_for_the_next_one(
    shop: WatchedShop, figures: Figures
) -> None:
    await vacuous(lambda hand: answers_to_nobody(shop, figures, seed=1, calls=0, hand=hand))
    for seed in seeds(INSTANTS):
        await answers_to_nobody(shop, figures, seed=seed, calls=1)


async def test_calls_outlive_an_asterisk_that_stands_still(
    shop: WatchedShop, field: Field, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("Asterisk stands still under calls")
    await vacuous(lambda hand: stands_still(shop, field, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean([await stands_still(shop, field, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)])


async def test_an_asterisk_is_killed_while_it_stands_still(shop: WatchedShop, figures: Figures) -> None:
    await vacuous(lambda hand: killed_while_it_stands(shop, figures, seed=1, calls=0, hand=hand))
    for seed in seeds(INSTANTS):
        await killed_while_it_stands(shop, figures, seed=seed, calls=1)


async def test_an_engine_that_is_there_before_asterisk_and_an_asterisk_before_the_database(
    shop: WatchedShop, figures: Figures
) -> None:
    await vacuous(lambda hand: three_are_gone(shop, figures, seed=1, hand=hand))
    for seed in seeds(INSTANTS):
        await three_are_gone(shop, figures, seed=seed)


async def test_a_dari_up_that_is_told_to_stop_waits_for_its_calls_and_says_so(shop: WatchedShop) -> None:
    await vacuous(lambda hand: told_to_stop(shop, hand))
    await ends_after_its_calls(shop)
