"""`dari demo --once`: what a newcomer sees first, and what its exit code is worth."""

from __future__ import annotations

from tests.real_asterisk import loopback
from tests.whole_system import whole_system


async def test_six_calls_do_what_they_should_and_nothing_is_left() -> None:
    async with whole_system(loopback(91, 1)) as home:
        code, output, errors = await home.run("demo", "--once")
        assert code == 0, output + errors
        assert "6 of 6 calls did what they should" in output
        assert output.count("✓") == 6
        assert "message delivered" in output
        assert home.left() == []


async def test_it_is_no_success_when_the_message_cannot_be_sent() -> None:
    nobody = loopback(91, 9)
    async with whole_system(loopback(91, 1), DARI_GATEWAY_URL=f"http://{nobody}:9", DARI_GATEWAY_KEY="x") as home:
        code, output, errors = await home.run("demo", "--once")
        assert code == 1, output + errors
        assert errors.splitlines()[-1].startswith("dari: the message about call ")
        assert "did what they should" not in output
        assert home.left() == []
