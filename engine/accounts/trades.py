"""The 58 trades that may take the store-information message: exempt by trade from consent to advertising (as data)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import NamedTuple

from engine.foundation.errors import Invalid

LISTED_SINCE = date(2021, 6, 1)
"""From this day (Korean time) the list holds: the day on which the service began."""


class Trade(NamedTuple):
    """One trade of the Korean standard industrial classification."""

    code: str
    """Five digits."""
    korean: str | None
    """As the service's list names it; None: the list has the code alone."""
    section: str
    """The letter of the section."""


SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "G": "도매 및 소매업",
        "I": "숙박 및 음식점업",
        "S": "협회 및 단체, 수리 및 기타 개인 서비스업",
    }
)

_LISTED = (
    Trade("47211", "곡물, 곡분 및 가축 사료 소매업", "G"),
    Trade("47212", "육류 소매업", "G"),
    Trade("47213", "건어물 및 젓갈류 소매업", "G"),
    Trade("47214", "신선, 냉동 및 기타 수산물 소매업", "G"),
    Trade("47215", "채소, 과일 및 뿌리작물 소매업", "G"),
    Trade("47216", "빵류, 과자류 및 당류 소매업", "G"),
    Trade("47217", "건강보조식품 소매업", "G"),
    Trade("47218", "조리 반찬류 소매업", "G"),
    Trade("47219", "기타 식료품 소매업", "G"),
    Trade("47411", "남자용 겉옷 소매업", "G"),
    Trade("47412", "여자용 겉옷 소매업", "G"),
    Trade("47413", "속옷 및 잠옷 소매업", "G"),
    Trade("47414", "셔츠 및 블라우스 소매업", "G"),
    Trade("47417", "유아용 의류 소매업", "G"),
    Trade("47419", "기타 의복 소매업", "G"),
    Trade("47421", "가정용 직물제품 소매업", "G"),
    Trade("47422", "의복 액세서리 및 모조 장신구 소매업", "G"),
    Trade("47429", "섬유 원단, 실 및 기타 섬유제품 소매업", "G"),
    Trade("47430", "신발 소매업", "G"),
    Trade("47440", "가방 및 기타 가죽제품 소매업", "G"),
    Trade("47511", "철물 및 난방용구 소매업", "G"),
    Trade("47513", "벽지, 마루덮개 및 장판류 소매업", "G"),
    Trade("47519", "페인트, 창호 및 기타 건설자재 소매업", "G"),
    Trade("47591", "전기용품 및 조명장치 소매업", "G"),
    Trade("47592", "주방용품 및 가정용 유리, 요업 제품 소매업", "G"),
    Trade("47611", "서적, 신문 및 잡지류 소매업", "G"),
    Trade("47612", "문구용품 및 회화용품 소매업", "G"),
    Trade("47620", "음반 및 비디오품 소매업", "G"),
    Trade("47631", "운동 및 경기용품 소매업", "G"),
    Trade("47632", "자전거 및 기타 운송장비 소매업", "G"),
    Trade("47640", "게임용구, 인형 및 장난감 소매업", "G"),
    Trade("47813", "화장품, 비누 및 방향제 소매업", "G"),
    Trade("47821", "사무용 기기 소매업", "G"),
    Trade("47822", "안경 및 렌즈 소매업", "G"),
    Trade("47823", "사진기 및 사진용품 소매업", "G"),
    Trade("47851", "화초 및 식물 소매업", "G"),
    Trade("47852", "애완용 동물 및 관련용품 소매업", "G"),
    Trade("56111", "한식 일반 음식점업", "I"),
    Trade("56112", "한식 면요리 전문점", "I"),
    Trade("56113", "한식 육류요리 전문점", "I"),
    Trade("56114", "한식 해산물요리 전문점", "I"),
    Trade("56121", "중식 음식점업", "I"),
    Trade("56122", "일식 음식점업", "I"),
    Trade("56123", "서양식 음식점업", "I"),
    Trade("56129", "기타 외국식 음식점업", "I"),
    Trade("56191", "제과점업", "I"),
    Trade("56192", "피자, 햄버거, 샌드위치 및 유사 음식점업", "I"),
    Trade("56193", "치킨 전문점", "I"),
    Trade("56194", "김밥 및 기타 간이 음식점업", "I"),
    Trade("56199", "간이음식 포장 판매 전문점", "I"),
    Trade("56221", "커피 전문점", "I"),
    Trade("56229", "기타 비알코올 음료점업", "I"),
    Trade("95391", None, "S"),
    Trade("95392", "가죽, 가방 및 신발 수리업", "S"),
    Trade("96111", "이용업", "S"),
    Trade("96112", "두발 미용업", "S"),
    Trade("96121", "욕탕업", "S"),
    Trade("96912", "가정용 세탁업", "S"),
)

TRADES: Mapping[str, Trade] = MappingProxyType({trade.code: trade for trade in _LISTED})
"""By code, in the order of the list."""


def check_trade(code: str | None) -> None:
    """Raises Invalid for what is no trade's code; whether a trade is listed is another question."""
    if code is not None and not (len(code) == 5 and code.isascii() and code.isdigit()):
        raise Invalid(f"trade: {code[:20]!r} must be the five digits of the trade's code in the classification (KSIC)")
