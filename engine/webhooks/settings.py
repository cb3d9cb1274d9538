"""What may be set of a webhook, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engine.events.kinds import read_kinds
from engine.foundation.errors import Invalid
from engine.foundation.sealing import SealingKey
from engine.webhooks.addresses import Network, check_url
from engine.webhooks.model import MOST_BATCH, Webhook

_LONGEST_DESCRIPTION = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What is set of a webhook."""

    url: str = field(repr=False)
    fallback_url: str | None = field(default=None, repr=False)
    kinds: tuple[str, ...] = ()
    batch: int = 1
    """Most events in one request; 1: each alone, without an envelope."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all deeds on webhooks of one process go by."""

    key: SealingKey
    """What secrets are sealed with."""
    opened: tuple[Network, ...] = ()
    """Networks that may be sent to although they are not public."""


def settings_of(webhook: Webhook) -> WebhookSettings:
    return WebhookSettings(
        url=webhook.url,
        fallback_url=webhook.fallback_url,
        kinds=webhook.kinds,
        batch=webhook.batch,
        description=webhook.description,
    )


def checked(wanted: WebhookSettings, rules: Rules) -> WebhookSettings:
    """The settings as they are kept. Raises Invalid naming the field."""
    description = wanted.description.strip()
    if len(description) > _LONGEST_DESCRIPTION or not (description.isprintable() or not description):
        raise Invalid(f"description: it must be at most {_LONGEST_DESCRIPTION} printable characters")
    if not 1 <= wanted.batch <= MOST_BATCH:
        raise Invalid(
            f"batch: {wanted.batch} is none; name 1 to {MOST_BATCH} events, 1 for each in a request of its own"
        )
    url = check_url(wanted.url, rules.opened)
    fallback = check_url(wanted.fallback_url, rules.opened, "fallback_url") if wanted.fallback_url else None
    if fallback == url:
        raise Invalid("fallback_url: it is the first address again; name another, or none")
    return replace(wanted, url=url, fallback_url=fallback, kinds=read_kinds(wanted.kinds), description=description)
