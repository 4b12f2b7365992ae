"""What became of every tensor of a transfer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from files.text import write_rows

FATES = ("loaded", "shifted", "partly", "new", "unused")


class Entry(NamedTuple):
    """The fate of one tensor."""

    fate: str  # one of FATES
    target: str  # key in the model; "" for an unused one
    source: str  # key in the source; "" for a new one
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class TransferReport:
    """What `transfer` did, tensor by tensor; `str(report)` is a table."""

    source: str
    entries: tuple[Entry, ...]
    question: str = ""  # asked where what was left over would fit what starts at random
    classes: tuple[tuple[str, str], ...] = ()  # class of the model, and the source's that it was carried from

    def count(self, fate: str) -> int:
        """How many tensors met this fate."""
        return sum(entry.fate == fate for entry in self.entries)

    @property
    def summary(self) -> str:
        """One line: how many tensors of the source arrived, and how many of the model are new."""
        arrived = self.count("loaded") + self.count("shifted") + self.count("partly")
        total = arrived + self.count("unused")
        parts = ", ".join(f"{self.count(fate)} {fate}" for fate in FATES if self.count(fate))
        return f"{arrived} of {total} tensors of {self.source} arrived ({parts})"

    @property
    def overview(self) -> str:
        """The summary, then a line for each reason why tensors are not whole: fate, their number, their rows, why."""
        groups: dict[tuple[str, str], list[int]] = {}
        for entry in self.entries:
            if entry.fate in ("partly", "new", "unused"):
                groups.setdefault((entry.fate, entry.reason), []).append(split_key(entry.target or entry.source)[0])
        lines = [
            f"{fate:<8}{len(rows):>4} in row {', '.join(map(str, dict.fromkeys(rows)))}"
            f"{' of the source' if fate == 'unused' else ''}: {reason}"
            for (fate, reason), rows in groups.items()
        ]
        if self.classes:
            pairs = ", ".join(a if a == b else f"{a} (from {b})" for a, b in self.classes)
            lines.append(f"classes carried by name: {pairs}")
        return "\n".join([self.summary, *lines, *([self.question] if self.question else [])])

    def __str__(self) -> str:
        """The summary, then a line for every tensor that was not simply loaded under its own key."""
        rows = [e for e in self.entries if e.fate != "loaded"]
        width = max((len(e.target or e.source) for e in rows), default=0)
        lines = [f"{e.fate:<8}{e.target or e.source:<{width}}  {list(e.shape)!s:<20} {e.reason}" for e in rows]
        return "\n".join([self.summary, *lines])

    def save(self, path: str | Path) -> None:
        """Write the table as CSV: fate, key in the model, key in the source, shape, reason."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            rows = (e._replace(shape="x".join(map(str, e.shape))) for e in self.entries)  # type: ignore[arg-type]
            write_rows(file, [Entry._fields, *rows])


def split_key(key: str) -> tuple[int, str]:
    """`model.17.cv1.conv.weight` -> (17, `cv1.conv.weight`); row -1 for a key of another form."""
    parts = key.split(".", 2)
    if len(parts) == 3 and parts[0] == "model" and parts[1].isdecimal():
        return int(parts[1]), parts[2]
    return -1, key
