"""The routes of the trade: numbers, calls, recordings, messages, prompts, rules, trunks."""

from __future__ import annotations

from fastapi import APIRouter

from engine.api.calls import calls_router
from engine.api.groups import groups_router
from engine.api.hours import hours_router
from engine.api.live_calls import live_calls_router
from engine.api.messages import messages_router
from engine.api.number_choice import number_choice_router
from engine.api.number_orders import number_orders_router
from engine.api.number_transfers import number_transfers_router
from engine.api.numbers import numbers_router
from engine.api.prompt_making import prompt_making_router
from engine.api.prompts import prompts_router
from engine.api.ranges import ranges_router
from engine.api.recordings import recordings_router
from engine.api.rules import rules_router
from engine.api.safen import safen_router
from engine.api.simulate import simulate_router
from engine.api.trunks import trunks_router


def trade_routers() -> list[APIRouter]:
    """One router for each kind of thing, in the order of the description."""
    return [
        numbers_router(),
        number_choice_router(),
        number_orders_router(),
        number_transfers_router(),
        ranges_router(),
        rules_router(),
        hours_router(),
        groups_router(),
        calls_router(),
        live_calls_router(),
        recordings_router(),
        messages_router(),
        prompts_router(),
        prompt_making_router(),
        simulate_router(),
        trunks_router(),
        safen_router(),
    ]
