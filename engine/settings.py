"""Every setting of Dari, once. Read from the environment (prefix DARI_) by the composition roots only.

Lower folders never import this: they get the values they need as arguments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from engine.foundation.errors import Invalid
from engine.foundation.process import engine_name
from engine.foundation.sockets import socket_folder
from engine.foundation.written_key import is_key

# A checkout keeps these beside `engine/`; a wheel carries them in `engine/share/`.
_CHECKOUT = Path(__file__).resolve().parent.parent
_SHARE = Path(__file__).resolve().parent / "share"
PRODUCT_FILES = _SHARE if _SHARE.is_dir() else _CHECKOUT

MOST_ENGINES = 4
"""Engines of one home at most: beyond that Asterisk itself is full long before."""


class Address(str):
    """`host:port` with an IPv4 host."""

    __slots__ = ()

    @property
    def host(self) -> str:
        return self.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


def _address(value: object) -> Address:
    text = str(value)
    host, _, port = text.rpartition(":")
    try:
        IPv4Address(host)
        if not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError("must be an IPv4 address and a port, like 127.0.0.1:8050") from None
    return Address(text)


class Settings(BaseSettings):
    """All settings; each field's description says what it is, in which unit, and why the default is what it is."""

    model_config = SettingsConfigDict(
        env_prefix="DARI_", env_ignore_empty=True, frozen=True, extra="ignore", arbitrary_types_allowed=True
    )

    home: Path = Field(
        default=Path("~/.local/state/dari"),
        description="Folder of everything Dari writes: database, call records, sounds, logs, rendered Asterisk files.",
    )
    node: str = Field(
        default="n1",
        description="Name of this engine among those that share the calls; letters, digits and hyphens. "
        "Its ARI application is dari-NODE.",
    )
    engines: int = Field(
        default=1,
        description="Engines that share the calls; with two or more a dead one's calls go on with another within a "
        "second. The second is named NODE-2, and so on.",
    )
    sip_bind: Annotated[Address, NoDecode] = Field(
        default=Address("127.0.0.1:5060"),
        description="Address on which Asterisk takes SIP over UDP. Loopback until a trunk is there to talk to.",
    )
    sip_external_address: str = Field(
        default="",
        description="Public IPv4 address written into SIP and SDP when Asterisk is behind NAT; empty: the bound one.",
    )
    sip_local_networks: str = Field(
        default="10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8",
        description="Networks, by comma, that are reached without the external address.",
    )
    rtp_ports: str = Field(
        default="16000-19999",
        description="UDP ports for sound, FIRST-LAST; two per party, so 4,000 ports carry 1,000 calls.",
    )
    rtp_bind: str = Field(
        default="",
        description="IPv4 address that Asterisk offers for sound; empty: the SIP address.",
    )
    http_bind: Annotated[Address, NoDecode] = Field(
        default=Address("127.0.0.1:8050"),
        description="Address of Dari's own HTTP: health, readiness, delivery receipts.",
    )
    database_url: str = Field(
        default="",
        description="postgresql://user:password@host/name of PostgreSQL 15 or newer; "
        "empty: the embedded one in DARI_HOME.",
    )
    database_timeout: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Seconds after which one statement is given up."
    )
    asterisk: str = Field(
        default="",
        description="Asterisk program to run; empty: the system's if it is 22.10.1 or newer, else the one that "
        "asterisk-conf/get-asterisk unpacked into DARI_ASTERISK_FILES.",
    )
    asterisk_files: Path = Field(
        default=Path("~/.cache/dari/asterisk"),
        description="Folder into which Asterisk and SIPp are unpacked where the system has none.",
    )
    ari_url: str = Field(
        default="",
        description="http://host:port of an Asterisk that you run yourself; empty: Dari runs its own.",
    )
    ari_user: str = Field(default="dari", description="ARI user of that Asterisk.")
    ari_password: str = Field(
        default="", description="ARI password; for Dari's own Asterisk it is made at first start.", repr=False
    )
    ami_address: str = Field(
        default="", description="host:port of that Asterisk's manager (AMI); used with DARI_ARI_URL."
    )
    ami_user: str = Field(default="dari", description="AMI user of that Asterisk.")
    ami_password: str = Field(default="", description="AMI password of that Asterisk.", repr=False)
    sounds: str = Field(
        default="",
        description="Folder of sounds, on a disk that Asterisk shares; empty: DARI_HOME/sounds. With DARI_ARI_URL "
        "it must have the same path for both.",
    )
    asterisk_etc: str = Field(
        default="",
        description="Folder for the rendered Asterisk files (trunks among them); empty: DARI_HOME/asterisk/etc.",
    )
    asterisk_spool: str = Field(
        default="",
        description="Asterisk's spool folder, where finished recordings are found; empty: DARI_HOME/asterisk/spool.",
    )
    claim_milliseconds: int = Field(
        default=500,
        ge=100,
        le=5000,
        description="How long the dialplan waits for an engine to claim a call before it goes on alone.",
    )
    ring_seconds: int = Field(
        default=30,
        ge=3,
        le=120,
        description="How long the target may ring; shorter than the carriers' own no-answer time.",
    )
    calls_at_once: int = Field(
        default=0,
        ge=0,
        description="Calls that Asterisk lets in at one time; more get 503 from the dialplan at once. 0: no limit.",
    )
    calls_a_second: str = Field(
        default="auto",
        description="New calls that Asterisk lets in per second, as it passes; more get 503 from the dialplan. "
        "auto: as many as are dealt with in time; 0: no limit.",
    )
    talk_limit: timedelta = Field(
        default=timedelta(hours=4),
        gt=timedelta(0),
        description="Longest call (seconds, or ISO 8601); a limit for legs whose hang-up never came.",
    )
    mask_numbers: bool = Field(
        default=True, description="Whether calls.log and `dari tail` show 010-****-5678 instead of the whole number."
    )
    call_log_bytes: int = Field(
        default=20_000_000, ge=10_000, description="Size in bytes at which calls.log is rotated."
    )
    call_log_files: int = Field(default=10, ge=1, description="How many rotated call logs are kept.")
    recording_key: str = Field(
        default="",
        description="Master key of all recordings, 32 bytes in base64 (`openssl rand -base64 32`); empty: the one in "
        "DARI_HOME/recording.key, made at first start. Keep a copy elsewhere: without it no recording can be heard.",
        repr=False,
    )
    recording_days: int = Field(
        default=365,
        ge=1,
        le=36_500,
        description="Days after the call for which recordings are kept: as long as call records must be at least, so "
        "that a call and its sound go together. `dari recording term` sets another time for an account.",
    )
    number_quarantine_days: int = Field(
        default=92,
        ge=0,
        le=3650,
        description="Days for which a released 050 number is kept back from everybody but its last holder, where its "
        "range says nothing else: the longest three months. A number that is still called is held longer.",
    )
    number_warning_days: int = Field(
        default=7,
        ge=1,
        le=366,
        description="Days before the end of an order's period of use at which its holder is told (number.changed).",
    )
    number_grace_days: int = Field(
        default=7,
        ge=0,
        le=366,
        description="Days after that end for which its numbers stay suspended, so that a longer period can resume "
        "them; then they are released.",
    )
    secret_key: str = Field(
        default="",
        description="Key of secrets that Dari must read again (one-time codes, webhooks, documents of sign-ups), 32 "
        "bytes in base64; empty: the one in DARI_HOME/secret.key, made at first start. Keep a copy elsewhere.",
        repr=False,
    )
    session_idle_minutes: int = Field(
        default=60,
        ge=1,
        le=10_080,
        description="Minutes without use after which somebody who signed in has to do so again.",
    )
    session_hours: int = Field(
        default=12,
        ge=1,
        le=744,
        description="Hours after which they have to in any case: a working day.",
    )
    api_requests_a_minute: int = Field(
        default=1200,
        ge=1,
        le=600_000,
        description="Requests to /api/v1 that one key or user may send in a minute; more get 429 until there is room.",
    )
    api_requests_at_once: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="How many of them may come at once after a pause.",
    )
    event_days: int = Field(
        default=30,
        ge=4,
        le=3650,
        description="Days for which events are kept, so that a receiver can ask for any of them again; longer than the "
        "three days for which a webhook is tried.",
    )
    webhook_networks: str = Field(
        default="",
        description="Networks, by comma, to which webhooks may be sent although they are not public, with http too, "
        "like 127.0.0.0/8 for tests; empty: public addresses only.",
    )
    webhook_seconds: float = Field(
        default=15.0,
        gt=0,
        le=15,
        description="Seconds in which a webhook's receiver has to answer; then it is tried again later.",
    )
    listening: str = Field(
        default="listen",
        description="What `dari listen` may do, by comma: listen, whisper (the called party hears whoever listens), "
        "barge (both parties do). Only listen, until the called party's organisation wants more for its own staff.",
    )
    voice: str = Field(
        default="espeak",
        description="Voice of texts that are spoken: espeak, polly, clova or google, or one of its voices like "
        "polly/Jihye.",
    )
    espeak: str = Field(
        default="",
        description="espeak-ng program; empty: the system's, else the one beside the unpacked Asterisk.",
    )
    polly_key_id: str = Field(default="", description="Access key id for Amazon Polly; empty: not used.", repr=False)
    polly_key: str = Field(default="", description="Secret access key for Amazon Polly.", repr=False)
    polly_region: str = Field(default="ap-northeast-2", description="AWS region of Amazon Polly; Seoul.")
    clova_key_id: str = Field(default="", description="Client ID for Naver CLOVA Voice; empty: not used.", repr=False)
    clova_key: str = Field(default="", description="Client Secret for Naver CLOVA Voice.", repr=False)
    google_key: str = Field(
        default="", description="API key for Google Cloud Text-to-Speech; empty: not used.", repr=False
    )
    voice_timeout: float = Field(
        default=10.0, gt=0, description="Seconds for which a provider of speech may be silent before it is given up."
    )
    agi_bind: Annotated[Address, NoDecode] = Field(
        default=Address(""),
        description="Address of the FastAGI door for dialplans of your own, like 127.0.0.1:4573; empty: closed. AGI "
        "knows no password: loopback or a network of your own.",
    )
    call_door: Annotated[Address, NoDecode] = Field(
        default=Address(""),
        description="Where Dari's dialplan asks the engines about each call (FastAGI), so that it rings plain ones by "
        "itself; for Dari's own Asterisk a free port of loopback is chosen. Empty: closed, and every call is offered.",
    )
    agi_seconds: float = Field(
        default=2.0, gt=0, le=30, description="Seconds within which a FastAGI request is answered or fails."
    )
    sip_trace: bool = Field(
        default=True, description="Whether SIP messages are kept for `dari trace` (through Asterisk's HEP)."
    )
    sip_trace_hours: int = Field(default=72, ge=1, description="How many hours SIP messages are kept.")
    hep_address: Annotated[Address, NoDecode] = Field(
        default=Address("127.0.0.1:9060"),
        description="Where Asterisk sends copies of SIP messages (HEP 3 over UDP); for Dari's own Asterisk a free port "
        "is chosen.",
    )
    gateway_url: str = Field(
        default="",
        description="Base URL of the message gateway; empty: the sandbox gateway on loopback, which sends nothing on.",
    )
    gateway_key: str = Field(
        default="", description="Key for that gateway; for the sandbox it is made at first start.", repr=False
    )
    gateway_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Seconds after which a gateway's answer counts as unknown and is asked for again.",
    )
    stop_seconds: float = Field(
        default=10.0,
        ge=0,
        description="How long an engine that is told to stop waits for its live calls, in seconds; those left go on in "
        "Asterisk and the next engine takes them over.",
    )
    watchdog_seconds: float = Field(
        default=4.0,
        gt=1,
        description="Silence of an engine's heartbeat, in seconds, after which the watchdog cuts it off; so it does "
        "when Asterisk, which obeys others, has done nothing for that engine for so long.",
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR for the program's own log.")

    @field_validator("home", "asterisk_files", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("sip_bind", "http_bind", "hep_address", mode="before")
    @classmethod
    def _host_and_port(cls, value: object) -> Address:
        return _address(value)

    @field_validator("agi_bind", "call_door", mode="before")
    @classmethod
    def _host_and_port_if_any(cls, value: object) -> Address:
        return _address(value) if value else Address("")

    @field_validator("engines")
    @classmethod
    def _as_many_as_a_home_may_have(cls, value: int) -> int:
        if not 1 <= value <= MOST_ENGINES:
            raise ValueError(f"must be 1 to {MOST_ENGINES}")
        return value

    @field_validator("node")
    @classmethod
    def _node_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", value):
            raise ValueError("must be 1 to 32 letters, digits or hyphens")
        return value

    @field_validator("rtp_ports")
    @classmethod
    def _port_range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if not (first.isdigit() and last.isdigit() and 1024 <= int(first) < int(last) <= 65535):
            raise ValueError("must be FIRST-LAST within 1024-65535, like 16000-19999")
        return value

    @field_validator("talk_limit", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        """Text that is a plain number, as the environment has it, means seconds."""
        return float(value) if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) else value

    @field_validator("ami_address")
    @classmethod
    def _host_or_name_and_port(cls, value: str) -> str:
        host, _, port = value.partition(":")
        if value and not (host and re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
            raise ValueError("must be a host and a port, like 127.0.0.1:5038, or empty")
        return value

    @field_validator("sip_external_address", "rtp_bind")
    @classmethod
    def _ip_or_empty(cls, value: str) -> str:
        if value:
            try:
                IPv4Address(value)
            except ValueError:
                raise ValueError("must be an IPv4 address or empty") from None
        return value

    @field_validator("sip_local_networks", "webhook_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in filter(None, value.split(",")):
            try:
                ip_network(network.strip())
            except ValueError:
                raise ValueError(f"{network.strip()!r} is not a network like 10.0.0.0/8") from None
        return value

    @field_validator("calls_a_second")
    @classmethod
    def _auto_or_count(cls, value: str) -> str:
        if value != "auto" and not re.fullmatch("[0-9]{1,6}", value):
            raise ValueError("must be auto, or a number of calls from 0 on")
        return value

    @field_validator("listening")
    @classmethod
    def _listening_modes(cls, value: str) -> str:
        modes = [mode.strip() for mode in value.split(",")]
        if not set(modes) <= {"listen", "whisper", "barge"}:
            raise ValueError("must be listen, whisper or barge, by comma")
        return ",".join(modes)

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("ari_url", "gateway_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s@]+(:\d+)?(/\S*)?", value):
            raise ValueError("must be like http://127.0.0.1:8088 (no user or password in it)")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: str) -> str:
        if value and not re.match(r"postgres(ql)?(\+asyncpg)?://", value):
            raise ValueError("must start with postgresql://")
        url = re.sub(r"^postgres(ql)?(\+asyncpg)?://", "postgresql+asyncpg://", value)
        try:
            if url:
                make_url(url)
        except (ArgumentError, ValueError):
            raise ValueError("must be like postgresql://user:password@host:5432/name") from None
        return url

    @field_validator("recording_key", "secret_key")
    @classmethod
    def _key_of_32_bytes(cls, value: str) -> str:
        if value and not is_key(value):
            raise ValueError("must be 32 bytes in base64, as `openssl rand -base64 32` makes them, or empty")
        return value

    @property
    def fixed_calls_a_second(self) -> int | None:
        """0: no limit; None: it is found out."""
        return None if self.calls_a_second == "auto" else int(self.calls_a_second)

    @property
    def app_name(self) -> str:
        """The ARI application of the first engine."""
        return self.engine(1).app_name

    def engine(self, number: int) -> Engine:
        """The `number`-th engine of this home, from 1."""
        return Engine(self.paths, self.node, number)

    @property
    def all_engines(self) -> tuple[Engine, ...]:
        """Those that run, in order."""
        return tuple(self.engine(number) for number in range(1, self.engines + 1))

    def siblings(self, number: int) -> list[Engine]:
        """The others that ever ran here, more than run now perhaps."""
        every = map(self.engine, range(1, MOST_ENGINES + 1))
        return [one for one in every if one.number != number and one.spool.is_dir()]

    @property
    def engine_sockets(self) -> tuple[Path, ...]:
        """The control socket of each, in order; also of one that runs although the setting here says less."""
        every = map(self.engine, range(1, MOST_ENGINES + 1))
        return tuple(one.socket for one in every if one.number <= self.engines or one.pid_file.exists())

    @cached_property
    def paths(self) -> Paths:
        return Paths(
            home=self.home,
            sounds=Path(self.sounds).absolute() if self.sounds else self.home / "sounds",
            asterisk_etc=Path(self.asterisk_etc).absolute() if self.asterisk_etc else self.home / "asterisk" / "etc",
            asterisk_spool=Path(self.asterisk_spool).absolute()
            if self.asterisk_spool
            else self.home / "asterisk" / "spool",
        )


class Paths:
    """Where things lie in DARI_HOME. Folders are made by whoever writes there first."""

    def __init__(self, home: Path, sounds: Path, asterisk_etc: Path, asterisk_spool: Path) -> None:
        self.home = home
        self.sounds = sounds  # NAME.wav, 8 kHz mono, readable by Asterisk
        self.asterisk_etc = asterisk_etc
        self.asterisk_spool = asterisk_spool  # monitor/CALL.raw while a call is recorded
        self.asterisk = home / "asterisk"  # etc, run, log, lib, db, spool of Dari's own Asterisk
        self.run = home / "run"  # pid files, locks, ports.json
        # Not `run` itself: Asterisk puts a pid file of its own beside its control socket.
        self.sockets = socket_folder(self.run / "sockets", "asterisk.ctl", os.getuid())
        self.engine_socket = self.sockets / "engine.sock"  # the first engine's
        self.spool = home / "spool"  # call records on their way to the database, each engine's in a folder of its own
        self.recordings = home / "recordings"  # YYYY/MM/DD/CALL.wav.enc
        self.log = home / "log"  # calls.log, calls.jsonl, one log per part
        self.trace = home / "trace"  # SIP messages by the hour
        self.gateway = home / "gateway"  # what the sandbox gateway accepted
        self.postgres = home / "postgres"  # the embedded database
        self.secrets = home / "secrets.json"  # made at first start, mode 0600
        self.recording_key = home / "recording.key"  # opens every recording; made at first start, mode 0600
        self.secret_key = (
            home / "secret.key"
        )  # opens one-time codes, webhooks, documents; made at first start, mode 0600
        self.documents = home / "documents"  # of sign-ups, each under its hash and sealed with that key
        self.audit_head = home / "audit.head"  # the audit's end as `dari audit verify` last found it whole
        self.music = home / "asterisk" / "music.sqlite3"  # ringback classes, read by Asterisk at use

    def pid_file(self, part: str) -> Path:
        """The file with the process id of a part: asterisk, postgres, engine, engine-2, jobs, web, watchdog …"""
        return self.run / f"{part}.pid"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine of a home: its names, and where its own things lie. The first one has the plain names."""

    paths: Paths
    first_node: str
    number: int

    @property
    def name(self) -> str:
        """As a part, in `dari status`, and of its log."""
        return engine_name(self.number)

    @property
    def node(self) -> str:
        """By which what it made in Asterisk is known."""
        return self.first_node if self.number == 1 else f"{self.first_node}-{self.number}"

    @property
    def app_name(self) -> str:
        """Its ARI application."""
        return f"dari-{self.node}"

    @property
    def spool(self) -> Path:
        """Inside the first one's: what is taken over moves from one to the other by a rename, on one disk."""
        return self.paths.spool if self.number == 1 else self.paths.spool / self.name

    @property
    def numbers_kept(self) -> Path:
        """The numbers as it last read them, by which it goes while the database is away."""
        return self.spool / "routing.snapshot"

    @property
    def trunks_kept(self) -> Path:
        """The same of trunks."""
        return self.spool / "trunks.snapshot"

    @property
    def socket(self) -> Path:
        """Where it answers `dari`. No longer a name than Asterisk's, by which the folder is chosen."""
        return self.paths.engine_socket if self.number == 1 else self.paths.sockets / f"engine{self.number}.sock"

    @property
    def heartbeat(self) -> Path:
        """What it touches every second."""
        return self.paths.run / f"{self.name}.beat"

    @property
    def pid_file(self) -> Path:
        return self.paths.pid_file(self.name)

    @property
    def call_log(self) -> str:
        """The name of its call log: one process writes one."""
        return "calls" if self.number == 1 else f"calls-{self.number}"


_MAY_HOLD_SECRETS = ("password", "key", "url")


def _check_spelling(environment: Mapping[str, str]) -> None:
    """Refuses a name that is nearly a setting's. Others may be there for good reasons, such as a container's links."""
    known = [f"DARI_{name.upper()}" for name in Settings.model_fields]
    for name in environment:
        if name.startswith("DARI_") and name not in known and (near := get_close_matches(name, known, 1, 0.85)):
            raise Invalid(f"setting {name}: there is none of that name; did you mean {near[0]}?")


def read_settings(**overrides: object) -> Settings:
    """The settings of this process. Raises Invalid, naming the setting and the mend."""
    _check_spelling(os.environ)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "DARI_" + "_".join(str(part) for part in first["loc"]).upper()
        reason = str(first["msg"]).removeprefix("Value error, ")
        secret = any(word in name.lower() for word in _MAY_HOLD_SECRETS)
        shown = "" if secret else f" (it is {first['input']!r})"
        raise Invalid(
            f"setting {name}: {reason}{shown}; set it in the environment or unset it for the default"
        ) from None
