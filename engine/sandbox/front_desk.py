"""The carrier's front desk: who may call, who is registered, and whether it answers when asked.

It asks for a password only when the carrier has an account to compare with; until then every INVITE goes through.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from engine.foundation.errors import Invalid
from engine.sandbox import sip
from engine.sandbox.datagram import Endpoint
from engine.sandbox.digest import Account, challenge, is_right, new_nonce
from engine.sandbox.sip import Headers, Request, Response
from engine.sandbox.sip_values import NameAddress, Uri

_OK, _UNAUTHORIZED, _PROXY_UNAUTHORIZED = 200, 401, 407


@dataclass(frozen=True, slots=True)
class Registration:
    """Where a registered user wants its calls."""

    contact: Uri
    seconds: int
    instant: float
    """Monotonic; the last time that it was said."""


@dataclass(slots=True)
class FrontDesk:
    """May be changed at any time; it holds for the next message."""

    account: Account | None = None
    """Whoever calls or registers must prove that they are this one; None: nobody is asked."""
    register_code: int = _OK
    """What a right REGISTER gets."""
    options_code: int | None = _OK
    """What OPTIONS get; None: silence."""
    registration: Registration | None = None
    """What is registered; None: nobody is."""
    registered: int = 0
    """How often REGISTER came with the right password."""
    refused: int = 0
    """How often a REGISTER or an INVITE came with a wrong one."""
    asked: int = 0
    """How many OPTIONS came."""
    challenged: set[str] = field(default_factory=set)
    """Call-IDs of INVITEs that were asked for a password: their ACKs belong to no call."""
    nonce: str = field(default_factory=new_nonce)

    def answer(self, request: Request, source: Endpoint) -> Response | None:
        """The answer to REGISTER and OPTIONS; None: silence. Raises Invalid for a REGISTER without Contact."""
        if request.method == "OPTIONS":
            self.asked += 1
            return self._response(request, self.options_code, source) if self.options_code else None
        if not self._proven(request, "Authorization"):
            return self._ask(request, _UNAUTHORIZED, source)
        return self._register(request, source)

    def hold_up(self, invite: Request, source: Endpoint) -> Response | None:
        """What is said to an INVITE whose caller has yet to prove who it is; None: it may go through."""
        if self._proven(invite, "Proxy-Authorization"):
            return None
        self.challenged.add(invite.call_id)
        return self._ask(invite, _PROXY_UNAUTHORIZED, source)

    def _register(self, request: Request, source: Endpoint) -> Response:
        contacts = request.listed("Contact")
        if not contacts:
            raise Invalid("REGISTER without Contact; nobody knows where the calls shall go")
        contact = NameAddress.parse(contacts[0])
        seconds = int(contact.parameters.get("expires") or request.get("Expires") or 3600)
        self.registered += 1
        if self.register_code == _OK:
            self.registration = Registration(contact.uri, seconds, time.monotonic()) if seconds else None
        granted = (("Contact", f"<{contact.uri}>;expires={seconds}"), ("Expires", str(seconds)))
        return self._response(request, self.register_code, source, granted if self.register_code == _OK else ())

    def _proven(self, request: Request, header: str) -> bool:
        if self.account is None:
            return True
        given = request.get(header)
        right = bool(given) and is_right(self.account, self.nonce, request.method, given)
        self.refused += bool(given) and not right
        return right

    def _ask(self, request: Request, code: int, source: Endpoint) -> Response:
        account = self.account or Account("", "")
        header = "WWW-Authenticate" if code == _UNAUTHORIZED else "Proxy-Authenticate"
        return self._response(request, code, source, ((header, challenge(account, self.nonce)),))

    def _response(self, request: Request, code: int, source: Endpoint, extra: Headers = ()) -> Response:
        response = sip.response_to(request, code, source, sip.new_tag())
        return replace(response, headers=(*response.headers, *extra))
