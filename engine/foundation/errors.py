"""The few errors that cross folders. Each message is one sentence that names the thing and the mend.

Adapters turn foreign exceptions into these; doors (CLI, API) turn these into what their users see.
"""

from __future__ import annotations


class DariError(Exception):
    """Anything that Dari says about itself; its text may be shown to a user as it is."""


class NotFound(DariError):  # noqa: N818 - the trade's word, not "NotFoundError"
    """The thing named does not exist (any more)."""


class NotAllowed(DariError):  # noqa: N818
    """Understood, and refused by a rule or a permission."""


class Invalid(DariError):  # noqa: N818
    """A value cannot be used; the text names field, value and rule."""


class Conflict(DariError):  # noqa: N818
    """The thing is in another state than this deed needs; ordinary in races."""


class TryLater(DariError):  # noqa: N818
    """A part is away or busy. `after` is the earliest sensible wait, in seconds."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class GaveUp(DariError):  # noqa: N818
    """Tried as often as allowed; somebody has to look."""
