"""All routes of /api/v1."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from engine.api.accounts import accounts_router
from engine.api.audit import audit_router
from engine.api.eligibility import eligibility_router
from engine.api.events import events_router
from engine.api.keys import keys_router
from engine.api.listening_grants import listening_grants_router
from engine.api.session import own_sign_in_router, session_router, sessions_router, sign_in_router
from engine.api.signup import applications_router, documents_router, sign_up_router
from engine.api.trade import trade_routers
from engine.api.users import user_access_router, users_router
from engine.api.webhook_sending import webhook_sending_router
from engine.api.webhooks import webhooks_router

_ROUTERS: tuple[Callable[[], APIRouter], ...] = (
    sign_in_router,
    session_router,
    own_sign_in_router,
    sessions_router,
    accounts_router,
    eligibility_router,
    listening_grants_router,
    users_router,
    user_access_router,
    keys_router,
    audit_router,
    sign_up_router,
    applications_router,
    documents_router,
    events_router,
    webhooks_router,
    webhook_sending_router,
)


def all_routers() -> list[APIRouter]:
    """One router for each kind of thing, in the order of the description."""
    return [*api_routers(), *trade_routers()]


def api_routers() -> list[APIRouter]:
    """Those of accounts, people, keys and events."""
    return [router() for router in _ROUTERS]
