"""The ear hears what is there, when it is there, and nothing else, through G.711 and lost packets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.foundation.errors import Invalid
from engine.sandbox import g711
from engine.sandbox.ear import Heard, describe, read, save, sounds, tones
from engine.sandbox.g711 import Samples
from engine.sandbox.recording import RATE, Recording
from engine.sandbox.rtp import tone
from engine.sandbox.sdp import Codec

NEAR = 0.04  # seconds by which an edge may be told wrong


def speech(seed: int, seconds: float) -> Samples:
    """Something like a voice: a pitch that glides, changing formants, short pauses between syllables."""
    random = np.random.default_rng(seed)
    instants = np.arange(round(seconds * RATE)) / RATE

    def wandering(lowest: float, highest: float, per_second: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        knots = np.arange(0, seconds + 2 / per_second, 1 / per_second)
        return np.interp(instants, knots, random.uniform(lowest, highest, len(knots)))

    phase = 2 * np.pi * np.cumsum(wandering(90, 220, 10)) / RATE
    voice = sum(
        wandering(0, 1, 12) / harmonic * np.sin(harmonic * phase + random.uniform(0, 6)) for harmonic in range(1, 18)
    )
    syllables = 0.15 + 0.85 * np.abs(np.sin(2 * np.pi * 2.1 * instants + random.uniform(0, 3)))
    return np.asarray(3500 * voice * syllables + random.normal(0, 60, len(instants)), dtype=np.int16)


def melody(seed: int, seconds: float) -> Samples:
    """Two voices of short notes."""
    random = np.random.default_rng(seed)
    notes = [
        tone(int(random.integers(300, 900)), 0.2, 5000) + tone(int(random.integers(150, 300)), 0.2, 3000)
        for _ in range(round(seconds * 5))
    ]
    return np.concatenate(notes).astype(np.int16)


def line(
    seconds: float, *parts: tuple[float, Samples], lost: tuple[int, ...] = (), codec: Codec = Codec.PCMA
) -> Recording:
    """What a party records when each part begins at its second and those 20 ms packets are lost."""
    mixed = np.zeros(round(seconds * RATE))
    for at, samples in parts:
        begin = round(at * RATE)
        mixed[begin : begin + len(samples)] += samples[: len(mixed) - begin]
    heard = g711.decode(codec, g711.encode(codec, np.clip(mixed, -32768, 32767).astype(np.int16))).copy()
    for packet in lost:
        heard[packet * 160 : (packet + 1) * 160] = 0
    return Recording(0.0, heard)


def quieter(samples: Samples, factor: float) -> Samples:
    return np.asarray(samples * factor, dtype=np.int16)


def assert_heard(heard: list[Heard], *expected: tuple[str, float, float]) -> None:
    assert [one.what for one in heard] == [what for what, _, _ in expected]
    for one, (_, start, end) in zip(heard, expected, strict=True):
        assert (one.start, one.end) == pytest.approx((start, end), abs=NEAR)


KNOWN = {"notice": speech(1, 2.1), "whisper": speech(2, 1.7), "ringback": melody(3, 4.0), "closed": melody(4, 3.0)}


@pytest.mark.parametrize("codec", list(Codec))
def test_tones_are_heard_from_their_beginning_to_their_end(codec: Codec) -> None:
    recording = line(4, (0.513, tone(500, 1.234)), (1.747, tone(1100, 0.5)), (3.0, tone(425, 0.3)), codec=codec)
    heard = tones(recording, [425, 500, 700, 1100])
    assert_heard(heard, ("500 Hz", 0.513, 1.747), ("1100 Hz", 1.747, 2.247), ("425 Hz", 3.0, 3.3))


def test_two_tones_at_once_are_told_apart_even_when_one_is_soft() -> None:
    recording = line(3, (0.2, tone(500, 2.5)), (1.0, quieter(tone(600, 1.0), 0.1)))
    assert_heard(tones(recording, [500, 600, 700]), ("500 Hz", 0.2, 2.7), ("600 Hz", 1.0, 2.0))


def test_a_tone_beside_the_one_asked_for_is_not_it() -> None:
    recording = line(3, (0.5, tone(460, 1.0)), (1.8, tone(530, 1.0)))
    assert tones(recording, [425, 500]) == []


def test_speech_music_noise_and_silence_are_no_tones() -> None:
    hiss = np.random.default_rng(5).normal(0, 800, 3 * RATE).astype(np.int16)
    for sound in (speech(6, 3), speech(7, 3), hiss, np.zeros(3 * RATE, np.int16)):
        assert tones(line(3, (0, sound)), [400, 500, 600, 700, 1100]) == []


def test_a_tone_under_softer_speech_is_heard() -> None:
    recording = line(3, (0.0, quieter(speech(6, 3), 0.3)), (0.5, tone(1100, 2.0)))
    assert_heard(tones(recording, [500, 1100]), ("1100 Hz", 0.5, 2.5))


def test_a_few_lost_packets_do_not_cut_a_tone_and_a_real_pause_does() -> None:
    recording = line(3, (0.2, tone(500, 1.0)), (1.5, tone(500, 1.0)), lost=(30, 31, 90))
    assert_heard(tones(recording, [500]), ("500 Hz", 0.2, 1.2), ("500 Hz", 1.5, 2.5))


def test_tones_too_close_to_tell_apart_are_refused() -> None:
    with pytest.raises(Invalid, match="60 Hz"):
        tones(line(1), [500, 550])


def test_an_empty_recording_holds_nothing() -> None:
    nothing = Recording(0.0, np.zeros(0, np.int16))
    assert tones(nothing, [500]) == []
    assert sounds(nothing, KNOWN) == []
    assert sounds(line(1, (0, tone(500))), {}) == []


@pytest.mark.parametrize("codec", list(Codec))
def test_known_sounds_are_heard_from_their_beginning_to_their_end(codec: Codec) -> None:
    recording = line(9, (0.5, KNOWN["notice"]), (2.7, KNOWN["ringback"]), (7.0, KNOWN["whisper"]), codec=codec)
    assert_heard(sounds(recording, KNOWN), ("notice", 0.5, 2.6), ("ringback", 2.7, 6.7), ("whisper", 7.0, 8.7))


def test_a_sound_may_be_cut_at_both_ends() -> None:
    recording = line(4, (0.3, KNOWN["notice"][8000:]), (2.0, KNOWN["ringback"][: int(1.35 * RATE)]))
    assert_heard(sounds(recording, KNOWN), ("notice", 0.3, 1.4), ("ringback", 2.0, 3.35))


def test_a_looped_sound_is_one_hearing_and_a_repeated_one_is_two() -> None:
    looped = np.tile(KNOWN["ringback"], 3)[: int(9.5 * RATE)]
    recording = line(16, (0.4, looped), (10.5, KNOWN["notice"]), (13.5, KNOWN["notice"]))
    assert_heard(sounds(recording, KNOWN), ("ringback", 0.4, 9.9), ("notice", 10.5, 12.6), ("notice", 13.5, 15.6))


def test_a_pause_within_a_sound_is_part_of_it() -> None:
    cadence = np.concatenate([melody(8, 1.0), np.zeros(2 * RATE, np.int16), melody(9, 1.0)])
    assert_heard(sounds(line(5, (0.5, cadence)), {"cadence": cadence}), ("cadence", 0.5, 4.5))


def test_lost_packets_and_a_shift_in_time_do_not_split_a_sound() -> None:
    shifted = np.concatenate([KNOWN["ringback"][:16000], np.zeros(300, np.int16), KNOWN["ringback"][16000:]])
    recording = line(8, (0.5, shifted), (5.0, KNOWN["notice"]), lost=(60, 61, 62, 63, 64, 280, 300, 301))
    assert_heard(sounds(recording, KNOWN), ("ringback", 0.5, 4.54), ("notice", 5.0, 7.1))


def test_a_sound_is_heard_louder_softer_and_over_another() -> None:
    recording = line(
        9,
        (0.5, quieter(KNOWN["notice"], 0.3)),
        (3.0, quieter(KNOWN["notice"], 1.8)),
        (5.5, KNOWN["whisper"]),
        (5.5, quieter(speech(50, 3.0), 0.3)),
    )
    assert_heard(sounds(recording, KNOWN), ("notice", 0.5, 2.6), ("notice", 3.0, 5.1), ("whisper", 5.5, 7.2))


def test_a_known_sound_leaking_softly_under_another_known_one_is_found() -> None:
    recording = line(5, (0.3, KNOWN["ringback"]), (1.0, quieter(KNOWN["whisper"], 0.15)))
    assert_heard(sounds(recording, KNOWN), ("ringback", 0.3, 4.3), ("whisper", 1.0, 2.7))


def test_two_known_sounds_of_one_loudness_at_once_are_both_heard() -> None:
    recording = line(6, (0.3, KNOWN["notice"]), (1.0, quieter(KNOWN["closed"], 0.5)))
    assert {one.what for one in sounds(recording, KNOWN)} == {"notice", "closed"}


def test_unknown_voices_music_and_tones_are_not_taken_for_known_sounds() -> None:
    for other in (speech(20, 4), speech(21, 4), melody(22, 4), tone(500, 4), np.zeros(4 * RATE, np.int16)):
        assert sounds(line(4, (0, other)), KNOWN) == []


def test_what_was_heard_is_described_in_a_line() -> None:
    heard = [Heard("notice", 0, 2.1), Heard("ringback", 2.1, 4.1), Heard("ringback", 4.5, 5.9), Heard("shop", 6, 8)]
    assert describe(heard) == "notice 2.1 s, ringback 3.4 s, shop 2.0 s"
    assert describe([]) == "nothing"


def test_a_recording_is_saved_as_wav_and_read_back(tmp_path: Path) -> None:
    recording = line(0.5, (0.1, tone(500, 0.2)))
    save(recording, tmp_path / "new" / "heard.wav")
    assert np.array_equal(read(tmp_path / "new" / "heard.wav"), recording.samples)


def test_what_is_no_such_wav_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for name in ("text.wav", "missing.wav"):
        with pytest.raises(Invalid, match=name):
            read(tmp_path / name)
