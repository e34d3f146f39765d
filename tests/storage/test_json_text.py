"""JSON of any depth, with numbers of any length: a value or a reason, never another exception."""

import json
import os

import pytest

from storage.json_text import JsonError, parsed


@pytest.mark.parametrize(
    "value", [None, 1.5, "ä", "😀", os.fsdecode(b"a\xff"), {"a": [1, {"b": None}]}]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_values_come_back(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parsed(text) == value
    if "\udcff" not in text:
        assert parsed(text.encode()) == parsed(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "thousands of digits"),
        ('{"a": -' + "9" * 5000 + "}", "thousands of digits"),
        (r'"\ud800"', "half of a surrogate pair"),
        (r'{"\uDC00": 1}', "half of a surrogate pair"),
        (r'["\udcff\udd00"]', "half of a surrogate pair"),
        (b"\xff\xfe", "not UTF-8"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_none_has_a_reason(text, reason):
    with pytest.raises(JsonError, match=reason):
        parsed(text)
