"""Digest authentication (RFC 2617 with qop=auth, MD5) as a carrier asks for it. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from engine.sandbox.sip_values import split_outside_quotes

_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))\s*')


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a carrier knows."""

    user: str
    password: str
    realm: str = "carrier.test"


def challenge(account: Account, nonce: str) -> str:
    """The value of WWW-Authenticate or Proxy-Authenticate."""
    return f'Digest realm="{account.realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'


def new_nonce() -> str:
    return secrets.token_hex(16)


def is_right(account: Account, nonce: str, method: str, credentials: str) -> bool:
    """Whether the value of Authorization or Proxy-Authorization proves the password for this very request."""
    scheme, _, rest = credentials.strip().partition(" ")
    said = _pairs(rest)
    proof = (said.get("username"), said.get("realm"), said.get("nonce"), said.get("qop"))
    if scheme.lower() != "digest" or proof != (account.user, account.realm, nonce, "auth"):
        return False
    who = _md5(f"{account.user}:{account.realm}:{account.password}")
    what = _md5(f"{method}:{said.get('uri', '')}")
    right = _md5(":".join((who, nonce, said.get("nc", ""), said.get("cnonce", ""), "auth", what)))
    return secrets.compare_digest(right, said.get("response", ""))


def _pairs(text: str) -> dict[str, str]:
    found = (_PAIR.fullmatch(part) for part in split_outside_quotes(text, ","))
    return {pair[1].lower(): pair[2] if pair[2] is not None else pair[3] for pair in found if pair}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
