"""Carriers that want to know who we are: registration, and passwords for calls that we send."""

from __future__ import annotations

import stat

import msgspec
import pytest

from engine.asterisk.manager import Manager
from engine.sandbox.carrier import Carrier
from engine.sandbox.digest import Account
from engine.sandbox.phone import Answers
from engine.trunks.model import Login, Trunk
from engine.trunks.provisioning import TrunkProvisioning
from tests.asterisk.trunks.desk import FIRST_TRUNK, SECOND_TRUNK, SERVER, SHOP, Desk
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

PASSWORD = r'a;b\;c "quoted" =>#[x]'
"""Every sign that Asterisk's files give a meaning of their own."""
ACCOUNT = Account("dari01", PASSWORD)


def with_login(trunk: Trunk, password: str = PASSWORD, **changes: object) -> Trunk:
    return msgspec.structs.replace(trunk, login=Login(user="dari01", password=password), **changes)


async def test_we_register_with_a_password_and_get_calls_there(
    desk: Desk, asterisk: RunningAsterisk, first: Carrier
) -> None:
    first.desk.account = ACCOUNT
    await asterisk.change_trunks([with_login(FIRST_TRUNK, register=True, registered_as="0701234567"), SECOND_TRUNK])
    await eventually(lambda: first.desk.registration is not None)
    assert first.desk.registration
    contact = first.desk.registration.contact
    assert (contact.user, contact.host) == ("0701234567", SERVER)
    assert first.desk.refused == 0
    first.desk.account = None
    call = await first.call(contact.user)
    await call.answered()


async def test_a_wrong_password_is_refused_seen_and_mended_at_run_time(
    asterisk: RunningAsterisk, manager: Manager, first: Carrier
) -> None:
    first.desk.account = ACCOUNT
    await manager.connect()
    assert await manager.registrations() == {}
    provisioning = TrunkProvisioning(
        asterisk.etc, asterisk.settings.rtp_address, manager.reload, manager.register_again
    )
    await provisioning.provide([with_login(FIRST_TRUNK, "wrong", register=True)])

    async def is_(status: str) -> bool:
        return await manager.registrations() == {"first": status}

    await eventually(lambda: is_("Rejected"))
    assert first.desk.refused
    assert first.desk.registration is None
    await provisioning.provide([with_login(FIRST_TRUNK, register=True)])
    await eventually(lambda: is_("Registered"))
    assert first.desk.registration
    await provisioning.provide([FIRST_TRUNK])
    assert await manager.registrations() == {}


async def test_a_call_proves_who_we_are_when_asked(desk: Desk, asterisk: RunningAsterisk, first: Carrier) -> None:
    first.desk.account = ACCOUNT
    shop = first.shop(SHOP, Answers())
    trunk = with_login(FIRST_TRUNK)
    await asterisk.change_trunks([trunk])
    await desk.place("proven", trunk)
    await eventually(lambda: "proven" in desk.answered)
    assert (len(shop.calls), first.desk.refused, first.stray) == (1, 0, [])


@pytest.mark.parametrize(("password", "realm"), [("wrong", ""), (PASSWORD, "another.realm")])
async def test_a_call_that_cannot_prove_it_reaches_nobody(
    desk: Desk, asterisk: RunningAsterisk, first: Carrier, password: str, realm: str
) -> None:
    first.desk.account = ACCOUNT
    shop = first.shop(SHOP, Answers())
    trunk = msgspec.structs.replace(FIRST_TRUNK, login=Login(user="dari01", password=password, realm=realm))
    await asterisk.change_trunks([trunk])
    leg = f"unproven-{realm}"
    await desk.place(leg, trunk)
    assert (await desk.end_of(leg))[1] == 407
    assert not shop.calls


async def test_the_file_with_a_password_in_it_is_for_its_owner(asterisk: RunningAsterisk) -> None:
    file = asterisk.etc / "pjsip_trunks.conf"
    await asterisk.change_trunks([with_login(FIRST_TRUNK)])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in asterisk.log
