"""Finds what contradicts itself in a treatment, taken with the standing one that fills what it leaves unsaid. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from engine.numbers.sound_names import named_prompt, prompts_of, sounds_of
from engine.numbers.treatment import LABEL, Failure, RecordMode, Target, TargetOrder, Then, Treatment
from engine.routing.finding import Finding, Oddity, Severity, finding
from engine.routing.model import Line, Rule

LONGEST_RINGING = 120
"""Seconds, all in turn: callers' carriers end a call that nobody answers, and few callers wait longer."""

_FACT = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class _Treated:
    """A rule's treatment, or the standing one when `rule` is None, and the line that it is for."""

    rule: str | None
    said: Treatment
    standing: Treatment
    line: Line
    ring_seconds: int

    def odd(self, severity: Severity, oddity: Oddity, sentence: str, sentence_ko: str) -> Finding:
        return finding(self.rule, severity, oddity, sentence, sentence_ko)

    @property
    def order(self) -> TargetOrder:
        return self.said.order or self.standing.order or TargetOrder.IN_TURN

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.said.targets or self.standing.targets or (Target(number=self.line.number.target),)

    @property
    def seconds(self) -> int:
        return self.said.ring_seconds or self.standing.ring_seconds or self.ring_seconds


def of_treatment(
    rule: Rule | None, line: Line, ring_seconds: int, sounds: Container[str] | None = None
) -> Iterator[Finding]:
    """What is odd about the rule's treatment; about the number's standing one when `rule` is None."""
    standing = line.number.treatment
    said = standing if rule is None else rule.treatment
    treated = _Treated(None if rule is None else rule.name, said, standing, line, ring_seconds)
    for part in (_announced, _shares, _unsendable, _consent, _chain, _ringing, _whisper):
        yield from part(treated)
    yield from _missing_prompts(treated)
    if sounds is not None:
        yield from _missing_sounds(treated, sounds)


def _announced(treated: _Treated) -> Iterator[Finding]:
    said = treated.said
    if not said.announcement:
        return
    if said.targets:
        yield treated.odd(
            Severity.ERROR,
            Oddity.TARGETS_NEVER_RING,
            "its targets never ring, for its announcement is heard instead; leave one of the two out",
            "안내방송이 나가면 착신번호는 울리지 않습니다. 둘 중 하나를 빼세요.",
        )
    if said.recording in (RecordMode.ALWAYS, RecordMode.ON_KEY) and treated.rule is not None:
        yield treated.odd(
            Severity.WARNING,
            Oddity.NO_TALK_TO_RECORD,
            "nothing is recorded, for its announcement is heard instead of a talk; leave one of the two out",
            "안내방송만 나가는 전화는 녹음되지 않습니다. 둘 중 하나를 빼세요.",
        )
    unheard = [
        name for name in ("ringback", "notice", "whisper", "busy", "fallbacks", "consent") if getattr(said, name)
    ]
    if unheard and treated.rule is not None:
        yield treated.odd(
            Severity.WARNING,
            Oddity.NEVER_HEARD,
            f"its announcement is heard instead of ringing, so {', '.join(unheard)} never comes; leave it out",
            f"안내방송만 나가므로 다음 설정은 쓰이지 않습니다: {', '.join(unheard)}. 설정에서 빼세요.",
        )


def _shares(treated: _Treated) -> Iterator[Finding]:
    if treated.said.order is None and treated.said.targets is None:
        return
    shares = [target.share for target in treated.targets]
    if treated.order is not TargetOrder.BY_SHARE:
        if treated.said.targets and any(shares):
            yield treated.odd(
                Severity.WARNING,
                Oddity.SHARES_UNUSED,
                f"its targets have shares, and they ring {treated.order.value}; set the order to by share",
                "착신 비율을 지정했지만 비율 순서가 아니어서 쓰이지 않습니다. 착신 순서를 비율로 바꾸세요.",
            )
    elif not any(shares):
        yield treated.odd(
            Severity.ERROR,
            Oddity.NO_SHARES,
            "its targets ring by share, and none has a share; give each its percent",
            "비율 순서인데 착신번호에 비율이 없습니다. 번호마다 비율(%)을 지정하세요.",
        )
    elif sum(shares) != 100:
        yield treated.odd(
            Severity.WARNING,
            Oddity.SHARES_NOT_WHOLE,
            f"the shares of its targets make {sum(shares)}, not 100, and are taken in proportion; mend them",
            f"착신 비율의 합이 100이 아니라 {sum(shares)}입니다. 비율대로 나누어 적용되니 확인하세요.",
        )
    if treated.said.order not in (None, TargetOrder.IN_TURN) and len(treated.targets) == 1:
        yield treated.odd(
            Severity.WARNING,
            Oddity.ONE_TARGET,
            "it sets an order of ringing, and there is only one target; name more",
            "착신번호가 하나뿐이어서 착신 순서가 쓰이지 않습니다. 착신번호를 추가하세요.",
        )


def _unsendable(treated: _Treated) -> Iterator[Finding]:
    if treated.line.number.sender is not None:
        return
    said = treated.said
    texts = [link.text for link in said.fallbacks or () if link.then is Then.TEXT]
    if said.callback or texts or (said.consent is not None and said.consent.text):
        yield treated.odd(
            Severity.ERROR,
            Oddity.NO_SENDER,
            "its message cannot be sent, for the number has no sender; set a registered sender on the number",
            "번호에 발신번호가 없어 문자를 보낼 수 없습니다. 등록된 발신번호를 먼저 지정하세요.",
        )


def _consent(treated: _Treated) -> Iterator[Finding]:
    offer = treated.said.consent
    if offer is not None and offer.before:
        yield treated.odd(
            Severity.WARNING,
            Oddity.CONSENT_BEFORE,
            "keys before the talk arrive only over trunks marked early_dtmf; over others it is offered after the talk",
            "통화 전 동의 버튼은 early_dtmf 회선에서만 됩니다. 다른 회선에서는 통화 후에 안내됩니다.",
        )


def _chain(treated: _Treated) -> Iterator[Finding]:
    ended: set[Failure] = set()
    rung = {target.number for target in treated.targets}
    for place, link in enumerate(treated.said.fallbacks or (), start=1):
        wanted = set(link.on) or set(Failure)
        if wanted <= ended:
            yield treated.odd(
                Severity.WARNING,
                Oddity.NEVER_REACHED,
                f"fallback {place} ({link.then.value}) never comes, for those before it end the call; move it up",
                f"{place}번째 대체 동작은 앞에서 통화가 끝나 실행되지 않습니다. 순서를 올리세요.",
            )
        if link.then is not Then.RING:
            ended |= wanted
        elif any(target.number in rung for target in link.targets):
            yield treated.odd(
                Severity.WARNING,
                Oddity.RINGS_AGAIN,
                f"fallback {place} rings a target again that was not reached; name another number",
                f"{place}번째 대체 착신번호는 이미 연결되지 않은 번호입니다. 다른 번호를 지정하세요.",
            )
        rung |= {target.number for target in link.targets}
    if treated.said.busy and Failure.BUSY in ended and treated.said.fallbacks is not None:
        yield treated.odd(
            Severity.WARNING,
            Oddity.NEVER_HEARD,
            "its busy sounds are never heard, for a fallback ends the calls that find it busy; drop one of the two",
            "통화중일 때의 대체 동작이 있어 통화중 컬러링이 나가지 않습니다. 둘 중 하나를 빼세요.",
        )


def _ringing(treated: _Treated) -> Iterator[Finding]:
    said = treated.said
    if said.targets is None and said.order is None and said.ring_seconds is None and said.fallbacks is None:
        return
    first = [target.ring_seconds or treated.seconds for target in treated.targets]
    chain = said.fallbacks if said.fallbacks is not None else treated.standing.fallbacks or ()
    later = [target.ring_seconds or treated.seconds for link in chain for target in link.targets]
    longest = (max(first) if treated.order is TargetOrder.ALL_AT_ONCE else sum(first)) + sum(later)
    if longest > LONGEST_RINGING:
        yield treated.odd(
            Severity.WARNING,
            Oddity.RINGS_LONG,
            f"its telephones ring up to {longest} s in turn, and callers' carriers give up before; ring them shorter",
            f"벨이 모두 {longest}초까지 울려 그 전에 통신사가 전화를 끊을 수 있습니다. 벨 시간을 줄이세요.",
        )


def _whisper(treated: _Treated) -> Iterator[Finding]:
    whisper = treated.said.whisper
    if whisper is None or not whisper.text or LABEL not in _FACT.findall(whisper.text):
        return
    labels = [treated.said.label, treated.standing.label, *(rule.treatment.label for rule in treated.line.rules)]
    if not any(labels):
        yield treated.odd(
            Severity.WARNING,
            Oddity.FACT_MISSING,
            "its whisper says {label}, and the number has none, so that part is left out; set the number's label",
            "알림 멘트에 {label}이 있지만 번호에 라벨이 없어 그 부분이 빠집니다. 라벨을 지정하세요.",
        )


def _missing_prompts(treated: _Treated) -> Iterator[Finding]:
    for name in prompts_of(treated.said):
        if name not in treated.line.account.prompts:
            yield treated.odd(
                Severity.ERROR,
                Oddity.NO_SUCH_PROMPT,
                f"the account has no prompt {name!r}; make it with `dari prompt add`, or name another sound",
                f"계정에 안내 멘트 ‘{name}’이(가) 없습니다. 멘트를 만들거나 다른 음원을 고르세요.",
            )


def _missing_sounds(treated: _Treated, sounds: Container[str]) -> Iterator[Finding]:
    for name in dict.fromkeys(sounds_of(treated.said)):
        if name and named_prompt(name) is None and name not in sounds:
            yield treated.odd(
                Severity.ERROR,
                Oddity.NO_SUCH_SOUND,
                f"there is no sound {name!r}; upload it or name another",
                f"음원 ‘{name}’이(가) 없습니다. 음원을 올리거나 다른 음원을 고르세요.",
            )
