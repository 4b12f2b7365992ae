"""The report.md of a conversion: how many of what went where, and everything that was left out or changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.convert.records import Example, Notes


@dataclass(frozen=True)
class Outcome:
    """What a conversion did.

    Attributes:
        examples: The images.
        sides: The side of each.
        groups: The near-duplicate group of each.
        names: Class names in label order.
        notes: What was left out or changed.
    """

    examples: Sequence[Example]
    sides: Sequence[str]
    groups: Sequence[int]
    names: Sequence[str]
    notes: Notes

    def used_sides(self) -> list[str]:
        """The sides that hold images, in their usual order."""
        return [side for side in ("train", "val", "test") if side in set(self.sides)]

    def duplicate_groups(self) -> list[list[str]]:
        """Names of the images of each group of two or more near-duplicates."""
        members: dict[int, list[str]] = defaultdict(list)
        for example, group in zip(self.examples, self.groups, strict=True):
            members[group].append(example.name)
        return sorted(sorted(names) for names in members.values() if len(names) > 1)

    def leaks(self) -> int:
        """Number of groups that lie on more than one side; only a set's own split can have any."""
        sides: dict[int, set[str]] = defaultdict(set)
        for group, side in zip(self.groups, self.sides, strict=True):
            sides[group].add(side)
        return sum(len(group_sides) > 1 for group_sides in sides.values())

    def near_duplicates(self) -> str:
        """One line about near-duplicates."""
        groups, leaks = self.duplicate_groups(), self.leaks()
        if not groups:
            return "near-duplicates: none found"
        fate = f"{leaks} groups lie on more than one side of the set's own split" if leaks else "each group on one side"
        return f"near-duplicates: {sum(map(len, groups))} images in {len(groups)} groups, {fate}"


def report_text(title: str, settings: Mapping[str, object], outcome: Outcome) -> str:
    """Compose the report.

    Args:
        title: Name of the data set.
        settings: The options of the conversion.
        outcome: What it did.

    Returns:
        Markdown.
    """
    lines = [f"# {title}", "", *_counts(outcome), "", "## Settings", ""]
    lines += [f"- {key}: {value}" for key, value in settings.items()]
    lines += ["", "## Near-duplicates", "", f"{outcome.near_duplicates()}.", ""]
    lines += [f"- {', '.join(group)}" for group in outcome.duplicate_groups()]
    for kind, heading in Notes.KINDS.items():
        found = outcome.notes.of_kind(kind)
        if found:
            lines += ["", f"## {heading} ({len(found)})", "", *(f"- `{note.file}`: {note.text}" for note in found)]
    return "\n".join(lines).rstrip() + "\n"


def _counts(outcome: Outcome) -> list[str]:
    """A table with a row for the images and one per class, a column per side."""
    used = outcome.used_sides()
    pairs = list(zip(outcome.examples, outcome.sides, strict=True))
    images = Counter(outcome.sides)
    background = Counter(side for example, side in pairs if not example.boxes)
    boxes = Counter((side, box.label) for example, side in pairs for box in example.boxes)
    rows = [("images", [images[side] for side in used]), ("without objects", [background[side] for side in used])]
    rows += [(f"boxes of {name}", [boxes[side, name] for side in used]) for name in outcome.names]
    header = ["", *used, "all"]
    table = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return table + [f"| {name} | {' | '.join(map(str, values))} | {sum(values)} |" for name, values in rows]
