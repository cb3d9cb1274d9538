"""Sound on the wire and on the timeline."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from engine.sandbox import g711
from engine.sandbox.recording import Arrival, Recording, lay_out
from engine.sandbox.rtp import FRAME, Beat, tone
from engine.sandbox.rtp_packet import Packet, event_digit, event_payload
from engine.sandbox.sdp import Codec

SOUND = tone(500, 0.2)
ENDED = 0.4


def stream(first_sequence: int = 65533, first_timestamp: int = (1 << 32) - 480, at: float = 0.1) -> list[Arrival]:
    """SOUND as packets on time, across the turn of both counters."""
    payload = g711.encode(Codec.PCMA, SOUND)
    return [
        Arrival(
            at + index * 0.02,
            Packet(
                Codec.PCMA.value,
                (first_sequence + index) % 65536,
                (first_timestamp + index * FRAME) % (1 << 32),
                7,
                payload[index * FRAME : (index + 1) * FRAME],
            ),
        )
        for index in range(10)
    ]


def heard(arrivals: list[Arrival]) -> Recording:
    return lay_out(arrivals, 0.0, ENDED, 101)


@pytest.mark.parametrize("codec", list(Codec))
def test_g711_keeps_each_level_and_comes_near_to_all_others(codec: Codec) -> None:
    every_byte = bytes(range(256))
    decoded = g711.decode(codec, every_byte)
    assert np.array_equal(g711.decode(codec, g711.encode(codec, decoded)), decoded)
    wave = tone(440, 0.5, 20000).astype(np.float64)
    noise = g711.decode(codec, g711.encode(codec, wave.astype(np.int16))) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) > 35


def test_g711_gives_the_bytes_of_the_standard() -> None:
    silence = np.zeros(1, np.int16)
    assert g711.encode(Codec.PCMA, silence) in (b"\xd5", b"\x55")
    assert g711.encode(Codec.PCMU, silence) in (b"\xff", b"\x7f")
    loudest = np.array([32767, -32768], np.int16)
    assert g711.encode(Codec.PCMA, loudest) == b"\xaa\x2a"
    assert g711.encode(Codec.PCMU, loudest) == b"\x80\x00"


def test_a_packet_survives_writing_and_reading() -> None:
    packet = Packet(8, 65535, 4294967295, 1, b"abc", marker=True)
    assert Packet.parse(packet.build()) == packet


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(12), b"\x80\xc8" + bytes(20), b"\x8f\x08" + bytes(10)])
def test_what_is_no_rtp_is_no_packet(data: bytes) -> None:
    assert Packet.parse(data) is None


def test_padding_sources_and_extension_are_not_sound() -> None:
    plain = Packet(8, 1, 2, 3, b"sound").build()
    extended = bytes([0xB1]) + plain[1:12] + bytes(4) + b"\xbe\xde\x00\x01" + bytes(4) + b"sound" + b"\x00\x00\x03"
    parsed = Packet.parse(extended)
    assert parsed is not None
    assert parsed.payload == b"sound"


def test_keys_are_told_from_other_events() -> None:
    assert [event_digit(event_payload(key, 160, last=True)) for key in "0*#D"] == ["0", "*", "#", "D"]
    assert event_digit(b"\x10\x0a\x00\xa0") is None  # flash
    assert event_digit(b"\x01") is None


def test_a_stream_lies_where_it_arrived_and_is_exact() -> None:
    recording = heard(stream())
    assert recording.duration == pytest.approx(ENDED)
    assert (recording.packets, recording.lost) == (10, 0)
    expected = g711.decode(Codec.PCMA, g711.encode(Codec.PCMA, SOUND))
    assert np.array_equal(recording.samples[800:2400], expected)
    assert not recording.samples[:800].any()
    assert not recording.samples[2400:].any()


def test_jitter_reordering_and_doubles_change_nothing() -> None:
    orderly = stream()
    shaken = [Arrival(one.instant + (index % 3) * 0.01, one.packet) for index, one in enumerate(orderly)]
    shaken[4], shaken[5] = shaken[5], shaken[4]
    shaken.insert(7, shaken[2])
    recording = heard(shaken)
    assert np.array_equal(recording.samples, heard(orderly).samples)
    assert recording.lost == 0


def test_lost_packets_are_silence_and_are_counted() -> None:
    arrivals = stream()
    recording = heard(arrivals[:3] + arrivals[5:])
    assert recording.lost == 2
    assert not recording.samples[800 + 3 * FRAME : 800 + 5 * FRAME].any()
    assert np.array_equal(recording.samples[800 + 5 * FRAME :], heard(arrivals).samples[800 + 5 * FRAME :])


def test_a_stream_that_falls_behind_is_heard_when_it_comes() -> None:
    late = [Arrival(one.instant + 0.1, one.packet) for one in stream()[5:]]
    recording = heard(stream()[:5] + late)
    assert not recording.samples[800 + 5 * FRAME : 800 + 10 * FRAME].any()
    assert recording.samples[2400:].any()


def test_a_stream_that_was_held_up_and_caught_up_is_heard_as_it_was_spoken() -> None:
    held_up = [Arrival(max(one.instant, 0.24), one.packet) for one in stream()[2:]]
    assert np.array_equal(heard(stream()[:2] + held_up).samples, heard(stream()).samples)


def test_nothing_is_heard_before_it_arrived() -> None:
    held_up = [Arrival(max(one.instant, 0.2), one.packet) for one in stream()]
    recording = heard(held_up)
    assert not recording.samples[:1600].any()
    assert np.array_equal(recording.samples[1600:], heard(stream()).samples[1600:])


def test_a_pause_of_the_speaker_is_a_pause_whether_timestamps_tell_of_it_or_not() -> None:
    payload = g711.encode(Codec.PCMA, tone(500, 0.02))
    for told in (0, 800, 123_456_789):
        spurts = [
            Arrival(at, Packet(8, index, 160 * index + (told if index == 2 else 0), 7, payload, marker=index == 2))
            for index, at in enumerate((0.02, 0.04, 0.16))
        ]
        audible = np.flatnonzero(np.abs(heard(spurts).samples.reshape(-1, 160)).max(axis=1) > 100)
        assert audible.tolist() == [1, 2, 8]


def test_two_streams_at_once_are_heard_together() -> None:
    other = [
        Arrival(one.instant, Packet(0, 1, one.packet.timestamp, 99, g711.encode(Codec.PCMU, tone(1100, 0.02))))
        for one in stream()
    ]
    alone, both = heard(stream()), heard(stream() + other)
    assert np.array_equal(both.samples.astype(int) - alone.samples, heard(other).samples)


def test_each_key_is_told_once_though_said_many_times() -> None:
    said = [event_payload(key, 160, last=False) for key in "11112222"]
    arrivals = [
        Arrival(0.1 + index * 0.02, Packet(101, index, 5000 + 2000 * (index // 4), 7, payload))
        for index, payload in enumerate(said)
    ]
    recording = heard(arrivals)
    assert [key for _, key in recording.digits] == ["1", "2"]
    assert [at for at, _ in recording.digits] == pytest.approx([0.1, 0.18])
    assert not recording.samples.any()


def test_a_piece_of_a_recording_counts_from_its_own_beginning() -> None:
    piece = heard(stream()).since(0.2)
    assert piece.start == pytest.approx(0.2)
    assert piece.duration == pytest.approx(ENDED - 0.2)
    assert piece.samples[:800].any()


async def test_what_a_busy_machine_had_no_time_to_say_is_told() -> None:
    beat, began = Beat(), time.monotonic()
    running = asyncio.get_running_loop().create_task(beat.run())
    await asyncio.sleep(0.1)
    time.sleep(0.9)  # noqa: ASYNC251 - nobody gets a turn
    await asyncio.sleep(0.05)
    running.cancel()
    over = time.monotonic()
    assert 0.3 < beat.unsaid(began, over) < over - began
    assert beat.unsaid(over, over + 1.0) == 0.0
