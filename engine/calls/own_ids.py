"""The ids that we choose for what we make in Asterisk: CALL.PURPOSE.NODE, so that whoever finds one knows its owner."""

from __future__ import annotations

from uuid import UUID


def bridge_of(call_id: UUID, node: str) -> str:
    """The bridge of a call."""
    return f"{call_id}.b.{node}"


def target_channel_of(call_id: UUID, node: str) -> str:
    """The channel of a call's target."""
    return f"{call_id}.t1.{node}"


def is_of_node(channel_or_bridge: str, node: str) -> bool:
    """Whether the engine of that node made it."""
    return channel_or_bridge.endswith(f".{node}")


def call_of(channel_or_bridge: str) -> UUID | None:
    """The call that a channel or bridge was made for; None for those that Asterisk named."""
    head, dot, _ = channel_or_bridge.partition(".")
    if not dot or len(head) != 36:
        return None
    try:
        return UUID(head)
    except ValueError:
        return None
