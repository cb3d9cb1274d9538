"""The ARI operations that we use, named as in Asterisk's /ari/api-docs; a test holds each against them."""

from __future__ import annotations

from enum import Enum


class Operation(Enum):
    """Method, path below /ari, and the names of the parameters that we send."""

    INFO = ("GET", "/asterisk/info", ("only",))

    SET_GLOBAL = ("POST", "/asterisk/variable", ("variable", "value"))

    APPLICATION = ("GET", "/applications/{applicationName}")
    SET_EVENT_FILTER = ("PUT", "/applications/{applicationName}/eventFilter", ("filter",))
    SUBSCRIBE = ("POST", "/applications/{applicationName}/subscription", ("eventSource",))
    CLAIM = ("POST", "/events/claim", ("channelId", "application"))

    CHANNELS = ("GET", "/channels")
    CHANNEL = ("GET", "/channels/{channelId}")
    ORIGINATE = (
        "POST",
        "/channels",
        ("endpoint", "app", "appArgs", "callerId", "timeout", "channelId", "originator", "variables"),
    )
    ANSWER = ("POST", "/channels/{channelId}/answer")
    RING = ("POST", "/channels/{channelId}/ring")
    PROGRESS = ("POST", "/channels/{channelId}/progress")
    HANG_UP = ("DELETE", "/channels/{channelId}", ("reason_code",))
    PLAY = ("POST", "/channels/{channelId}/play/{playbackId}", ("media",))
    RECORD = (
        "POST",
        "/channels/{channelId}/record",
        ("name", "format", "maxDurationSeconds", "maxSilenceSeconds", "ifExists", "terminateOn"),
    )
    SNOOP = ("POST", "/channels/{channelId}/snoop/{snoopId}", ("spy", "whisper", "app", "appArgs"))
    EXTERNAL_MEDIA = (
        "POST",
        "/channels/externalMedia",
        ("channelId", "app", "external_host", "transport", "encapsulation", "connection_type", "format"),
    )
    START_MUSIC = ("POST", "/channels/{channelId}/moh", ("mohClass",))
    STOP_MUSIC = ("DELETE", "/channels/{channelId}/moh")
    GET_VARIABLES = ("GET", "/channels/{channelId}/variables", ("variables",))
    SET_VARIABLES = ("POST", "/channels/{channelId}/variables", ("variables",))
    MOVE = ("POST", "/channels/{channelId}/move", ("app", "appArgs"))
    CONTINUE = ("POST", "/channels/{channelId}/continue", ("context", "extension", "label"))

    PLAYBACK = ("GET", "/playbacks/{playbackId}")
    LIVE_RECORDING = ("GET", "/recordings/live/{recordingName}")
    END_RECORDING = ("POST", "/recordings/live/{recordingName}/stop")
    STOP_PLAYBACK = ("DELETE", "/playbacks/{playbackId}")

    BRIDGES = ("GET", "/bridges")
    CREATE_BRIDGE = ("POST", "/bridges/{bridgeId}", ("type",))
    ADD_TO_BRIDGE = ("POST", "/bridges/{bridgeId}/addChannel", ("channel",))
    REMOVE_FROM_BRIDGE = ("POST", "/bridges/{bridgeId}/removeChannel", ("channel",))
    DESTROY_BRIDGE = ("DELETE", "/bridges/{bridgeId}")

    def __init__(self, method: str, path: str, parameters: tuple[str, ...] = ()) -> None:
        self.method = method
        self.path = path
        self.parameters = parameters

    @property
    def about_channel(self) -> bool:
        """Whether the one channel that it names is what it needs first."""
        return "{channelId}" in self.path or "channelId" in self.parameters
