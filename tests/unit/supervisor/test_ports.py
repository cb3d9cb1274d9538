from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from engine.foundation.errors import Invalid
from engine.supervisor.ports import (
    Ports,
    Transport,
    check_sound_ports,
    choose_ports,
    holder_of,
    is_free,
    read_ports,
    write_ports,
)

HOST = os.environ.get("DARI_TEST_ADDRESS", "127.0.0.1")
NOBODY = frozenset[str]()


@contextmanager
def taken(transport: Transport, port: int = 0, host: str = HOST) -> Iterator[int]:
    with socket.socket(socket.AF_INET, transport.value) as holder:
        holder.bind((host, port))
        if transport is Transport.TCP:
            holder.listen()
        yield int(holder.getsockname()[1])


def free(transport: Transport) -> int:
    with taken(transport) as port:
        return port


def choose(
    *, sip: int = 0, http: int = 0, former: Ports | None = None, living: frozenset[str] = NOBODY, any_port: bool = False
) -> Ports:
    return choose_ports(
        f"{HOST}:{sip or free(Transport.UDP)}",
        f"{HOST}:{http or free(Transport.TCP)}",
        former,
        living,
        any_port=any_port,
    )


@pytest.mark.parametrize("transport", list(Transport))
def test_a_taken_port_is_not_free_and_its_holder_is_named(transport: Transport) -> None:
    with taken(transport) as port:
        assert not is_free(HOST, port, transport)
        assert holder_of(HOST, port, transport).endswith(f"(pid {os.getpid()})")
    assert is_free(HOST, port, transport)
    assert holder_of(HOST, port, transport) == ""


@pytest.mark.parametrize("transport", list(Transport))
def test_a_port_taken_on_every_address_is_taken_on_ours(transport: Transport) -> None:
    with taken(transport, host="0.0.0.0") as port:
        assert not is_free(HOST, port, transport)
        assert holder_of(HOST, port, transport).endswith(f"(pid {os.getpid()})")


def test_a_connection_that_just_ended_does_not_hold_the_port() -> None:
    with taken(Transport.TCP) as port, socket.create_connection((HOST, port)):
        pass
    assert is_free(HOST, port, Transport.TCP)


def test_an_address_that_this_machine_does_not_have_is_refused() -> None:
    with pytest.raises(Invalid, match=r"192\.0\.2\.1 is no address of this machine"):
        is_free("192.0.2.1", 5060, Transport.UDP)


def test_a_taken_sip_port_is_refused_naming_address_setting_and_holder() -> None:
    with taken(Transport.UDP) as port, pytest.raises(Invalid) as refused:
        choose(sip=port)
    for part in ("DARI_SIP_BIND", "UDP", str(port), HOST, f"(pid {os.getpid()})"):
        assert part in str(refused.value)


def test_a_taken_http_port_is_refused_naming_its_setting() -> None:
    with taken(Transport.TCP) as port, pytest.raises(Invalid, match=rf"DARI_HTTP_BIND: TCP port {port} on .* is taken"):
        choose(http=port)


def test_with_any_port_a_taken_public_port_moves_on() -> None:
    with taken(Transport.UDP) as sip, taken(Transport.TCP) as http:
        chosen = choose(sip=sip, http=http, any_port=True)
    assert int(chosen.sip.partition(":")[2]) > sip
    assert int(chosen.http.partition(":")[2]) > http


def test_internal_ports_move_out_of_a_strangers_way_and_never_clash() -> None:
    wanted = choose()
    with ExitStack() as strangers:
        for port in (wanted.ari, wanted.ami, wanted.gateway):
            strangers.enter_context(taken(Transport.TCP, port))
        strangers.enter_context(taken(Transport.UDP, wanted.hep))
        moved = choose(former=wanted)
    internal = (moved.ari, moved.ami, moved.gateway, moved.hep)
    assert not {wanted.ari, wanted.ami, wanted.gateway} & {moved.ari, moved.ami, moved.gateway}
    assert moved.hep != wanted.hep
    assert len(set(internal)) == 4


def test_ports_held_by_our_own_living_parts_stay_theirs() -> None:
    former = choose()
    with ExitStack() as ours:
        for port in (former.ari, former.ami, former.gateway, int(former.http.partition(":")[2])):
            ours.enter_context(taken(Transport.TCP, port))
        for port in (former.hep, int(former.sip.partition(":")[2])):
            ours.enter_context(taken(Transport.UDP, port))
        living = frozenset({"asterisk", "jobs", "gateway", "web"})
        assert choose_ports(former.sip, former.http, former, living, any_port=False) == former
        with pytest.raises(Invalid, match="DARI_SIP_BIND"):
            choose_ports(former.sip, former.http, former, living - {"asterisk"}, any_port=False)


def test_with_any_port_a_moved_port_is_found_again_by_the_living_part() -> None:
    former = choose()
    moved = msgspec.structs.replace(former, sip=f"{HOST}:{free(Transport.UDP)}")
    again = choose_ports(former.sip, former.http, moved, frozenset({"asterisk"}), any_port=True)
    assert again.sip == moved.sip


def test_internal_ports_of_a_public_system_are_on_loopback() -> None:
    chosen = choose_ports(
        f"0.0.0.0:{free(Transport.UDP)}", f"{HOST}:{free(Transport.TCP)}", None, NOBODY, any_port=False
    )
    assert chosen.host == "127.0.0.1"


def test_a_range_without_free_sound_ports_is_refused() -> None:
    told = r"DARI_RTP_PORTS: no free ports for sound in .* \(.*pid \d+\) has \d+\)"
    with taken(Transport.UDP) as port, pytest.raises(Invalid, match=told):
        check_sound_ports(HOST, f"{port}-{port}")
    check_sound_ports(HOST, f"{port}-{port}")


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert read_ports(file) is None
    chosen = choose()
    write_ports(file, chosen)
    assert read_ports(file) == chosen
    file.write_text("{")
    assert read_ports(file) is None


def test_an_internal_port_never_takes_the_public_one() -> None:
    wanted = choose()
    on_the_gateways = choose(http=wanted.gateway, former=wanted)
    assert on_the_gateways.http == f"{HOST}:{wanted.gateway}"
    assert on_the_gateways.gateway != wanted.gateway
