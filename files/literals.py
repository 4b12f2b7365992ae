"""Values that strangers wrote as text, and values with aliases in them: bounded before anything walks through them."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

MAX_TEXT = 1_000_000  # characters
MAX_DEPTH = 50
_STRING = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_MINUS = re.compile(r"(^|[\[{(,:])\s*-")
_NUMBER = re.compile(r"\b\d{1,64}(?!\d)\.?\d{0,64}(?:[eE][+-]?\d{1,4})?|\b(?:None|True|False|null|true|false)\b")
_FLAT = re.compile(r"[\s\[\]{}(),:0]*")
_STEP = {**dict.fromkeys("[{(", 1), **dict.fromkeys("]})", -1)}


def read_literal(text: str) -> Any:  # noqa: ANN401  (nested data)
    """A value from its text, JSON or a Python literal of numbers, texts, lists and mappings.

    Raises:
        ValueError: If it is neither, longer than a million characters or nested more than 50 deep. Python's own reader
            runs out of stack or memory on such text.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected a value of at most {MAX_TEXT:,} characters but got {len(text):,}")
    bare = _NUMBER.sub("0", _MINUS.sub(r"\1", _STRING.sub("0", text)))
    depth = deepest = 0
    for character in bare:
        depth += _STEP.get(character, 0)
        deepest = max(deepest, depth)
    if not _FLAT.fullmatch(bare) or deepest > MAX_DEPTH:
        raise ValueError(f"expected numbers, texts, lists and mappings at most {MAX_DEPTH} deep but got {text[:40]!r}")
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"expected a value but got {text[:40]!r}: {error}") from None


def check_extent(value: object, what: str, most: int = 500_000) -> None:
    """Check how much a value holds, with what stands in it more than once counted as often.

    Args:
        value: Nested lists, tuples and mappings; anything else counts as one value.
        what: To begin the message with.
        most: Values; 16 characters of a text count as one.

    Raises:
        ValueError: If it holds more, or is nested more than 50 deep.
    """
    left = most

    def walk(part: object, depth: int) -> None:
        nonlocal left
        left -= 1 + (len(part) // 16 if isinstance(part, (str, bytes)) else 0)
        if left < 0 or depth > MAX_DEPTH:
            raise ValueError(f"{what}: expected at most {most:,} values, at most {MAX_DEPTH} deep, but it holds more")
        if isinstance(part, dict):
            for key, inner in part.items():
                walk(key, depth + 1)
                walk(inner, depth + 1)
        elif isinstance(part, (list, tuple)):
            for inner in part:
                walk(inner, depth + 1)

    walk(value, 0)
