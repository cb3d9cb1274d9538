"""AWS Signature Version 4 (AWS General Reference, "Signature Version 4 signing process"). Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKey:
    """Who signs, and for which service where."""

    id: str
    secret: str = field(repr=False)
    region: str
    service: str


def signed_headers(
    key: AwsKey, now: datetime, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """`headers` (`Host` among them) with the two that prove who asks: `X-Amz-Date` and `Authorization`.

    `now` in UTC; `path` already percent-encoded and without a query.
    """
    instant = f"{now:%Y%m%dT%H%M%SZ}"
    dated = dict(headers) | {"X-Amz-Date": instant}
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in dated.items())
    names = ";".join(name for name, _ in canonical)
    lines = [method, path, "", *(f"{name}:{value}" for name, value in canonical), "", names, _digest(body)]
    scope = f"{instant[:8]}/{key.region}/{key.service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, instant, scope, _digest("\n".join(lines).encode())])
    signature = hmac.new(_signing_key(key, instant[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
    proof = f"{_ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return dated | {"Authorization": proof}


def _signing_key(key: AwsKey, day: str) -> bytes:
    made = f"AWS4{key.secret}".encode()
    for part in (day, key.region, key.service, "aws4_request"):
        made = hmac.digest(made, part.encode(), "sha256")
    return made


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
