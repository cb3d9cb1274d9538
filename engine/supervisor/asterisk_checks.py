"""What the doctor asks of a running Asterisk: whether it obeys us, and sees the same files as we do."""

from __future__ import annotations

import asyncio
import io
import re
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec

from engine.asterisk.commands import Ari
from engine.asterisk.manager import Manager
from engine.foundation.errors import DariError
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.asterisk import OLDEST, OLDEST_23, parse_version
from engine.supervisor.check import Check, bad, ok, warn

_LIMIT = 5.0
_LOOK_EVERY = 0.05
_PROBE_SECONDS = 2
_PLAYS_FOR = 0.3  # seconds
_RATE = 8000
# Without these no call goes through, or not as promised.
_NEEDED = re.compile(
    r"^(?:pre)?load = ((?:res_(?:stasis|ari|pjsip(?!_logger|_dlg)|rtp|musiconhold|config_sqlite3)"
    r"|app_stasis|app_mixmonitor|bridge|chan|codec_[au]law|format_(?:wav|pcm))\w*)\.so",
    re.MULTILINE,
)


async def asterisk_checks(whole: Settings, *, own: bool) -> list[Check]:
    """Asks the Asterisk that `whole` names; of our own one that does not run only that is told."""
    if not whole.ari_url:
        return [warn("asterisk", "does not run", "start it with `dari up`")]
    async with Ari(whole.ari_url, "dari-doctor", whole.ari_user, whole.ari_password, timeout=_LIMIT) as ari:
        try:
            version = await ari.version()
        except DariError as error:
            if own:
                return [warn("asterisk", f"does not answer on {whole.ari_url}", "start it with `dari up`")]
            return [
                bad("asterisk", f"{whole.ari_url}: {error}", "check DARI_ARI_URL, DARI_ARI_USER, DARI_ARI_PASSWORD")
            ]
    async with _session(whole) as session:
        checks = [version_check(version), await _modules(session), await _manager(whole)]
        async with _bridge(session) as bridge:
            checks += [await _sounds(session, bridge, whole.paths.sounds), await _spool(session, bridge, whole)]
    return checks


def version_check(written: str) -> Check:
    """Judges what Asterisk says of its own version."""
    version = parse_version(f"Asterisk {written}")
    wanted = ".".join(map(str, OLDEST))
    if version is None or version < OLDEST or (23,) <= version < OLDEST_23:
        return bad("asterisk", written, f"Dari needs Asterisk {wanted} or newer; upgrade it")
    return ok("asterisk", written)


async def _modules(session: aiohttp.ClientSession) -> Check:
    template = (PRODUCT_FILES / "asterisk-conf" / "modules.conf").read_text()
    needed = {match[1] for match in _NEEDED.finditer(template)}
    async with session.get("/ari/asterisk/modules") as response:
        loaded = msgspec.json.decode(await response.read(), type=list[_Module]) if response.ok else []
    missing = sorted(needed - {module.name.removesuffix(".so") for module in loaded if module.status == "Running"})
    if missing:
        return bad(
            "asterisk modules", f"not running: {', '.join(missing)}", "load them in modules.conf, restart Asterisk"
        )
    return ok("asterisk modules", f"all {len(needed)} that calls need")


async def _manager(whole: Settings) -> Check:
    host, _, port = whole.ami_address.rpartition(":")
    if not port.isdigit():
        return bad("manager", "DARI_AMI_ADDRESS is not set", "set it to host:port of Asterisk's manager")
    async with Manager(host, int(port), whole.ami_user, whole.ami_password, timeout=_LIMIT) as manager:
        if manager.connected:
            return ok("manager", whole.ami_address)
        return bad(
            "manager",
            f"{whole.ami_address}: {manager.state}",
            "check DARI_AMI_ADDRESS, DARI_AMI_USER, DARI_AMI_PASSWORD",
        )


async def _sounds(session: aiohttp.ClientSession, bridge: str, folder: Path) -> Check:
    """Asterisk plays a file that we write now, into a bridge where nobody is."""
    sound = folder / f"doctor-{uuid4()}.wav"
    playback = str(uuid4())
    try:
        _write_silence(sound)
        media = f"sound:{sound.with_suffix('')}"
        await _do(session, "POST", f"/ari/bridges/{bridge}/play/{playback}", media=media)
        seen = await _plays(session, playback)
        await _do(session, "DELETE", f"/ari/playbacks/{playback}")
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        return bad("sounds", f"{folder} cannot be tried ({error})", "make it writable and let Asterisk play from it")
    finally:
        sound.unlink(missing_ok=True)
    if not seen:
        return bad(
            "sounds",
            f"Asterisk does not play what Dari puts into {folder}",
            "share that folder with Asterisk under the same path (DARI_SOUNDS), readable by its user",
        )
    return ok("sounds", f"Asterisk plays from {folder}")


async def _spool(session: aiohttp.ClientSession, bridge: str, whole: Settings) -> Check:
    """Asterisk records a bridge where nobody is; we find the file, and can take it away."""
    name = f"doctor-{uuid4()}"
    file = whole.paths.asterisk_spool / "recording" / f"{name}.wav"
    mend = "set DARI_ASTERISK_SPOOL to Asterisk's astspooldir, shared and writable for Dari's user"
    try:
        await _do(session, "POST", f"/ari/bridges/{bridge}/record", name=name, format="wav")
        found = await _appears(file)
        await _do(session, "POST", f"/ari/recordings/live/{name}/stop")
        if found:
            file.unlink()
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        return bad("recordings", f"cannot be tried ({error})", mend)
    finally:
        with suppress(aiohttp.ClientError, TimeoutError):
            await _do(session, "DELETE", f"/ari/recordings/stored/{name}")
    if not found:
        return bad("recordings", f"what Asterisk records does not appear in {whole.paths.asterisk_spool}", mend)
    return ok("recordings", f"found in {whole.paths.asterisk_spool}")


class _Module(msgspec.Struct):
    name: str
    status: str


class _Playback(msgspec.Struct):
    state: str


@asynccontextmanager
async def _session(whole: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        whole.ari_url,
        headers={"Authorization": aiohttp.encode_basic_auth(whole.ari_user, whole.ari_password)},
        timeout=aiohttp.ClientTimeout(total=_LIMIT),
    ) as session:
        yield session


@asynccontextmanager
async def _bridge(session: aiohttp.ClientSession) -> AsyncIterator[str]:
    bridge = f"dari-doctor-{uuid4()}"
    await _do(session, "POST", f"/ari/bridges/{bridge}", type="mixing")
    try:
        yield bridge
    finally:
        await _do(session, "DELETE", f"/ari/bridges/{bridge}")


async def _do(session: aiohttp.ClientSession, method: str, path: str, **parameters: str) -> bytes | None:
    """The answer; None when Asterisk refused."""
    async with session.request(method, path, params=parameters) as response:
        body = await response.read()
        return body if response.ok else None


async def _plays(session: aiohttp.ClientSession, playback: str) -> bool:
    """A playback waits, plays, and is gone. One whose file is missing "plays" too, but for a moment only."""
    in_a_row = 0
    async with asyncio.timeout(_LIMIT):
        while (answer := await _do(session, "GET", f"/ari/playbacks/{playback}")) is not None:
            playing = msgspec.json.decode(answer, type=_Playback).state == "playing"
            in_a_row = in_a_row + 1 if playing else 0
            if in_a_row * _LOOK_EVERY > _PLAYS_FOR:
                return True
            await asyncio.sleep(_LOOK_EVERY)
    return False


async def _appears(file: Path) -> bool:
    for _ in range(round(1 / _LOOK_EVERY)):
        if file.exists():
            return True
        await asyncio.sleep(_LOOK_EVERY)
    return False


def _write_silence(path: Path) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(bytes(2 * _RATE * _PROBE_SECONDS))
    path.write_bytes(content.getvalue())
    path.chmod(0o644)
