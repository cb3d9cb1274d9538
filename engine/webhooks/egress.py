"""The one way out to receivers: the address is judged when it is connected to, whatever a name meant before.

No redirects, no proxies, no cookies, no password files; answers are read to a few kilobytes, and nothing lasts long.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from engine.webhooks.addresses import Network, is_allowed, is_opened
from engine.webhooks.ladder import Answer

_CONNECT_WITHIN = 5.0
_READ_AT_MOST = 4096
"""Bytes of an answer's body, which nobody looks at: so much is worth a connection that can be used again."""
_KEPT_OPEN = 60.0
_NOT_PUBLIC = "its name stands for an address that is not public, to which nothing is sent"


class AddressRefused(OSError):  # noqa: N818 - as the foundation's errors are named
    """The address of a name is none to send to."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, _NOT_PUBLIC)


class Egress:
    """Sends to receivers. To be opened with `async with`."""

    def __init__(
        self, opened: Sequence[Network] = (), *, timeout: float = 15.0, resolver: AbstractResolver | None = None
    ) -> None:
        """`opened` are networks that are sent to although they are not public, with http too; `timeout` in seconds."""
        self._opened = tuple(opened)
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=_CONNECT_WITHIN, sock_connect=_CONNECT_WITHIN)
        self._resolver = resolver
        self._stack = AsyncExitStack()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Egress:
        allowed: dict[str, Callable[[str], bool]] = {
            "https": lambda address: is_allowed(address, self._opened),
            "http": lambda address: is_opened(address, self._opened),
        }
        for scheme, is_fine in allowed.items():
            connector = aiohttp.TCPConnector(
                socket_factory=_socket_factory(is_fine),
                resolver=self._resolver,
                use_dns_cache=False,
                limit=0,
                keepalive_timeout=_KEPT_OPEN,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                connector_owner=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=self._timeout,
                raise_for_status=False,
                read_bufsize=_READ_AT_MOST,
            )
            self._sessions[scheme] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._stack.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Sends once. Whatever goes wrong is an answer: nothing is raised."""
        began = time.monotonic()
        status, reason = await self._post(url, headers, body)
        return Answer(status, reason, round(time.monotonic() - began, 4))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int | None, str]:
        target = URL(url)
        session = self._sessions.get(target.scheme)
        if session is None:
            return None, "its address is neither https nor http"
        if not _speaks_to(target, self._opened):
            return None, _NOT_PUBLIC
        try:
            async with session.post(target, headers=headers, data=body, allow_redirects=False) as response:
                await _read_little(response)
                return response.status, _told(response.status)
        except TimeoutError:
            return None, f"it did not answer within {self._timeout.total:g} seconds"
        except aiohttp.ClientError as error:
            return None, _reason(error)
        except (OSError, ValueError) as error:  # a name that cannot be written for the network, an odd answer
            return None, f"it could not be reached ({type(error).__name__})"


def _speaks_to(target: URL, opened: Sequence[Network]) -> bool:
    """Once more what was asked when it was set: the settings may have changed since."""
    return target.user is None and (target.scheme == "https" or bool(opened))


def _socket_factory(is_fine: Callable[[str], bool]) -> Callable[[Any], socket.socket]:
    """Every connection gets its socket here, with the very address that it goes to, literal or resolved."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if family not in (socket.AF_INET, socket.AF_INET6) or not is_fine(str(address[0])):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


async def _read_little(response: aiohttp.ClientResponse) -> None:
    """So that the connection can be used again; of who says much it is closed."""
    left = _READ_AT_MOST
    while left > 0 and not response.content.at_eof():
        left -= len(await response.content.read(left))
    if not response.content.at_eof():
        response.close()


def _told(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"it answered {status}: redirects are not followed; set the address that it leads to"
    return f"it answered {status}"


def _reason(error: aiohttp.ClientError) -> str:
    """In words, without addresses and without what a stranger's server said."""
    if isinstance(error, aiohttp.InvalidURL):
        return "its address cannot be used"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no safe connection (TLS) came about: its certificate cannot be trusted, or it speaks no TLS"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, AddressRefused):
            return _NOT_PUBLIC
        return f"no connection ({cause.strerror or type(cause).__name__})"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return f"its answer could not be understood ({type(error).__name__})"
