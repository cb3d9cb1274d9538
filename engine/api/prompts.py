"""An account's prompts: uploaded or spoken, by name, each with its versions; numbers play the one in use."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Deed
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import EquipmentDep
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.owned import allowed_account
from engine.api.prompt_making import sound_of
from engine.api.prompt_shapes import PromptInPath, Prompts, PromptVersions, VersionInPath, VersionWanted, Voices
from engine.api.wire import AccountInPath
from engine.foundation.errors import Invalid
from engine.prompts import library
from engine.routing import played_prompts


def prompts_router() -> APIRouter:
    """`/accounts/{account}/prompts` and `/voices`."""
    router = door_router("prompts")
    of, one = "/accounts/{account}/prompts", "/accounts/{account}/prompts/{prompt}"
    sound: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    }
    router.get("/voices")(voices)
    router.get(of)(list_prompts)
    router.get(one)(read_prompt)
    router.delete(one, status_code=HTTPStatus.NO_CONTENT)(remove_prompt)
    router.put(f"{one}/current")(use_version)
    router.delete(one + "/versions/{version}", status_code=HTTPStatus.NO_CONTENT)(remove_version)
    router.get(one + "/versions/{version}/sound", response_class=FileResponse, responses=sound)(hear_version)
    return router


async def voices(_actor: ActorDep, equipment: EquipmentDep) -> Voices:
    """Who can speak texts."""
    try:
        return Voices(voices=tuple((await equipment.speech()).voices))
    except Invalid:
        return Voices(voices=())


async def list_prompts(account: AccountInPath, actor: ActorDep, rows: Rows) -> Prompts:
    """An account's prompts by name."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return Prompts.model_validate({"prompts": await library.listing(rows, account)})


async def read_prompt(
    account: AccountInPath, prompt: PromptInPath, actor: ActorDep, rows: Rows, response: Response
) -> PromptVersions:
    """A prompt with all its versions."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return tagged(response, await _read(rows, account, prompt))


async def use_version(
    account: AccountInPath,
    prompt: PromptInPath,
    wanted: VersionWanted,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> PromptVersions:
    """Play another version from the next call on."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    await unchanged(rows, "prompt", prompt, if_match, lambda: _read(rows, account, prompt), owner=account)
    await library.rollback(rows, actor, account, prompt, wanted.version, now)
    return tagged(response, await _read(rows, account, prompt))


async def remove_prompt(account: AccountInPath, prompt: PromptInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Remove a prompt that no number plays."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    await played_prompts.remove_prompt(rows, actor, account, prompt, now)


async def remove_version(
    account: AccountInPath, prompt: PromptInPath, version: VersionInPath, actor: ActorDep, rows: Rows, now: Now
) -> None:
    """Remove a version that is not played."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    await library.remove(rows, actor, account, prompt, now, version)


async def hear_version(
    account: AccountInPath,
    prompt: PromptInPath,
    version: VersionInPath,
    actor: ActorDep,
    rows: Rows,
    equipment: EquipmentDep,
) -> FileResponse:
    """A version as callers hear it."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return FileResponse(await sound_of(rows, account, prompt, version, equipment), media_type="audio/wav")


async def _read(rows: AsyncConnection, account: UUID, prompt: str) -> PromptVersions:
    current = (await library.find(rows, account, prompt)).current.version
    versions = await library.versions(rows, account, prompt)
    return PromptVersions.model_validate({"name": prompt, "current": current, "versions": versions})
