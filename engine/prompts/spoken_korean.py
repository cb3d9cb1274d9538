"""Numbers in a Korean text as they are said. Pure.

A voice reads words well and digits badly: `010-1234-5678` comes out as millions, `3번째` as 삼번째. So every digit is
turned into words before a text is spoken.

- Sino-Korean (일 이 삼) for dates, minutes, money, units; native numerals (한 두 세) for counted people and things, for
  hours up to twelve and for ordinals. From 100 on only a remainder under 20 is native: 백한 명, but 백이십삼 명.
- Digits that name and do not count (phone numbers, codes with a leading zero) are said one by one, zero as 공, with a
  pause where a hyphen stands: 공오공칠, 일이삼사, 오육칠팔. A zero that counts is 영. (National Institute of Korean
  Language: zero is 영 as a quantity and may be 공 as a sign; phone numbers are read digit by digit.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

VERSION = 1
"""Counted up whenever a text would be said otherwise: what was spoken before is then spoken anew."""

_SINO = "영일이삼사오육칠팔구"
_NAMED = "공일이삼사오육칠팔구"
_SMALL_UNITS = ("", "십", "백", "천")
_LARGE_UNITS = ("", "만", "억", "조", "경")
_LARGEST = 10**20
_NATIVE_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_MONTHS = {6: "유월", 10: "시월"}

# What follows a numeral, each with the words that only begin like it.
_NATIVE_COUNTERS = (
    "시간|군데|가지|그릇|상자|박스|접시|조각|봉지|켤레|송이|그루|마리|사람|묶음|꾸러미|다발|자루|포기|자리|공기|테이블|세트|"
    "바퀴|차례|스푼|모금|명(?!동|함|세)|개(?!월|년|국|소|발|점)|권(?!한)|병(?!원)|잔(?!액|돈)|대(?!표|학|로|리|금|기)|곳|달(?!러|력)|"
    "판(?!매)|장(?!소|애|관|기|사|마)|벌(?!금)|채(?!널|팅)|척|통(?!화|신|장|역|지)|건(?!물|강|설)|줄|봉(?!사)|캔|팩(?!스)|"
    "배(?!달|송|차|터)|쌍|살|끼|컵"
)
_SINO_COUNTERS = (
    "개월|개년|개국|개소|인분|학년도|학년|년도|년|월|일(?!반)|분기|분(?!식)|초|층|호선|호(?!텔|출)|회차|회(?!사|원|의|신)|주년|주간|"
    "주(?!문|차|말|소|식)|동(?!안|네)|번지|번(?!호)|반(?!품|찬)|점(?!심|검|포)|위(?!치)|등(?!록)|차(?!량|례)|세(?!금)|급(?!여)|박(?!스)|도(?!착|시락)|"
    "인|원(?!장|룸)|달러|유로|엔|페이지|쪽|단계|킬로그램|킬로미터|킬로|미터|그램|리터|평|관|퍼센트|프로(?!그램|모션)"
)
_LARGE = "천만|백만|십만|천억|백억|조|억|만|천(?!안)|백(?!화점|신)"

_UNITS = {
    "%p": "퍼센트포인트",
    "%": "퍼센트",
    "km": "킬로미터",
    "cm": "센티미터",
    "mm": "밀리미터",
    "m": "미터",
    "kg": "킬로그램",
    "mg": "밀리그램",
    "g": "그램",
    "ml": "밀리리터",
    "mL": "밀리리터",
    "L": "리터",
    "GB": "기가바이트",
    "MB": "메가바이트",
    "KB": "킬로바이트",
}

# Public lines that people know by their digits.
_SHORT_LINES = "110|111|112|113|114|117|118|119|120|122|125|126|127|128|129|131|132|182|1330|1339|1345|1366|1388"


def spelled_out(text: str) -> str:
    """The text with every digit in words; the rest stays. Saying the result again changes nothing."""
    said = _plain(text)
    for pattern, words in _RULES:
        said = pattern.sub(words, said)
    return unicodedata.normalize("NFKC", said)


def sino(number: int) -> str:
    """A whole number as money and dates have it: 12345 is 만 이천삼백사십오. Raises ValueError from 10^20 on."""
    if not 0 <= number < _LARGEST:
        raise ValueError(f"{number} has no words here")
    if number == 0:
        return _SINO[0]
    groups = []
    for unit in _LARGE_UNITS:
        number, group = divmod(number, 10_000)
        if group:
            groups.append("만" if unit == "만" and group == 1 and not number else _thousands(group) + unit)
    return " ".join(reversed(groups))


def native(number: int) -> str:
    """As it stands before what is counted: 3 is 세, 20 is 스무. From 100 on mixed, see above."""
    if number == 0:
        return _SINO[0]
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        return sino(hundreds * 100) + native(rest) if 1 <= rest < 20 else sino(number)
    tens, ones = divmod(number, 10)
    return "스무" if number == 20 else _NATIVE_TENS[tens] + _NATIVE_ONES[ones]


def digits(number: str) -> str:
    """Digit by digit, zero as 공; hyphens, spaces and brackets become pauses."""
    groups = re.findall("[0-9]+", number)
    return ", ".join("".join(_NAMED[int(digit)] for digit in group) for group in groups)


def decimal(number: str) -> str:
    """`12.50` with its point, the digits after it one by one: 십이 점 오영."""
    whole, _, part = number.replace(",", "").partition(".")
    words = _counted(whole, sino)
    return f"{words} 점 {''.join(_SINO[int(digit)] for digit in part)}" if part else words


def _thousands(group: int) -> str:
    words = ""
    for place, unit in reversed(list(enumerate(_SMALL_UNITS))):
        digit = group // 10**place % 10
        if digit:
            words += unit if digit == 1 and place else _SINO[digit] + unit
    return words


def _counted(written: str, words: Callable[[int], str]) -> str:
    """A number as it is written, with its commas; one too long for words is said digit by digit."""
    number = int(written.replace(",", ""))
    return words(number) if number < _LARGEST else digits(written)


def _plain(text: str) -> str:
    """Every kind of digit as 0-9, every kind of dash and wave between digits as one."""
    kept = text.replace("㎡", "m²").replace("m²", "제곱미터").replace("℃", "도").replace("°C", "도")
    plain = "".join(_digit(letter) for letter in unicodedata.normalize("NFKC", kept))
    plain = re.sub(r"(?<=[0-9])\s*[‐‑‒–—−]\s*(?=[0-9])", "-", plain)
    return re.sub(r"[∼〜～]", "~", plain).replace("⁄", "/")


def _digit(letter: str) -> str:
    value = unicodedata.decimal(letter, None)
    return letter if value is None else str(value)


def _date(found: re.Match[str]) -> str:
    year, month, day = found["year"], int(found["month"]), int(found["day"])
    words = f"{_month(month)} {sino(day)}일"
    return f"{sino(int(year))}년 {words}" if year else words


def _month(month: int) -> str:
    return _MONTHS.get(month, f"{sino(month)}월")


def _month_alone(found: re.Match[str]) -> str:
    return _month(int(found[1]))


def _clock(found: re.Match[str]) -> str:
    minutes = int(found["minutes"])
    return _hour(int(found["hour"])) + (f" {sino(minutes)} 분" if minutes else "")


def _hour(hour: int) -> str:
    """Up to twelve in native words; the hours of a railway timetable in Sino-Korean ones."""
    return f"{native(hour) if 1 <= hour <= 12 else sino(hour)} 시"


def _hour_alone(found: re.Match[str]) -> str:
    return _hour(int(found[1]))


def _ordinal(found: re.Match[str]) -> str:
    number = int(found[1].replace(",", ""))
    return ("첫" if number == 1 else native(number) if number < _LARGEST else digits(found[1])) + " 번째"


def _native_count(found: re.Match[str]) -> str:
    return f"{_counted(found[1], native)} {found[2]}"


def _sino_count(found: re.Match[str]) -> str:
    joined = found[2] in ("년", "월", "일", "년도")
    return decimal(found[1]) + ("" if joined else " ") + found[2]


def _large(found: re.Match[str]) -> str:
    """`3억 5,000만`, `2천`: 1 is said before 억 and 조 only."""
    number = "" if found[1] == "1" and found[2][0] not in "억조" else decimal(found[1])
    return number + found[2] + (" 원" if found[3] else "")


def _money(found: re.Match[str]) -> str:
    return f"{decimal(found[1])} 원"


def _part(found: re.Match[str]) -> str:
    return f"{sino(int(found[2]))}분의 {sino(int(found[1]))}"


def _unit(found: re.Match[str]) -> str:
    return f"{decimal(found[1])} {_UNITS[found[2]]}"


def _phone(found: re.Match[str]) -> str:
    """Without hyphens a number is said in the groups in which it is written in Korea."""
    number = found[0]
    if number.startswith("+82"):
        number = re.sub(r"^\+82[ -]?\(?0?\)?", "0", number)
    if number.isdecimal() and len(number) >= 9:
        area = 2 if number.startswith("02") else 4 if re.fullmatch("050[0-9]{9}", number) else 3
        number = f"{number[:area]}-{number[area:-4]}-{number[-4:]}"
    elif number.isdecimal() and len(number) == 8:
        number = f"{number[:4]}-{number[4:]}"
    return digits(number)


def _named(found: re.Match[str]) -> str:
    return digits(found[0])


def _range(found: re.Match[str]) -> str:
    """`10~12시` is from 10시 to 12시: the first number takes the unit of the second."""
    return f"{found[1]}{found[3]}에서 {found[2]}{found[3]}"


def _number(found: re.Match[str]) -> str:
    return decimal(found[0])


_WHOLE = r"(?<![0-9.])([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_ANY = r"([0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
_MONTH = "0?[1-9]|1[0-2]"
_DAY = "3[01]|[12][0-9]|0?[1-9]"
_SHARED_UNIT = r"( ?(?:시간|시|분|초|일|월|년|명|개월|개|만 ?원|천 ?원|원|%|층|인분|주|회|도|km|m|kg|g|세|살|인))"

# From the special to the general: each rule leaves no digits of what it has said.
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        # Phone numbers.
        (r"\+82[ -]?\(?0?\)?[0-9]{1,3}[ -]?[0-9]{3,4}[ -]?[0-9]{4}(?![0-9])", _phone),
        (r"(?<![0-9-])\(?0[0-9]{1,3}(?:\) ?|-)[0-9]{3,4}-[0-9]{4}(?![0-9-])", _phone),
        (r"(?<![0-9-])1[568][0-9]{2}-[0-9]{4}(?![0-9-])", _phone),
        (r"(?<![0-9.,-])0[0-9]{8,11}(?![0-9])", _phone),
        (r"(?<![0-9.,-])1[568][0-9]{6}(?![0-9,])(?! ?원)", _phone),
        (
            rf"(?<![0-9.,:-])(?:{_SHORT_LINES})(?=번(?!째| [가-힣])|(?:에|로|으로) ?(?:신고|전화|연락)|콜센터|센터)",
            _named,
        ),
        # From one to another; days and hours.
        (rf"(?<![0-9.,])([0-9]{{1,4}}) ?~ ?([0-9]{{1,4}}){_SHARED_UNIT}", _range),
        (r"(?<=[0-9시분초일월년명개원층주회]) ?~ ?(?=[0-9오])", lambda _: "에서 "),
        (rf"(?<![0-9.-])(?P<year>[0-9]{{4}})[-./] ?(?P<month>{_MONTH})[-./] ?(?P<day>{_DAY})(?![0-9-])", _date),
        (rf"(?<![0-9.-])(?:(?P<year>[0-9]{{4}})년 ?)?(?P<month>{_MONTH})월 ?(?P<day>{_DAY})일", _date),
        (r"(?<![0-9./-])([1-3])/([2-4])(?![0-9/]| ?\([월화수목금토일])", _part),
        (rf"(?<![0-9./-])(?P<year>)(?P<month>{_MONTH})/(?P<day>{_DAY})(?![0-9/])", _date),
        (r"(?<![0-9:])(?P<hour>2[0-4]|[01]?[0-9]):(?P<minutes>[0-5][0-9])(?::[0-5][0-9])?(?![0-9:])", _clock),
        (rf"(?<![0-9.,])({_MONTH})월", _month_alone),
        (r"(?<![0-9.,])(2[0-4]|[01]?[0-9]) ?시(?!간|장|작|도|내)", _hour_alone),
        # What is counted: 번 chooses (1번을 누르다) or, before another word, counts (세 번 전화하다).
        (rf"{_WHOLE} ?번째", _ordinal),
        (
            rf"{_WHOLE} ?(번)(?= (?!누|눌|버튼|출구|창구|테이블|손님|고객|선택|게이트|메뉴|또는|혹은)[가-힣])",
            _native_count,
        ),
        (rf"{_WHOLE} ?(개월|개년|개국|개소)", _sino_count),
        (rf"{_WHOLE} ?(분)(?=께|의 |이 오)", _native_count),
        (rf"{_WHOLE} ?({_NATIVE_COUNTERS})", _native_count),
        (rf"[₩\\] ?{_ANY}", _money),
        (rf"{_ANY} ?({_LARGE})( ?원)?", _large),
        (rf"(?<![0-9A-Za-z가-힣])-{_ANY} ?(도)", lambda found: f"영하 {_sino_count(found)}"),
        (rf"{_ANY} ?({_SINO_COUNTERS})", _sino_count),
        (rf"{_ANY} ?({'|'.join(_UNITS)})(?![A-Za-z])", _unit),
        # The rest: what has a leading zero or hyphens names, what has none counts.
        (r"(?<![0-9.,])0[0-9]+(?![0-9]*[.,][0-9])", _named),
        (r"[0-9]+(?:-[0-9]+)+", _named),
        (r"(?<![0-9A-Za-z가-힣])-(?=[0-9])", lambda _: "마이너스 "),
        (_ANY, lambda found: decimal(found[1])),
    )
)
