"""Every SIP message that Asterisk sends and gets, kept for some hours so that a call can be looked at afterwards.

Asterisk copies them to a UDP address on this machine as HEP version 3 (its res_hep). The packets are kept as they came,
one after another in one file per hour, and read when somebody asks: hardly any call is ever looked at, and every call
has fourteen. The files hold phone numbers, so only their owner may read them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec
import structlog

from engine.foundation.clock import Clock
from engine.foundation.errors import Invalid

log = structlog.get_logger(__name__)

_FILE = "%Y%m%dT%H.hep"
_FORMER_FILES = "*.jsonl"
"""What older versions wrote; removed in its time."""
_WRITE_AFTER = 0.2  # seconds that messages wait for company before they are written
_LOOKED_EVERY = 0.02  # seconds; the kernel keeps about two hundred packets meanwhile, if it is not told to keep more
_LONGEST_PACKET = 65536
_WRITTEN_WITHIN = timedelta(minutes=1)
_MOST_WAITING = 1000
_MOST_BYTES_AN_HOUR = 1 << 30
"""About 100,000 calls; a flood of strangers' messages must not fill the disk."""

_RECEIVE_BUFFER = 4 << 20

_MAGIC = b"HEP3"
_CHUNK_HEAD = struct.Struct("!HHH")  # vendor, type, length
_CALL_ID = re.compile(r"^(?:call-id|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


class SipMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One SIP message as it went over the wire. `source` and `destination` are host:port.

    Of a message that Asterisk got, `destination` is the address it takes for its own, which need not be the one it is
    bound to (seen with 22.10.1); the other three are exact.
    """

    at: datetime
    source: str
    destination: str
    call_id: str
    text: str


def parse_hep(packet: bytes) -> SipMessage:
    """The SIP message inside a HEP3 packet. Raises Invalid when it holds none.

    HEP3: `HEP3`, length, then chunks of vendor, type, length (their own six bytes included) and value, big-endian.
    """
    if not _is_whole(packet):
        raise Invalid("HEP packet: it is not HEP version 3 or was cut short")
    chunks = dict(_chunks(packet))
    try:
        # What Asterisk receives it stamps by the millisecond, what it sends by the microsecond: taken as they are,
        # an ACK could lie before the 200 that it answers.
        seconds, milliseconds = int.from_bytes(chunks[9]), int.from_bytes(chunks[10]) // 1000
        text = chunks[15].decode(errors="replace")
        source, destination = _place(chunks, 3, 5, 7), _place(chunks, 4, 6, 8)
    except (KeyError, ValueError):
        raise Invalid("HEP packet: time, addresses or payload are missing") from None
    # The message's own Call-ID, not the correlation chunk: that one may be a channel's name.
    call_id = _CALL_ID.search(text.partition("\r\n\r\n")[0])
    if call_id is None:
        raise Invalid("HEP packet: its payload is no SIP message with a Call-ID")
    return SipMessage(
        at=datetime.fromtimestamp(seconds, UTC) + timedelta(milliseconds=milliseconds),
        source=source,
        destination=destination,
        call_id=call_id[1],
        text=text,
    )


def find(
    folder: Path, sip_call_ids: Collection[str], since: datetime | None = None, until: datetime | None = None
) -> list[SipMessage]:
    """The kept messages of these SIP Call-IDs, by time and then as they came.

    `since` and `until`, where given, spare other hours' files.
    """
    wanted = set(sip_call_ids)
    first = since.astimezone(UTC).strftime(_FILE) if since else ""
    last = (until.astimezone(UTC) + _WRITTEN_WITHIN).strftime(_FILE) if until else ""
    files = [file for file in sorted(folder.glob("*.hep")) if first <= file.name and (not last or file.name <= last)]
    found = (message for file in files for message in _read(file, wanted))
    return sorted(found, key=lambda message: message.at)


class SipTrace:
    """Receives and keeps. Messages are written in batches; those of the last 0.2 s are lost when it is killed.

    While messages come, the socket is looked at every so often: each packet that wakes this process costs Asterisk and
    us more than all else that is done with it.
    """

    def __init__(self, folder: Path, hours: int, clock: Clock) -> None:
        self._folder = folder
        self._hours = hours
        self._clock = clock
        self._waiting: list[bytes] = []
        self._writing: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._failing = ""
        self.unreadable = 0
        """Packets that were no HEP3, or not whole."""
        self.lost = 0
        """Messages that could not be written."""

    async def open(self, address: str) -> None:
        """Listens on `host:port`. Raises Invalid when that is taken or the folder cannot be written."""
        host, _, port = address.rpartition(":")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._remove_old()
        except OSError as error:
            raise Invalid(f"SIP trace: {self._folder} cannot be used ({error.strerror}); make it writable") from None
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            opened.bind((host, int(port)))
        except OSError as error:
            opened.close()
            raise Invalid(f"SIP trace: UDP {address} cannot be used ({error.strerror}); free it") from None
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._look_often, opened)

    def close(self) -> None:
        """Writes what has come and stops listening."""
        if self._looking is not None:
            self._looking.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._receive(self._socket)
            self._socket.close()
            self._socket = None
        self.write()

    def _look_often(self, opened: socket.socket) -> None:
        """Messages come after a while without any."""
        asyncio.get_running_loop().remove_reader(opened)
        self._look(opened)

    def _look(self, opened: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._receive(opened):
            self._looking = loop.call_later(_LOOKED_EVERY, self._look, opened)
        else:
            loop.add_reader(opened, self._look_often, opened)

    def _receive(self, opened: socket.socket) -> bool:
        """Takes what has come; whether something had."""
        received = 0
        with suppress(BlockingIOError):
            while received < _MOST_WAITING:
                self._take(opened.recv(_LONGEST_PACKET))
                received += 1
        return received > 0

    def _take(self, packet: bytes) -> None:
        if not _is_whole(packet):
            self.unreadable += 1
            return
        self._waiting.append(packet)
        if len(self._waiting) >= _MOST_WAITING:
            self.write()
        elif self._writing is None:
            self._writing = asyncio.get_running_loop().call_later(_WRITE_AFTER, self.write)

    def write(self) -> None:
        """Writes what waits, now. A failure loses these messages and nothing else: calls do not wait for a trace."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            self._append(b"".join(waiting))
            self._failing = ""
        except OSError as error:
            self.lost += len(waiting)
            reason = error.strerror or str(error)
            if reason != self._failing:
                log.warning("sip trace cannot be written", reason=reason)
            self._failing = reason

    def _append(self, packets: bytes) -> None:
        """Into the file of this hour: of the machine's, not of the messages' own clock, which anybody could set."""
        file = self._folder / self._clock.now().strftime(_FILE)
        if not file.exists():
            self._remove_old()
        elif file.stat().st_size > _MOST_BYTES_AN_HOUR:
            raise OSError(errno.EFBIG, f"{_MOST_BYTES_AN_HOUR} bytes in one hour are enough")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as opened:
            opened.write(packets)

    def _remove_old(self) -> None:
        oldest = (self._clock.now() - timedelta(hours=self._hours)).strftime(_FILE)
        for file in (*self._folder.glob("*.hep"), *self._folder.glob(_FORMER_FILES)):
            if file.stem < oldest.partition(".")[0]:
                file.unlink(missing_ok=True)


def _chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    position = 6
    while position + 6 <= len(packet):
        _vendor, kind, length = _CHUNK_HEAD.unpack_from(packet, position)
        if length < _CHUNK_HEAD.size:
            raise Invalid("HEP packet: a chunk without length")
        yield kind, packet[position + _CHUNK_HEAD.size : position + length]
        position += length


def _place(chunks: dict[int, bytes], ipv4: int, ipv6: int, port: int) -> str:
    number = int.from_bytes(chunks[port])
    if ipv4 in chunks:
        return f"{IPv4Address(chunks[ipv4])}:{number}"
    return f"[{IPv6Address(chunks[ipv6])}]:{number}"


def _is_whole(packet: bytes) -> bool:
    return packet[:4] == _MAGIC and int.from_bytes(packet[4:6]) == len(packet)


def _read(file: Path, wanted: set[str]) -> Iterator[SipMessage]:
    """The wanted messages of one hour. Only packets in which one of them is named are decoded."""
    marks = [call_id.encode() for call_id in wanted]
    try:
        kept = file.read_bytes()
    except FileNotFoundError:  # its time may be up just now
        return
    for packet in _packets(kept):
        if any(mark in packet for mark in marks):
            with suppress(Invalid):
                message = parse_hep(packet)
                if message.call_id in wanted:
                    yield message


def _packets(kept: bytes) -> Iterator[bytes]:
    """One after another. A process that was killed leaves half of one, in which the next one begins."""
    at = kept.find(_MAGIC)
    while at >= 0:
        end = at + max(int.from_bytes(kept[at + 4 : at + 6]), len(_MAGIC))
        another = kept.find(_MAGIC, at + len(_MAGIC), end)
        if another < 0 or kept.startswith(_MAGIC, end):
            yield kept[at:end]
            another = kept.find(_MAGIC, end)
        at = another
