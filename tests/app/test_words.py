"""Every label is there in both languages, and none is left over."""

import re
from string import Formatter

import pytest

from app.words import _WORDS, Words


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted(_WORDS))
def test_both_languages_say_the_same_values(key) -> None:
    english, chinese = _WORDS[key]
    assert english
    assert chinese
    assert fields(english) == fields(chinese)


def test_every_key_is_used_and_every_used_key_is_there(root) -> None:
    source = "".join(file.read_text("utf-8") for file in (root / "app").glob("*_tab.py"))
    source += (root / "app/server.py").read_text("utf-8") + (root / "app/page.py").read_text("utf-8")
    used = set(re.findall(r'(?:say|words|Words\([^)]*\))\(\s*"(\w+)"', source))
    assert used <= set(_WORDS)
    assert Words("zh")("detect") == "检测"
