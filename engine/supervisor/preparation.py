"""What stands before Asterisk and the roles start: tables, sounds, and the files of Dari's own Asterisk."""

from __future__ import annotations

from engine.calls.switchboard import longest_call
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import Invalid, TryLater
from engine.foundation.process import read_pid_file
from engine.prompts.catalogue import install
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.asterisk import Program, find_asterisk
from engine.supervisor.asterisk_checks import asterisk_checks
from engine.supervisor.asterisk_files import AsteriskSettings, render
from engine.supervisor.check import State
from engine.supervisor.parts import Say
from engine.supervisor.ports import read_ports
from engine.supervisor.tables import Tables
from engine.trunks.cache import TrunkCache
from engine.trunks.model import Trunk
from engine.trunks.registry import listing


async def prepare_own(whole: Settings, tables: Tables, say: Say) -> None:
    """Tables, sounds and the files of Dari's own Asterisk; the files of one that lives are left alone."""
    install(PRODUCT_FILES / "prompts", whole.paths.sounds)
    are_up_to_date = await tables.up_to_date(say)
    if read_pid_file(whole.paths.pid_file("asterisk")) is None:
        trunks = await _trunks(whole) if are_up_to_date else _known_trunks(whole)
        render(whole.paths.asterisk_etc, asterisk_settings(whole), trunks)


async def prepare_operators(whole: Settings, tables: Tables, say: Say) -> None:
    """Tables and sounds for an Asterisk that the operator runs. Raises Invalid when calls cannot go through it."""
    install(PRODUCT_FILES / "prompts", whole.paths.sounds)
    for check in await asterisk_checks(whole, own=False):
        if check.state is State.BAD:
            raise Invalid(f"{check.name}: {check.found}; {check.mend}")
    await tables.up_to_date(say)


def program_of(settings: Settings) -> Program:
    """The Asterisk to run. Raises Invalid, saying how to get one."""
    return find_asterisk(settings.asterisk, settings.asterisk_files)


def asterisk_settings(whole: Settings) -> AsteriskSettings:
    """What the files of Dari's own Asterisk say."""
    paths = whole.paths
    ports = read_ports(paths.run / "ports.json")
    if ports is None:
        raise TryLater("the ports of Asterisk are not chosen yet; start with `dari up`")
    first, last = whole.rtp_ports.split("-")
    return AsteriskSettings(
        program=program_of(whole),
        product_files=PRODUCT_FILES,
        home=paths.asterisk,
        run=paths.sockets,
        spool=paths.asterisk_spool,
        sounds=paths.sounds,
        music=paths.music,
        sip_address=whole.sip_bind,
        external_address=whole.sip_external_address,
        local_networks=tuple(network.strip() for network in whole.sip_local_networks.split(",") if network.strip()),
        rtp_first=int(first),
        rtp_last=int(last),
        rtp_address=whole.rtp_bind,
        ari_address=f"{ports.host}:{ports.ari}",
        ari_user=whole.ari_user,
        ari_password=whole.ari_password,
        ami_address=f"{ports.host}:{ports.ami}",
        ami_user=whole.ami_user,
        ami_password=whole.ami_password,
        hep_address=f"{ports.host}:{ports.hep}" if whole.sip_trace else None,
        claim_milliseconds=whole.claim_milliseconds,
        call_door=f"{ports.host}:{ports.door}" if ports.door else "",
        longest_call=longest_call(whole.talk_limit.total_seconds()),
    )


async def _trunks(whole: Settings) -> list[Trunk]:
    """As the database has them, or the engine last knew them if it has just gone."""
    engine = open_database(whole.database_url, whole.database_timeout, application_name="dari up", pool_size=1)
    try:
        async with transaction(engine) as connection:
            return await listing(connection)
    except TryLater:
        return _known_trunks(whole)
    finally:
        await engine.dispose()


def _known_trunks(whole: Settings) -> list[Trunk]:
    return TrunkCache(whole.engine(1).trunks_kept).all()
