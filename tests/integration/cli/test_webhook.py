"""`dari webhook`, as an operator types it, on a real database and with a receiver on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.command_line import Answer, Dari, refused

KEY = "ZGFyaS10ZXN0LWtleS1vZi10aGlydHktdHdvLWJ5dGU="


class Receiver(BaseHTTPRequestHandler):
    """Takes what comes at /good."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204 if self.path.startswith("/good") else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> Dari:
    monkeypatch.setenv("DARI_SECRET_KEY", KEY)
    monkeypatch.setenv("DARI_WEBHOOK_NETWORKS", "127.0.0.0/8")
    dari("number", "add", "0507-1234-5678", "--account", "다리꽃집", "--target", "02-1234-5678")
    return dari


def add(dari: Dari, url: str, *options: str) -> tuple[str, str]:
    """The new one's id, and its secret."""
    (made,) = dari("webhook", "add", url, "--account", "다리꽃집", "--json", *options).objects
    return made["webhook"]["id"], made["secret"]


def test_from_adding_to_removing(opened: Dari, receiver: str) -> None:
    webhook, secret = add(opened, f"{receiver}/good?token=hush", "--kind", "call.*", "--description", "CRM")
    assert opened("webhook", "list", "--json").objects[0]["webhook"]["batch"] == 1
    short = webhook.replace("-", "")[-8:]
    assert secret.startswith("whsec_")
    listed = opened("webhook", "list").out
    assert short in listed
    assert "다리꽃집" in listed
    assert "hush" not in listed
    assert "good" not in listed  # paths may be secret as well
    assert secret not in opened("webhook", "list", "--json").out
    tried = opened("webhook", "test", short)
    assert tried.code == 0
    assert "  204  " in tried.out
    assert opened("webhook", "set", short, "--url", f"{receiver}/bad", "--all-kinds").code == 0
    failed = opened("webhook", "test", webhook)
    assert failed.code == 1
    assert "it answered 500" in failed.out
    assert opened("webhook", "set", short, "--batch", "25").code == 0
    assert opened("webhook", "list", "--json").objects[0]["webhook"]["batch"] == 25
    assert opened("webhook", "pause", short).code == 0
    assert "paused" in opened("webhook", "list").out
    refused(opened("webhook", "pause", short), "it is paused")
    assert opened("webhook", "resume", short).code == 0
    assert opened("webhook", "rotate", short, "--hours", "0").out.strip() not in ("", secret)
    refused(opened("webhook", "replay", short, "--from", "1000"), "no range")
    refused(opened("webhook", "replay", short, "--dead"), "no dead letters")
    assert opened("webhook", "dead", short).code == 0
    assert opened("webhook", "remove", short).code == 0
    refused(opened("webhook", "pause", short), "there is none")
    assert short not in opened("webhook", "list", "--json").out


def test_what_cannot_be_is_told_with_the_mend(opened: Dari) -> None:
    def adding(url: str, *options: str) -> Answer:
        return opened("webhook", "add", url, "--account", "다리꽃집", *options)

    refused(adding("https://169.254.169.254/"), "url", "not a public address")
    refused(adding("https://example.com/", "--kind", "call.x"), "there are no events")
    refused(opened("webhook", "pause", "12345678"), "there is none")
    webhook, _ = add(opened, "https://example.com/x")
    refused(opened("webhook", "set", webhook), "nothing to change")
