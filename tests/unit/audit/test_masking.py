"""People's numbers are hidden where entries are shown; service numbers are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.audit.masking import masked_entry
from tests.unit.audit.test_chain import ENTRY


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"personal": {"target": "01012345678"}}, {"personal": {"target": "010-****-5678"}}),
        ({"personal": "01012345678"}, {"personal": "010-****-5678"}),
        ({"personal": ["01012345678", "kim@example.com", 3]}, {"personal": ["010-****-5678", "…", 3]}),
        ({"number": "050712345678", "seconds": "30"}, {"number": "050712345678", "seconds": "30"}),
        ({"rules": [{"personal": {"to": "0212345678"}}]}, {"rules": [{"personal": {"to": "02-****-5678"}}]}),
        (None, None),
    ],
)
def test_what_stands_under_personal_is_hidden(value: Any, shown: Any) -> None:
    masked = masked_entry(msgspec.structs.replace(ENTRY, before=value, after=value))
    assert masked.before == shown
    assert masked.after == shown
    assert masked.who == ENTRY.who
