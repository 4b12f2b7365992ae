"""The steps every format shares: choose class names, open the pictures, split, write."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.convert.check_boxes import check_images
from data.convert.records import Example, Notes, SourceImage
from data.convert.report import Outcome, report_text
from data.convert.train_val_split import assign_splits
from data.convert.write_yolo import Layout, check_output, write_dataset
from data.dataset.dataset_yaml import FOLDER
from data.near_duplicates import NEAR_DUPLICATE_BITS, near_duplicate_groups
from files.yaml_file import read_yaml

Reader = Callable[[Path, Notes], list[SourceImage]]


@dataclass(frozen=True)
class Options:
    """What a conversion is asked to do, whatever the format.

    Attributes:
        folder: The published data set.
        out: The folder to write.
        val: Share of the images for validation.
        test: Share of the images for testing.
        seed: Another seed gives another split.
        names: Class names in label order; empty takes those of the YAML in `data/` that describes a set of this name
            and these classes, else the names that are found, sorted.
        ignore_others: Leave out objects whose class `names` lacks, instead of refusing them.
        near_duplicate_bits: See `data.near_duplicates`.
        link: Hard-link the images instead of copying them.
        exist_ok: Write into a folder that holds other files.
    """

    folder: Path
    out: Path
    val: float = 0.2
    test: float = 0.0
    seed: int = 0
    names: tuple[str, ...] = ()
    ignore_others: bool = False
    near_duplicate_bits: int = NEAR_DUPLICATE_BITS
    link: bool = False
    exist_ok: bool = False

    def __post_init__(self) -> None:
        for flag in ("val", "test"):
            if not 0 <= getattr(self, flag) < 1:
                raise ValueError(f"--{flag} {getattr(self, flag)}: expected a share from 0 to below 1, e.g. 0.2")
        if self.val + self.test >= 1:
            raise ValueError(f"--val {self.val} and --test {self.test} leave nothing for training")
        if self.near_duplicate_bits > 64:
            raise ValueError(
                f"--near-duplicate-bits {self.near_duplicate_bits}: expected at most 64; unrelated pictures differ by "
                "about 64 of the 128 bits"
            )
        if len(set(self.names)) != len(self.names) or not all(self.names):
            raise ValueError(f"--names {','.join(self.names)}: expected different, non-empty names between commas")
        if self.ignore_others and not self.names:
            raise ValueError("--ignore-others: expected --names to say which classes to keep")


def convert(options: Options, read: Reader, format_settings: Mapping[str, object]) -> str:
    """Convert a data set to YOLO layout.

    Args:
        options: What to do.
        read: The format's reader with its own options bound.
        format_settings: Those options, for the report and the manifest.

    Returns:
        A summary of a few lines.

    Raises:
        ValueError: If the source or the output folder is not what the options need.
    """
    if not options.folder.is_dir():
        raise ValueError(f"{options.folder}: no such folder")
    check_output(options.out, options.folder, exist_ok=options.exist_ok)
    notes = Notes()
    names, sources = _choose_names(read(options.folder, notes), options, notes)
    examples = check_images(_with_own_names(sources, options.folder, notes), options.folder, notes)
    if not examples:
        raise ValueError(f"{options.folder}: no image with a readable annotation; {notes.first()}")
    groups = near_duplicate_groups(np.stack([example.fingerprint for example in examples]), options.near_duplicate_bits)
    sides = _choose_sides(examples, groups, names, options)
    settings = {
        **format_settings,
        "val": options.val,
        "test": options.test,
        "seed": options.seed,
        "near_duplicate_bits": options.near_duplicate_bits,
    }
    outcome = Outcome(examples, sides, groups.tolist(), names, notes)
    report = report_text(options.out.resolve().name, settings, outcome)
    write_dataset(options.out, Layout(examples, sides, names, options.link, {**settings, "names": names}), report)
    return _summary(options.out, outcome)


def _choose_names(
    sources: Sequence[SourceImage], options: Options, notes: Notes
) -> tuple[list[str], list[SourceImage]]:
    """Class names in label order, and the sources without the objects that --ignore-others leaves out."""
    found: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for box in source.boxes:
            found[box.label].append(source.annotation.name)
    if not options.names:
        if not found:
            raise ValueError(f"{options.folder}: the annotations hold no objects; {notes.first()}")
        return _described_order(options.out, found) or sorted(found), list(sources)
    others = sorted(set(found) - set(options.names))
    if others and not options.ignore_others:
        told = ", ".join(f"{name} ({len(found[name])}, first in {found[name][0]})" for name in others)
        raise ValueError(f"--names lacks classes that the annotations hold: {told}; add them or use --ignore-others")
    kept = []
    for source in sources:
        wanted = tuple(box for box in source.boxes if box.label not in others)
        for label, number in Counter(box.label for box in source.boxes if box.label in others).items():
            text = f"{number} of {label}, which --names lacks"
            notes.add("dropped", source.annotation.relative_to(options.folder), text)
        kept.append(replace(source, boxes=wanted))
    return list(options.names), kept


def _described_order(out: Path, found: Iterable[str]) -> list[str]:
    """The class order of the YAML in `data/` whose set lies at `out`, so that the two cannot disagree; else nothing."""
    for file in sorted(FOLDER.glob("*.yaml")):
        content = read_yaml(file)
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict) and content.get("path") == out.resolve().name and set(found) <= set(names.values()):
            return [names[class_id] for class_id in sorted(names)]
    return []


def _with_own_names(sources: Sequence[SourceImage], folder: Path, notes: Notes) -> list[SourceImage]:
    """Without images whose label file another image already has (`a.jpg` beside `a.png`)."""
    by_name: dict[tuple[str | None, str], SourceImage] = {}
    for source in sources:
        first = by_name.setdefault((source.split, source.name), source)
        if first is not source:
            text = f"has the same name as {first.image.relative_to(folder)}, so both would have one label file"
            notes.add("skipped", source.image.relative_to(folder), text)
    return list(by_name.values())


def _choose_sides(examples: Sequence[Example], groups: np.ndarray, names: Sequence[str], options: Options) -> list[str]:
    """The side of each example: the set's own, if it was asked for, or ours."""
    own = [example.split for example in examples if example.split is not None]
    if own:
        return own
    shares = {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
    return assign_splits(examples, groups, names, shares, options.seed)


def _summary(out: Path, outcome: Outcome) -> str:
    counts = Counter(outcome.sides)
    boxes = sum(len(example.boxes) for example in outcome.examples)
    sides = ", ".join(f"{counts[side]} {side}" for side in outcome.used_sides())
    lines = [
        f"{len(outcome.examples)} images ({sides}), {boxes} boxes of {len(outcome.names)} classes: "
        f"{', '.join(outcome.names)}",
        outcome.near_duplicates(),
    ]
    found = outcome.notes.counts()
    lines += [f"{heading}: {found[kind]}" for kind, heading in Notes.KINDS.items() if found[kind]]
    return "\n".join([*lines, f"written to {out}; {out / 'report.md'} lists everything left out or changed"])
