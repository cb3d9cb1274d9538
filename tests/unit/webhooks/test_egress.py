"""Nobody makes Dari talk to what is not public: by address, by name, by a name that changes, by a redirect."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.webhooks.addresses import check_url, is_allowed, shown_url, told_apart
from engine.webhooks.egress import Egress
from tests.webhook_sink import webhook_sink

LOOPBACK = (ip_network("127.0.0.0/8"),)

INSIDE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",  # metadata of a cloud
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # the same, at a public address
    "169.254.169.254",  # the same
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata of a cloud
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "211.249.220.24", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_no_address_that_is_not_public_is_connected_to(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_ones_are(address: str) -> None:
    assert is_allowed(address)


@given(st.ip_addresses(v=4))
def test_whatever_carries_an_address_is_judged_as_that_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    carriers = (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
    )
    if not is_allowed(str(address)):
        assert not any(is_allowed(str(carrier)) for carrier in carriers)


def test_a_network_that_was_opened_is_open_and_no_other() -> None:
    assert is_allowed("127.0.0.5", LOOPBACK)
    for address in ("10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"):
        assert not is_allowed(address, LOOPBACK)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/x",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://",
        "https:///x",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://１２７.0.0.1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://intranet/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\r\nX: y",
        "https://example.com/ x",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_an_address_that_can_be_seen_to_be_wrong_is_refused_when_it_is_set(url: str) -> None:
    with pytest.raises(Invalid, match=r"^url: "):
        check_url(url)


def test_usual_addresses_are_taken() -> None:
    for url in (
        "https://example.com/dari",
        "https://example.com:8443/dari?token=x",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]/x",
        "https://다리.한국/소식",
    ):
        assert check_url(url).startswith("https://")
    assert check_url("http://127.0.0.1:8080/x", LOOPBACK) == "http://127.0.0.1:8080/x"


def test_what_may_be_secret_in_an_address_is_not_shown() -> None:
    assert shown_url("https://example.com/hush?token=hush") == "https://example.com/…"
    assert shown_url("https://example.com:8443/hush") == "https://example.com:8443/…"
    assert "hush" not in told_apart("https://example.com/hush?token=hush", "x")
    with pytest.raises(Invalid) as refused:
        check_url("https://me:hush@example.com/")
    assert "hush" not in str(refused.value)


def test_addresses_are_told_apart_without_being_shown() -> None:
    one, other = "https://example.com/hush", "https://example.com/hush2"
    assert told_apart(one, "x") == told_apart(one, "x")
    assert len({told_apart(one, "x"), told_apart(other, "x"), told_apart(one, "y")}) == 3


class ChangingResolver(AbstractResolver):
    """A name whose owner answers each question as he likes."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def listener(*hosts: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port on loopback, and whatever reaches it: nothing ever may."""
    reached: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(b"connected")
        writer.close()

    server = await asyncio.start_server(take, hosts or "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], reached
    finally:
        server.close()
        await server.wait_closed()


async def refused(url: str, resolver: AbstractResolver | None = None, **options: object) -> str:
    async with Egress(resolver=resolver, timeout=5.0, **options) as egress:  # type: ignore[arg-type]
        answer = await egress.post(url, {}, b"{}")
    assert answer.status is None
    return answer.reason


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "017700000001", "127.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_whatever_way_loopback_is_written_nothing_reaches_it(scheme: str, host: str) -> None:
    async with listener() as (port, reached):
        assert re.search("not public|cannot be used", await refused(f"{scheme}://{host}:{port}/"))
        assert reached == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fe80::1"])
async def test_a_name_that_stands_for_such_an_address_is_not_connected_to(address: str) -> None:
    assert "not public" in await refused("https://shop.example.com/", ChangingResolver((address,)))


async def test_a_name_that_changes_its_meaning_gains_nothing() -> None:
    """DNS rebinding: public when it was set and when it was looked at, loopback when it is connected to."""
    async with listener() as (port, reached):
        resolver = ChangingResolver(("8.8.8.8",), ("127.0.0.1",))
        await resolver.resolve("shop.example.com", port)  # somebody's earlier look saw a public address
        assert "not public" in await refused(f"https://shop.example.com:{port}/", resolver)
        assert resolver.asked == 2
        assert reached == []


async def test_of_several_addresses_of_a_name_none_that_is_not_public_is_tried() -> None:
    async with listener() as (port, reached):
        resolver = ChangingResolver(("127.0.0.1", "::1", "::ffff:127.0.0.1"))
        assert "not public" in await refused(f"https://shop.example.com:{port}/", resolver)
        assert reached == []


async def test_http_reaches_what_was_opened_and_nothing_public() -> None:
    resolver = ChangingResolver(("8.8.8.8",))
    assert "not public" in await refused("http://shop.example.com/", resolver, opened=LOOPBACK)
    async with webhook_sink() as sink, Egress(LOOPBACK) as egress:
        headers = {"webhook-id": "a", "webhook-timestamp": "0", "webhook-signature": "v1,x"}
        assert (await egress.post(sink.url, headers, b"{}")).delivered


@asynccontextmanager
async def server(handler: object) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", handler)])  # type: ignore[arg-type]
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": f"http://127.0.0.1:{request.url.port}/inside"})

    async with server(handler) as url, Egress(LOOPBACK) as egress:
        answer = await egress.post(f"{url}/hook", {}, b"{}")
    assert (answer.status, answer.delivered) == (status, False)
    assert "redirects are not followed" in answer.reason
    assert paths == ["/hook"]


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 50_000_000:
            await response.write(b"x" * 4096)
            sent += 4096
        return response

    async with server(handler) as url, Egress(LOOPBACK) as egress:
        answer = await egress.post(url, {}, b"{}")
    assert answer.delivered
    assert sent < 50_000_000


async def test_a_packed_answer_is_not_unpacked() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8bno gzip at all", headers={"Content-Encoding": "gzip"})

    async with server(handler) as url, Egress(LOOPBACK) as egress:
        assert (await egress.post(url, {}, b"{}")).delivered


async def test_who_does_not_answer_is_given_up() -> None:
    hold = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        await hold.wait()
        return web.Response()

    async with server(handler) as url, Egress(LOOPBACK, timeout=0.3) as egress:
        answer = await egress.post(url, {}, b"{}")
        hold.set()
    assert (answer.status, answer.reason) == (None, "it did not answer within 0.3 seconds")


@pytest.mark.parametrize(
    "said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"]
)
async def test_nonsense_is_a_failure_in_words(said: bytes) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    started = await asyncio.start_server(take, "127.0.0.1", 0)
    async with Egress(LOOPBACK) as egress:
        answer = await egress.post(f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}/", {}, b"{}")
    started.close()
    assert answer.status is None
    assert answer.reason


async def test_a_certificate_that_nobody_trusts_is_a_failure_in_words() -> None:
    async with listener() as (port, _), Egress(LOOPBACK) as egress:
        answer = await egress.post(f"https://127.0.0.1:{port}/", {}, b"{}")
    assert answer.status is None
    assert "127.0.0.1" not in answer.reason
