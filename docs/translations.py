"""Which Chinese sections are older than the English ones: `python docs/translations.py`, and a step of `make docs`.

A section is what stands below a heading of level one or two. Below each Chinese heading stands `<!-- en: HASH -->`, the
hash of the English section that it was made from; sections have one order in both pages. Once a section is translated
anew, `python docs/translations.py --mark PAGE` writes the hashes of today.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_MARK = re.compile(r"<!-- en: (\w*) -->\n*")
_GENERATED = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)  # in both languages by one script
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Section(NamedTuple):
    """A heading and what is below it."""

    heading: str
    text: str

    @property
    def hash(self) -> str:
        """Of the words; where lines break does not matter."""
        return hashlib.sha256(" ".join(_GENERATED.sub("", self.text).split()).encode()).hexdigest()[:8]


def main(words: Sequence[str] | None = None) -> int:
    """Print what is stale; 1 if anything is. With `--mark`, state that pages are current."""
    parser = argparse.ArgumentParser(prog="python docs/translations.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mark", nargs="+", default=[], metavar="PAGE", help="Chinese pages that were just translated")
    for page in parser.parse_args(words).mark:
        mark(Path(page).resolve(), english_of(Path(page).resolve()))
    found = [line for chinese in chinese_pages(ROOT) for line in stale(chinese, english_of(chinese))]
    print(*found, sep="\n", file=sys.stderr)
    print(f"{len(chinese_pages(ROOT))} Chinese pages, {len(found)} stale sections")
    return min(len(found), 1)


def chinese_pages(root: Path) -> list[Path]:
    """README.zh-CN.md and every page of docs/zh."""
    return [root / "README.zh-CN.md", *sorted((root / "docs" / "zh").rglob("*.md"))]


def english_of(chinese: Path) -> Path:
    """The page that a Chinese page is the translation of."""
    if chinese.name == "README.zh-CN.md":
        return chinese.with_name("README.md")
    folder = next(one for one in chinese.parents if one.name == "zh")
    return folder.parent / chinese.relative_to(folder)


def sections(text: str) -> list[Section]:
    """Cut a page at its headings of level one and two; a `#` in a fenced block is none."""
    hidden = _FENCE.sub(lambda fence: re.sub(r"[^\n]", ".", fence[0]), text)
    starts = [found.start() for found in re.finditer(r"^##? ", hidden, re.MULTILINE)]
    parts = (text[start:end] for start, end in zip_longest(starts, starts[1:]))
    return [Section(part.split("\n", 1)[0].lstrip("# "), part) for part in parts]


def stale(chinese: Path, english: Path) -> list[str]:
    """A line for each section of a Chinese page that is not of the English section as it stands, or lacks."""
    if not english.is_file():
        return [f"{chinese.name}: there is no {english} that it could be the translation of"]
    lines = []
    pairs = zip_longest(sections(chinese.read_text(encoding="utf-8")), sections(english.read_text(encoding="utf-8")))
    for here, there in pairs:
        if there is None:
            lines.append(f"{chinese}: {here.heading!r} has no section in {english.name}")
        elif here is None:
            lines.append(f"{chinese}: lacks {there.heading!r} of {english.name}")
        else:
            mark_ = _MARK.search(here.text)
            if mark_ is None or mark_[1] != there.hash:
                was = mark_[1] if mark_ else "no hash"
                lines.append(f"{chinese}: {here.heading!r} is of {was}, {there.heading!r} is now {there.hash}")
    return lines


def mark(chinese: Path, english: Path) -> None:
    """Write below each heading the hash of the English section at the same place."""
    text = ""
    pairs = zip_longest(sections(chinese.read_text(encoding="utf-8")), sections(english.read_text(encoding="utf-8")))
    for here, there in pairs:
        if here is not None:
            heading, _, rest = _MARK.sub("", here.text, count=1).partition("\n")
            comment = f"<!-- en: {there.hash} -->\n\n" if there else ""
            text += f"{heading}\n\n{comment}{rest.lstrip()}" if comment else here.text
    chinese.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
