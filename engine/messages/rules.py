"""What the law and the carriers ask of a message, pure: each rule in its edition of the day, with a verdict.

Laws change on a day: a new edition is a new `Rule` of the same name with its `since`; old certificates keep the
version that was asked. Have the editions confirmed by counsel before messages go to real recipients.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from engine.foundation.errors import Invalid
from engine.foundation.message_text import SMS_BYTES, sendable
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, masked
from engine.messages.model import Check

KOREA = timezone(timedelta(hours=9), "KST")
"""Korean time; no daylight saving since 1988."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One edition of a rule, in force from the Korean day `since` until a later edition begins."""

    name: str
    version: str
    refusal: str
    """Why a message is held, for operators."""
    refusal_ko: str
    """The same for the shop."""
    since: date = date.min
    limit: int = 0
    """The rule's number, in the unit that its function names; 0: it has none."""

    def says(self, passed: bool, evidence: str) -> Verdict:
        return Verdict(self, passed, evidence)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule said about one message, on what evidence. Evidence holds no whole number and no text."""

    rule: Rule
    passed: bool
    evidence: str

    @property
    def check(self) -> Check:
        """As it stands in the certificate."""
        return Check(rule=self.rule.name, version=self.rule.version, passed=self.passed, evidence=self.evidence)

    @property
    def reason(self) -> str:
        """Why it was refused, one sentence for operators."""
        return f"{self.rule.refusal}: {self.evidence}"


RECIPIENT = (
    Rule(
        name="recipient is a mobile number",
        version="recipient/1",
        refusal="the caller's number cannot get a text message",
        refusal_ko="휴대전화에서 온 전화가 아니어서 문자를 보낼 수 없습니다.",
    ),
)

# Registered senders only: Telecommunications Business Act, article 84-2, and the registration notice, in force
# since 16 October 2015. That a forwarding 050 number is no sender is its safe reading.
SENDER = (
    Rule(
        name="sender is registered",
        version="sender/2015-10-16",
        refusal="the sender number may not be used",
        refusal_ko="발신번호로 등록되지 않은 번호입니다. 050 번호는 발신번호로 쓸 수 없습니다.",
        since=date(2015, 10, 16),
    ),
)

TEXT = (
    Rule(
        name="text fits",
        version="sms-text/1",
        refusal="the text does not fit into an SMS",
        refusal_ko=f"문자 내용이 {SMS_BYTES}바이트를 넘거나 보낼 수 없는 글자가 있습니다.",
        limit=SMS_BYTES,
    ),
)

# Network Act, article 50, as in force since 29 November 2014: who only asked gave no consent to advertising.
CATEGORY = (
    Rule(
        name="information, not advertising",
        version="advertising-consent/2014-11-29",
        refusal="the text looks like advertising, which needs the recipient's consent",
        refusal_ko="광고로 보이는 문자는 받는 사람의 동의 없이 보낼 수 없습니다.",
        since=date(2014, 11, 29),
    ),
)

# The label and what shops write in its place: spaces or signs inside, other brackets, Chinese characters, AD.
_LABEL = re.compile(r"[(\[{<〈《「『【〔]\W*(?:[광廣広]\W{0,3}[고告]|AD)\W*[)\]}>〉》」』】〕]", re.IGNORECASE)
_OPT_OUT = re.compile(r"(?:무료\W{0,3})?수신\W{0,3}거부|무료\W{0,3}거부")


def in_force(editions: Sequence[Rule], at: datetime) -> Rule:
    """The edition of the day of `at` in Korea; the first one for days before it."""
    today = at.astimezone(KOREA).date()
    begun = [edition for edition in editions if edition.since <= today]
    return max(begun, key=lambda edition: edition.since) if begun else editions[0]


def recipient_is_mobile(recipient: PhoneNumber | None, at: datetime) -> Verdict:
    """Text messages go to mobile numbers only."""
    rule = in_force(RECIPIENT, at)
    if recipient is None:
        return rule.says(False, "no number")
    kind = classify(recipient)
    return rule.says(kind is NumberClass.MOBILE, f"{masked(recipient)} is a {kind.value} number")


def sender_is_registered(sender: PhoneNumber | None, registered: Set[PhoneNumber], at: datetime) -> Verdict:
    """The sender is one of the account's `registered` numbers, 8 to 11 digits, and no 050 number."""
    rule = in_force(SENDER, at)
    if sender is None:
        return rule.says(False, "no sender number is set")
    if classify(sender) is NumberClass.VIRTUAL or sender.startswith("050"):
        return rule.says(False, f"{masked(sender)} is a 050 number")
    if not re.fullmatch(r"[0-9]{8,11}", sender):
        return rule.says(False, f"{masked(sender)} has not 8 to 11 digits")
    if sender not in registered:
        return rule.says(False, f"{masked(sender)} is not registered for this account")
    return rule.says(True, f"{masked(sender)} is registered for this account")


def text_fits(text: str | None, at: datetime) -> Verdict:
    """The text has bytes in cp949, and no more than one SMS takes (limit in bytes)."""
    rule = in_force(TEXT, at)
    try:
        length = len(sendable(text or ""))
    except Invalid as error:
        return rule.says(False, str(error).removeprefix("text: "))
    return rule.says(length <= rule.limit, f"{length} of {rule.limit} bytes")


def is_information(text: str | None, at: datetime) -> Verdict:
    """Nothing in the text marks it as advertising: not the label or a variant of it, not an opt-out line."""
    rule = in_force(CATEGORY, at)
    plain = unicodedata.normalize("NFKC", text or "")
    if _LABEL.search(plain):
        return rule.says(False, "it carries an advertising label")
    if _OPT_OUT.search(plain):
        return rule.says(False, "it carries an opt-out line, as advertising does")
    return rule.says(True, "no advertising label, no opt-out line")
