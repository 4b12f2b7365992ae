"""JSON from strangers: strict, bounded, and for large files one element after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_WHOLE_BYTES = 512 << 20  # of a file that is read at once
_ELEMENT_CHARACTERS = 64 << 20
_CHUNK_CHARACTERS = 1 << 20
_AFTER = tuple(" \t\r\n,:]}")  # what may follow a value; anything else may be the rest of a number
_SPACE = re.compile(r"[ \t\r\n]*")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number that JSON has")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def read_json(file: Path) -> Any:  # noqa: ANN401  (whatever the file holds)
    """The content of a JSON file.

    Raises:
        ValueError: If it is too large, not UTF-8, no JSON, nested without end, or holds NaN or Infinity.
    """
    if file.stat().st_size > _WHOLE_BYTES:
        raise ValueError(f"{file}: larger than the {_WHOLE_BYTES >> 20} MiB that are read of such a file")
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: cannot be read as JSON: {error}") from error


def read_entries(file: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON file whose top level is an object, without holding more than one at a time.

    Yields:
        The key and the value; where the value is a list, the key and each element; where it is an object, the key and
        each `(key, value)` pair. An empty list or object yields nothing.

    Raises:
        ValueError: As `read_json`; entries before the fault have been given.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _Scanner(stream).entries()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: cannot be read as JSON: {error}") from error


class _Scanner:
    """A window on the text of a JSON file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at = stream, "", 0
        self.ended = False

    def entries(self) -> Iterator[tuple[str, Any]]:
        """See `read_entries`."""
        self.take("{")
        if self.peek() == "}":
            return
        while True:
            key = self.value()
            self.take(":")
            opened = self.peek()
            if opened in "[{":
                yield from ((key, item) for item in self.items(opened))
            else:
                yield key, self.value()
            if not self.goes_on("}"):
                return

    def items(self, opened: str) -> Iterator[Any]:
        """The elements of the list, or the pairs of the object, that begins here."""
        self.take(opened)
        closing = "]" if opened == "[" else "}"
        if self.peek() == closing:
            self.take(closing)
            return
        while True:
            item = self.value()
            if opened == "{":
                self.take(":")
                item = (item, self.value())
            yield item
            if not self.goes_on(closing):
                return

    def goes_on(self, closing: str) -> bool:
        """Whether a comma follows; otherwise the closing bracket has to."""
        more = self.peek() == ","
        self.take("," if more else closing)
        return more

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # pyright: ignore[reportOptionalMemberAccess]
            if self.at < len(self.text):
                return self.text[self.at]
            self.more()

    def take(self, character: str) -> None:
        """Step over a character.

        Raises:
            ValueError: If another one is there.
        """
        found = self.peek()
        if found != character:
            raise ValueError(f"expected {character!r} but got {found!r}")
        self.at += 1

    def value(self) -> Any:  # noqa: ANN401  (whatever the file holds)
        """The value that begins here; a number is complete only where something follows it."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                if self.ended or self.text[end : end + 1] in _AFTER:
                    self.at = end
                    return value
            except json.JSONDecodeError:
                if self.ended:
                    raise
            if len(self.text) - self.at > _ELEMENT_CHARACTERS:
                raise ValueError("one element of it is larger than what is read, or is broken")
            self.more()

    def more(self) -> None:
        """Read on; what was passed is forgotten, and what is read doubles while one value takes more."""
        if self.ended:
            raise ValueError("the text ends too early")
        rest = self.text[self.at :]
        chunk = self.stream.read(max(_CHUNK_CHARACTERS, len(rest)))
        self.ended = not chunk
        self.text, self.at = rest + chunk, 0
