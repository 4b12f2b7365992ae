"""The steps every format shares: unpack, read, choose classes, open the pictures, split, write."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.convert.check_boxes import SMALLEST_SIDE_PX, check_images
from data.convert.class_choice import choose_classes, read_choice
from data.convert.records import Example, Notes, SourceImage
from data.convert.report import Outcome, report_text
from data.convert.source import READABLE, Source, side_of, without_sides
from data.convert.train_val_split import SIDES, assign_splits
from data.convert.write_yolo import PICTURES, Layout, beside, check_output, staging_folder, write_dataset
from data.near_duplicates import NEAR_DUPLICATE_BITS, near_duplicate_groups, origin, same_groups
from files.archive import ARCHIVES, unpack

Reader = Callable[[Source, Notes], Iterator[SourceImage]]
_SHARES = (0.8, 0.2)


@dataclass(frozen=True)
class Options:
    """What a conversion is asked to do, whatever the format.

    Attributes:
        source: The published data set, a folder or an archive.
        out: The folder to write.
        split: Shares for training, validation and testing, the last of which may be left out; None keeps the set's own
            sides, and makes some of 0.8 and 0.2 where it has none.
        seed: Another seed gives another split.
        names: Class names in label order; see `choose_classes`.
        classes: Classes to keep, rename and merge; see `read_choice`.
        min_size: Boxes with a shorter side, in pixels, are dropped.
        near_duplicate_bits: See `data.near_duplicates`.
        clips: A regular expression whose first group is what frames of one clip have in common in their names; None
            knows the names that video tools give them.
        keep_unlabelled: Keep images that no annotation names, as background.
        link: Hard-link the images instead of copying them.
        exist_ok: Write into a folder that holds other files.
    """

    source: Path
    out: Path
    split: tuple[float, ...] | None = None
    seed: int = 0
    names: tuple[str, ...] = ()
    classes: str = ""
    min_size: float = SMALLEST_SIDE_PX
    near_duplicate_bits: int = NEAR_DUPLICATE_BITS
    clips: str | None = None
    keep_unlabelled: bool = False
    link: bool = False
    exist_ok: bool = False

    def __post_init__(self) -> None:
        if self.split is not None:
            fits = len(self.split) in (2, 3) and all(0 <= share <= 1 for share in self.split) and self.split[0] > 0
            if not fits or abs(sum(self.split) - 1) > 1e-6:
                said = ",".join(f"{share:g}" for share in self.split)
                raise ValueError(f"--split {said}: expected two or three shares that add up to 1, e.g. 0.8,0.1,0.1")
        if self.near_duplicate_bits > 64:
            raise ValueError(
                f"--near-duplicate-bits {self.near_duplicate_bits}: expected at most 64; unrelated pictures differ by "
                "about 64 of the 128 bits"
            )
        if len(set(self.names)) != len(self.names) or not all(self.names):
            raise ValueError(f"--names {','.join(self.names)}: expected different, non-empty names between commas")
        if not self.min_size >= SMALLEST_SIDE_PX:
            raise ValueError(f"--min-size {self.min_size:g}: expected {SMALLEST_SIDE_PX:g} or more, in pixels")
        _pattern(self.clips)


def _pattern(clips: str | None) -> re.Pattern[str] | None:
    try:
        pattern = re.compile(clips) if clips else None
    except re.error as error:
        raise ValueError(f"--clips {clips}: is no regular expression: {error}") from error
    if pattern is not None and not pattern.groups:
        raise ValueError(f"--clips {clips}: expected a group in ( ), which is the same for all frames of a clip")
    return pattern


@contextmanager
def opened(source: Path, out: Path) -> Iterator[Source]:
    """The files of a set; an archive is unpacked beside `out`, and what was is kept for another try after a stop.

    Raises:
        ValueError: If there is no such folder or archive, or the archive is not one to trust.
    """
    if source.is_dir():
        yield Source(_innermost(source))
        return
    if not source.is_file():
        raise ValueError(f"{source}: no such folder or archive")
    if not source.name.lower().endswith(ARCHIVES):
        raise ValueError(f"{source}: expected a folder, or an archive of {', '.join(ARCHIVES)}")
    status = source.stat()  # what was unpacked of another archive is not gone on with
    folder = beside(out, f"unpacked-{status.st_size:x}-{status.st_mtime_ns:x}")
    try:
        unpack(source, folder)
        yield Source(_innermost(folder))
    except ValueError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(str(error).replace(str(folder), str(source))) from error
    shutil.rmtree(folder, ignore_errors=True)


def _innermost(folder: Path) -> Path:
    """What is packed often lies in one folder with everything in it, whose name says nothing about the images."""
    entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return _innermost(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def convert(options: Options, source: Source, read: Reader, format_settings: Mapping[str, object]) -> str:
    """Convert a data set to YOLO layout.

    Args:
        options: What to do.
        source: The set's files.
        read: The format's reader with its own options bound.
        format_settings: Those options, for the report and the manifest.

    Returns:
        A summary of a few lines.

    Raises:
        ValueError: If the source or the output folder is not what the options need.
    """
    notes = Notes()
    choice = read_choice(options.classes) if options.classes else {}
    source.some(source.images, f"images ({', '.join(sorted(READABLE))})")
    records = list(read(source, notes))
    records += _unnamed(records, source, notes, options.keep_unlabelled)
    names, records = choose_classes(source, records, options.names, choice, options.out, notes)
    records = _with_own_names(_with_sides(records, options, source, notes), source, notes)
    staging = staging_folder(options.out)
    examples = check_images(records, source.folder, notes, options.min_size, staging / PICTURES)
    if not examples:
        raise ValueError(f"{options.source}: no image with a readable annotation; {notes.first()}")
    groups = _groups(examples, options)
    sides = _choose_sides(examples, groups, names, options)
    settings = {
        **format_settings,
        "split": "the set's own" if examples[0].split else ",".join(f"{s:g}" for s in options.split or _SHARES),
        "seed": options.seed,
        "near_duplicate_bits": options.near_duplicate_bits,
        "min_size": options.min_size,
    }
    settings |= {key: value for key in ("classes", "clips", "keep_unlabelled") if (value := getattr(options, key))}
    outcome = Outcome(examples, sides, groups.tolist(), names, notes)
    report = report_text(options.out.resolve().name, settings, outcome)
    write_dataset(options.out, Layout(examples, sides, names, options.link, {**settings, "names": names}), report)
    return _summary(options.out, outcome)


def prepare(options: Options) -> None:
    """Refuse an output folder before anything is read."""
    check_output(options.out, options.source, exist_ok=options.exist_ok)


def _unnamed(records: Sequence[SourceImage], source: Source, notes: Notes, keep: bool) -> list[SourceImage]:
    """The images that no annotation names, as backgrounds if they are to be kept, else none and a note."""
    known = {record.image for record in records}
    said = {note.file for note in notes.items}
    rest = [image for image in source.images if image not in known and str(source.short(image)) not in said]
    if keep:
        return [SourceImage(one, source.name_of(one), (), one, split=side_of(source.short(one).parent)) for one in rest]
    if rest:
        text = f"{len(rest)} images that no annotation names, e.g. {source.short(rest[0])}"
        notes.add("skipped", ".", f"{text} (--keep-unlabelled keeps them as background)")
    return []


def _with_sides(records: Sequence[SourceImage], options: Options, source: Source, notes: Notes) -> list[SourceImage]:
    """The images with the set's own sides where those are to be kept, without any where a split is to be made."""
    own = Counter(record.split for record in records if record.split)
    if options.split is not None or len(own) < 2:
        return [record.on(None) for record in records]
    if "val" not in own:
        notes.add("remark", ".", "the set has no validation side, so its test side is that: three-way takes a new one")
    if "train" not in own:
        notes.add("remark", ".", "the set has no training side; --split makes one")
    renamed = {"test": "val"} if "val" not in own else {}
    kept = []
    for record in records:
        if record.split:
            kept.append(replace(record.on(renamed.get(record.split, record.split)), name=without_sides(record.name)))
    if len(kept) < len(records):
        text = f"{len(records) - len(kept)} images that the set gives to no side (--split takes them in)"
        notes.add("skipped", ".", text)
    return kept


def _with_own_names(sources: Sequence[SourceImage], source: Source, notes: Notes) -> list[SourceImage]:
    """Without images whose label file another image already has (`a.jpg` beside `a.png`)."""
    by_name: dict[tuple[str | None, str], SourceImage] = {}
    for one in sources:
        first = by_name.setdefault((one.split, one.name), one)
        if first is not one:
            text = f"has the same name as {source.short(first.image)}, so both would have one label file"
            text = "is annotated twice; the first is used" if first.image == one.image else text
            notes.add("skipped", source.short(one.image), text)
    return sorted(by_name.values(), key=lambda one: one.name)


def _groups(examples: Sequence[Example], options: Options) -> np.ndarray:
    """(N,) the group of each image: near-duplicates, frames of a clip and exported copies of a picture."""
    alike = near_duplicate_groups(np.stack([example.fingerprint for example in examples]), options.near_duplicate_bits)
    pattern = _pattern(options.clips)
    clips = []
    for example in examples:
        match = pattern.search(example.name) if pattern else None
        clips.append(f"clip {match[1]}" if match else origin(example.name))
    return same_groups(alike, np.unique(clips, return_inverse=True)[1])


def _choose_sides(examples: Sequence[Example], groups: np.ndarray, names: Sequence[str], options: Options) -> list[str]:
    """The side of each example: the set's own, if it has one, or ours."""
    own = [example.split for example in examples if example.split is not None]
    if own:
        return own
    shares: dict[str, float] = dict(zip(SIDES, (*(options.split or _SHARES), 0.0), strict=False))
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
