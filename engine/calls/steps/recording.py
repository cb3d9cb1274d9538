"""The talk is recorded, in stereo with the caller on the left, only after both sides heard that it is."""

from __future__ import annotations

import asyncio

import structlog

from engine.accounts.model import Module
from engine.asterisk.commands import OutcomeUnknown
from engine.calls.call import Call
from engine.calls.party import Party
from engine.cdr.model import Side, StepKind, expected_file
from engine.events.call_log import CallEventKind
from engine.foundation.errors import Conflict, DariError, NotFound
from engine.numbers.treatment import RecordMode
from engine.prompts.wholeness import is_cut_short
from engine.routing.call_plan import Forward, NoticeKind
from engine.routing.switched import NOT_RECORDED

log = structlog.get_logger(__name__)

# MixMonitor: b = only while bridged; D = one file of interleaved left (caller) and right (target).
_OPTIONS = "bD"

START_KEYS = "*1"
"""Starts a recording, and goes on with one that pauses; pressed by the called party."""
PAUSE_KEYS = "*2"
"""Pauses it: the file has silence meanwhile."""

_FILE_WITHIN = 0.3
"""Seconds after which a recording that began has its file: where Asterisk gave no answer, the file tells."""

_BOTH = (Side.CALLER, Side.TARGET)


class Recording:
    """The recording of one talk. Whoever wants it started, paused or resumed asks here: the plan, a key, the API."""

    def __init__(self, call: Call, plan: Forward, target: Party) -> None:
        self._call = call
        self._mode = plan.recording
        self._is_off = Module.RECORDING in plan.switched_off
        caller_was_told = call.notes.was_heard(StepKind.RECORDING_NOTICE, Side.CALLER)
        target_was_told = target.was_told
        if self._mode is not RecordMode.NEVER:
            caller_was_told = caller_was_told and not any(map(self._is_cut_short, _to_caller(plan)))
            target_was_told = target_was_told and not self._is_cut_short(plan.recording_notice_to_target)
        self._against = _reason_against(caller_was_told, target_was_told)
        self._running = call.notes.goes_on(StepKind.RECORDING)
        """In a talk that is taken over it may be."""
        self._paused = call.notes.goes_on(StepKind.PAUSE)
        self._over = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def state(self) -> str:
        """none, off, recording or paused."""
        if self._mode is RecordMode.NEVER:
            return "none"
        return "paused" if self._paused else "recording" if self._running else "off"

    async def _stop(self) -> None:
        try:
            await self._call.board.recorder.stop_recording(self._call.caller.channel_name)
        except DariError as error:
            log.warning("recording not stopped", call=str(self._call.id), reason=str(error))

    async def talk_begins(self) -> None:
        """The two are connected just now: where the number always records, it runs from here on.

        Not before: of a recorder that was there while the caller still heard ringback, one side of the file is silent
        in every twentieth call (Asterisk 22.10).
        """
        if self._is_off and not self._running:
            self._keep_reason(NOT_RECORDED)
        if self._mode is RecordMode.ALWAYS and not self._running:
            await self._start()
        self._goes_on()

    def _goes_on(self) -> None:
        if self._running and not self._call.notes.goes_on(StepKind.RECORDING):
            self._call.notes.begin(StepKind.RECORDING, _BOTH)

    def talk_ends(self) -> None:
        """Nothing is recorded any more, whoever is just asking for it."""
        self._over = True

    async def follow_keys(self, target: Party) -> None:
        """Does what the called party's keys say, until cancelled."""
        if self._mode is RecordMode.NEVER:
            return
        since = len(target.keys)

        def pressed() -> str | None:
            return next((keys for keys in (START_KEYS, PAUSE_KEYS) if target.pressed(keys, since)), None)

        while True:
            await self._call.until(pressed)
            keys, since = pressed(), len(target.keys)
            try:
                await (self.resume() if keys == START_KEYS else self.pause())
            except DariError as error:
                log.info("a recording key changed nothing", call=str(self._call.id), reason=str(error))

    async def resume(self) -> None:
        """Starts, or goes on after a pause. Raises Conflict when it may not be recorded or runs already."""
        async with self._one_at_a_time:
            await self._resume()

    async def pause(self) -> None:
        """Silence in the file from now on. Raises Conflict when nothing is being recorded."""
        async with self._one_at_a_time:
            await self._pause()

    async def _resume(self) -> None:
        if self._is_off:
            raise Conflict(f"call {self._call.id}: {NOT_RECORDED}; ask who is above the account to switch it on")
        if self._mode is RecordMode.NEVER:
            raise Conflict(
                f"call {self._call.id}: its number does not record; set it with `dari number set --recording`"
            )
        self._check_talk()
        if not self._running:
            await self._start()
            if not self._running:
                raise Conflict(f"call {self._call.id}: not recorded: {self._call.notes.recording_reason}")
            self._check_talk()
            self._goes_on()
            self._call.keep()
        elif self._paused:
            await self._silence(False)
            self._call.notes.end(StepKind.PAUSE)
            self._call.keep()
            self._call.notes.tell(CallEventKind.RECORDING, "goes on")
        else:
            raise Conflict(f"call {self._call.id}: it is being recorded already")

    async def _pause(self) -> None:
        self._check_talk()
        if not self._running or self._paused:
            raise Conflict(f"call {self._call.id}: nothing is being recorded that could pause")
        await self._silence(True)
        self._call.notes.begin(StepKind.PAUSE, _BOTH)
        self._call.keep()
        self._call.notes.tell(CallEventKind.RECORDING, "pauses")

    def _is_cut_short(self, sound: str | None) -> bool:
        return sound is not None and is_cut_short(self._call.board.sounds / f"{sound}.wav")

    def _check_talk(self) -> None:
        if self._over:
            raise Conflict(f"call {self._call.id}: the talk is over, and its recording with it")

    async def _silence(self, silent: bool) -> None:
        try:
            await self._call.board.recorder.silence_recording(self._call.caller.channel_name, silent)
        except NotFound:
            raise Conflict(f"call {self._call.id}: the caller has just left, and the recording has ended") from None
        self._check_talk()
        self._paused = silent

    def _keep_reason(self, reason: str) -> None:
        self._call.notes.recording_reason = reason
        self._call.notes.tell(CallEventKind.NOT_RECORDED, reason)

    async def _start(self) -> None:
        """Starts it, or keeps the reason why not; either way the call goes on."""
        call, reason = self._call, self._against
        if not reason:
            file = call.board.monitor / f"{call.id}.raw"
            if call.life > 1 and file.exists():  # an earlier life may have begun it, for a talk that never was
                await self._stop()
            was_there = file.exists()
            try:
                await call.board.recorder.record(call.caller.channel_name, str(file), _OPTIONS)
            except OutcomeUnknown as error:
                await asyncio.sleep(_FILE_WITHIN)
                if was_there or not file.exists():
                    reason = f"Asterisk did not start it: {error}"
            except DariError as error:
                reason = f"Asterisk did not start it: {error}"
        if reason:
            self._keep_reason(reason)
            return
        self._running = True
        call.notes.recording_reason = ""
        call.notes.recording = expected_file(call.notes.arrival, ".wav")
        call.keep()
        call.notes.tell(CallEventKind.RECORDING)


def _to_caller(plan: Forward) -> tuple[str, ...]:
    return tuple(notice.sound for notice in plan.notices if notice.kind is NoticeKind.RECORDING)


def _reason_against(caller_was_told: bool, target_was_told: bool) -> str:
    if not caller_was_told:
        return "the caller did not hear the whole recording notice"
    if not target_was_told:
        return "the target did not hear the whole recording notice"
    return ""
