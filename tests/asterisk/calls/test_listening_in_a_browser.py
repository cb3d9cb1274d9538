"""The listening page in a real browser, Chromium: what it shows, and that sound comes out of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from engine.api.app import make_api, serving
from engine.api.listening import listening_router
from engine.calls.listening_rules import Mode
from engine.sandbox.carrier import Carrier
from engine.sandbox.recording import RATE, Recording
from engine.settings import PRODUCT_FILES
from tests.asterisk.calls.test_listening import SHOP_TONE, heard, talk, until_nobody_listens
from tests.engine_rig import Rig
from tests.eventually import eventually
from tests.listening_post import Post, listening_post
from tests.loopback import ANY_PORT

DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=640)
_FAKES = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio")


@pytest.fixture
async def post(rig: Rig) -> AsyncIterator[Post]:
    async with listening_post(rig.reception) as post:
        yield post


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, else the one that tests/get-chromium unpacked; its microphone beeps."""
    program = shutil.which("chromium") or str(PRODUCT_FILES / ".cache" / "chromium" / "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *_FAKES])
        yield browser
        await browser.close()


@asynccontextmanager
async def page_of(post: Post, ticket: str, size: ViewportSize, language: str) -> AsyncIterator[Page]:
    """The page behind a ticket, opened; it must have said nothing bad by the end."""
    async with serving(make_api([listening_router([post.socket])]), ANY_PORT) as url, chromium() as browser:
        context = await browser.new_context(viewport=size, locale=language)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{url}/listen#{ticket}")
        yield page
        assert complaints == []
        await context.close()


async def level(page: Page) -> float:
    return float(await page.locator("#level").evaluate("meter => meter.value"))


async def listen(page: Page) -> None:
    await page.locator("#start").click()
    await page.locator('#state[data-state="live"]').wait_for(timeout=30_000)


@pytest.mark.parametrize(
    ("size", "language", "ready", "live"),
    [(DESKTOP, "ko-KR", "준비되었습니다", "청취 중"), (PHONE, "en-GB", "Ready", "Live")],
    ids=["desktop", "phone"],
)
async def test_sound_comes_out_of_the_page_until_the_button_ends_it(
    rig: Rig, carrier: Carrier, post: Post, size: ViewportSize, language: str, ready: str, live: str
) -> None:
    async with talk(rig, carrier) as talking:
        ticket = await post.ticket(talking.call.id)
        async with page_of(post, ticket, size, language) as page:
            assert await page.locator("#state").inner_text() == ready
            assert ticket not in page.url
            await listen(page)
            assert await page.locator("#state").inner_text() == live

            async def sounds() -> bool:
                return await level(page) > 0.1

            await eventually(sounds)
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), "wider than the screen"
            await page.locator("#stop").click()
            await page.locator('#state[data-state="over"]').wait_for()
        await until_nobody_listens(rig, talking)


async def test_microphone_is_heard_where_the_mode_says_and_not_when_muted(
    rig: Rig, carrier: Carrier, post: Post
) -> None:
    async with (
        talk(rig, carrier) as talking,
        page_of(post, await post.ticket(talking.call.id, Mode.BARGE), DESKTOP, "en-GB") as page,
    ):
        await listen(page)
        await page.locator("#mute").wait_for()
        await eventually(lambda: beeps(talking.caller.recording) > 0)
        await page.locator("#mute").click()
        assert await page.locator("#mute").inner_text() == "Unmute microphone"
        await eventually(lambda: beeps(talking.caller.recording.since(time.monotonic() - 2.5)) == 0)
        await page.locator("#stop").click()
        await until_nobody_listens(rig, talking)


def beeps(heard_by_caller: Recording) -> int:
    """Tenths of a second in which more was heard than the shop's tone: the microphone's beep, once a second."""
    samples = heard_by_caller.samples.astype(float)
    tenths = samples[: len(samples) // 800 * 800].reshape(-1, 800)
    angle = 2 * np.pi * SHOP_TONE * np.arange(800) / RATE
    shop = (np.hypot(tenths @ np.cos(angle), tenths @ np.sin(angle)) / 400) ** 2 / 2
    talk = shop > shop.max() / 2
    return int(((tenths**2).mean(axis=1)[talk] > 1.2 * shop[talk]).sum())


async def test_page_says_why_it_is_over(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with (
        talk(rig, carrier) as talking,
        page_of(post, await post.ticket(talking.call.id), PHONE, "ko-KR") as page,
    ):
        await listen(page)
        await talking.caller.hang_up()
        await page.locator('#state[data-state="over"]').wait_for()
        assert await page.locator("#why").inner_text() == "통화가 끝났습니다."
        await page.locator("#language").click()
        assert await page.locator("#why").inner_text() == "The call has ended."


async def test_link_that_was_used_is_refused_in_words(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as talking:
        ticket = await post.ticket(talking.call.id)
        async with post.open(ticket) as ear:
            await ear.live()
        async with page_of(post, ticket, DESKTOP, "en-GB") as page:
            await page.locator("#start").click()
            await page.locator('#state[data-state="over"]').wait_for()
            assert (await page.locator("#why").inner_text()).startswith("You cannot listen. this link was used already")
        assert "shop" in heard(talking.caller.recording)
