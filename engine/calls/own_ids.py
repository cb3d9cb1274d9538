"""The ids that we choose for what we make in Asterisk: CALL.PURPOSE.NODE, so that whoever finds one knows its owner."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

_TARGET = re.compile(r"t[0-9]+")
_FIRST = re.compile(r"c[0-9]+")
_OF_LISTENER = re.compile(r"(l|m|lb)[0-9]+")


@dataclass(frozen=True, slots=True)
class ListenerIds:
    """What somebody who listens to a call has beside it."""

    spy: str
    """The channel that hears the called party's."""
    media: str
    """The channel whose sound goes over a WebSocket."""
    bridge: str
    """What connects the two."""

    @property
    def channels(self) -> tuple[str, str]:
        return (self.spy, self.media)


def listener_ids(call_id: UUID, node: str, number: int) -> ListenerIds:
    """For the call's `number`-th listener, from 1."""
    return ListenerIds(f"{call_id}.l{number}.{node}", f"{call_id}.m{number}.{node}", f"{call_id}.lb{number}.{node}")


def is_of_listener(channel_or_bridge: str) -> bool:
    """Whether it was made for somebody who listens."""
    return bool(call_of(channel_or_bridge)) and _OF_LISTENER.fullmatch(channel_or_bridge.split(".")[1]) is not None


def bridge_of(call_id: UUID, node: str) -> str:
    """The bridge of a call."""
    return f"{call_id}.b.{node}"


def target_channel_of(call_id: UUID, node: str, attempt: int) -> str:
    """The channel of the call's `attempt`-th INVITE to a target, from 1."""
    return f"{call_id}.t{attempt}.{node}"


def attempt_of(channel: str) -> int:
    """Which INVITE a channel of ours was made for, from 1: the number in its PURPOSE."""
    return int(channel.split(".")[1][1:])


def playback_of(channel: str, life: int, number: int) -> str:
    """The `number`-th sound that one life of an engine plays on a channel, both from 1: no two lives share a name."""
    return f"{channel}.p{life}.{number}"


def first_channel_of(call_id: UUID, node: str, attempt: int) -> str:
    """The channel of the `attempt`-th INVITE to the party that a call of ours begins with, from 1."""
    return f"{call_id}.c{attempt}.{node}"


def voicemail_of(call_id: UUID) -> str:
    """The name under which Asterisk records what the caller leaves."""
    return f"{call_id}.voicemail"


def is_target(channel: str) -> bool:
    """Whether it was made to reach a target."""
    return _TARGET.fullmatch(channel.split(".")[1]) is not None if call_of(channel) else False


def is_first(channel: str) -> bool:
    """Whether it was made to reach the party that a call of ours begins with."""
    return _FIRST.fullmatch(channel.split(".")[1]) is not None if call_of(channel) else False


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
