"""Polly, CLOVA Voice and Google's speech as servers on loopback that speak their real wire formats."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import parse_qsl

from aiohttp import web

from engine.prompts.speech.signature import AwsKey, signed_headers
from engine.prompts.telephone_sound import WIDE_RATE, pcm, wav
from tests.loopback import ANY_PORT
from tests.tones import tone

SOUND = pcm(tone(700, 0.5, WIDE_RATE) / 32768)
"""What each of them says, whatever it is asked: 16 kHz samples."""


class FakeSpeech:
    """The three providers behind one address. `fails_with` is answered instead of a sound; `asked` is what came."""

    def __init__(self, aws_key: AwsKey, now: datetime) -> None:
        self._aws_key = aws_key
        self._now = now
        self.url = ""
        self.asked: list[dict[str, object]] = []
        self.fails_with: web.Response | None = None
        self.never_answers = False
        self.too_large = False

    def application(self) -> web.Application:
        served = web.Application()
        served.router.add_post("/v1/speech", self._polly)
        served.router.add_post("/tts-premium/v1/tts", self._clova)
        served.router.add_post("/v1/text:synthesize", self._google)
        return served

    async def _polly(self, request: web.Request) -> web.Response:
        body = await request.read()
        names = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: request.headers[name] for name in names if name != "x-amz-date"}
        right = signed_headers(self._aws_key, self._now, "POST", "/v1/speech", headers, body)
        if request.headers["Authorization"] != right["Authorization"]:
            return web.json_response(
                {"message": "The request signature we calculated does not match the signature you provided."},
                status=403,
                headers={"x-amzn-ErrorType": "InvalidSignatureException:http://internal.amazon.com/coral/"},
            )
        return await self._answer(json.loads(body), web.Response(body=SOUND, content_type="audio/pcm"))

    async def _clova(self, request: web.Request) -> web.Response:
        keys = (request.headers.get("X-NCP-APIGW-API-KEY-ID"), request.headers.get("X-NCP-APIGW-API-KEY"))
        if keys != ("id", "key"):
            error = {"error": {"errorCode": "200", "message": "Authentication Failed"}}
            return web.json_response(error, status=401)
        form = dict(parse_qsl((await request.read()).decode(), strict_parsing=True))
        return await self._answer(dict(form), web.Response(body=wav(SOUND, WIDE_RATE), content_type="audio/x-wav"))

    async def _google(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Goog-Api-Key") != "key":
            error = {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "API_KEY_INVALID",
                        "domain": "googleapis.com",
                    }
                ],
            }
            return web.json_response({"error": error}, status=400)
        content = base64.b64encode(wav(SOUND, WIDE_RATE)).decode()
        return await self._answer(await request.json(), web.json_response({"audioContent": content}))

    async def _answer(self, asked: dict[str, object], sound: web.Response) -> web.Response:
        self.asked.append(asked)
        if self.never_answers:
            await asyncio.Event().wait()
        if self.too_large:
            return web.Response(body=b"x" * 31_000_000)
        return self.fails_with or sound


@asynccontextmanager
async def speaking(fake: FakeSpeech) -> AsyncIterator[FakeSpeech]:
    """The fake, reachable at `fake.url`."""
    runner = web.AppRunner(fake.application(), shutdown_timeout=0.1)
    await runner.setup()
    host, _, port = ANY_PORT.rpartition(":")
    site = web.TCPSite(runner, host, int(port))
    await site.start()
    bound = runner.addresses[0]
    fake.url = f"http://{bound[0]}:{bound[1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
