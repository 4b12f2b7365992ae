"""The scan of a split: every image's size and labels, checked, reported by name and cached without pickle.

Rules: an image that cannot be opened, or whose label file is no text, is left out; a broken row is dropped and its
image kept; a repeated row is dropped. An image without labels is a background, which is fine but named. The cache is
an .npz beside the labels folder (in the user's cache folder where that is read-only); an entry holds for one image and
is used again only while size and modification time of both its files are unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.dataset.label_cache import Entry, FileKey, is_writable, read_cache, short_hash, user_cache_folder, write_cache
from data.dataset.label_file import beyond_names, read_rows
from data.dataset.label_place import find_labels, label_path
from data.images import ImageReadError, open_image, read_image
from files.cores import usable_cores
from files.text import printable

MIN_SIDE_PX = 10
_SHOWN = 20  # problems printed; the report holds all
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_CHECKED = ("JPEG", "MPO", "PNG", "WEBP")  # formats whose truncation shows without decoding


@dataclass(frozen=True)
class ScanReport:
    """Everything the scan has to say; each line begins with a file name.

    `corrupt` images are left out; of `bad_rows` and `duplicates` only the row is left out; `missing` and `empty` name
    images without a label file and with a label file without rows, which are kept as backgrounds.
    """

    split: str
    images: int  # images found, corrupt ones included
    boxes: int
    corrupt: tuple[str, ...]
    bad_rows: tuple[str, ...]
    duplicates: tuple[str, ...]
    missing: tuple[str, ...]
    empty: tuple[str, ...]

    def summary(self) -> str:
        """Return one line of counts."""
        labelled = self.images - len(self.missing) - len(self.empty) - len(self.corrupt)
        backgrounds = len(self.missing) + len(self.empty)
        parts = [f"{labelled} images", f"{backgrounds} backgrounds", f"{len(self.corrupt)} corrupt"]
        parts += [f"{len(self.bad_rows)} bad rows"] if self.bad_rows else []
        parts += [f"{len(self.duplicates)} duplicate boxes"] if self.duplicates else []
        return f"{self.split}: {', '.join(parts)}, {self.boxes} boxes"

    def lines(self, limit: int | None = None) -> list[str]:
        """Return the problems, at most `limit` of each kind and then how many more there are.

        Broken things take a line each, backgrounds one line for all.
        """
        lines: list[str] = []
        for kind, items in (
            ("corrupt, left out", self.corrupt),
            ("bad row, dropped", self.bad_rows),
            ("duplicate box, dropped", self.duplicates),
        ):
            lines += [f"{self.split}: {kind}: {item}" for item in items[:limit]]
            if limit is not None and len(items) > limit:
                lines.append(f"{self.split}: {kind}: and {len(items) - limit} more")
        for kind, items in (("without a label file", self.missing), ("with an empty label file", self.empty)):
            names = [os.path.basename(item) for item in items[:limit]]
            more = f" and {len(items) - len(names)} more" if len(items) > len(names) else ""
            lines += [f"{self.split}: {len(items)} backgrounds {kind}: {', '.join(names)}{more}"] if items else []
        return lines


@dataclass(frozen=True)
class LabelScan:
    """The usable images of a split, in the order given, with their labels."""

    paths: list[str]
    labels: list[np.ndarray]  # (n, 5) float32 each: class, cx, cy, w, h normalised
    polygons: list[list[np.ndarray | None]]  # normalised outline per label
    shapes_wh: np.ndarray  # (images, 2) int64, EXIF rotation applied
    report: ScanReport


def scan_labels(
    images: Sequence[str],
    class_count: int,
    *,
    split: str = "images",
    cache: Path | None = None,
    progress: bool = True,
) -> LabelScan:
    """Check images and read their labels.

    Args:
        images: Image files, from `data.dataset.dataset_yaml.list_images`.
        class_count: Number of classes the label files may use.
        split: What to call the images in messages.
        cache: .npz to read and to write; None for no cache. A damaged one is rebuilt.
        progress: Show a progress bar, and print the summary and the first problems.

    Raises:
        ValueError: If no image can be used, there are label rows and all of them are broken, or the classes are
            counted from 1.
    """
    labels = find_labels(images)
    if labels.unusual and progress:
        print(printable(f"{split}: labels are read {labels.unusual}, as {labels.paths[0]}"), flush=True)
    entries = scan_entries(images, labels.paths, class_count, split=split, cache=cache, progress=progress)
    report = _report(split, images, labels.paths, entries)
    _check_first_id(report, entries, class_count)
    if progress:
        print("\n".join([report.summary(), *map(printable, report.lines(_SHOWN))]), flush=True)
    _check(report, entries)
    usable = [index for index, entry in enumerate(entries) if entry.state != "corrupt"]
    return LabelScan(
        paths=[images[index] for index in usable],
        labels=[entries[index].labels for index in usable],
        polygons=[entries[index].polygons for index in usable],
        shapes_wh=np.array([entries[index].shape_wh for index in usable], np.int64).reshape(-1, 2),
        report=report,
    )


def scan_entries(
    images: Sequence[str],
    labels: Sequence[str],
    class_count: int,
    *,
    split: str = "images",
    cache: Path | None = None,
    progress: bool = True,
) -> list[Entry]:
    """What there is of each image, broken ones too; `scan_labels` without its report and its errors.

    Args:
        images: Image files.
        labels: The label file of each, there or not.
        class_count: Number of classes the label files may use.
        split: What to call the images on the progress bar.
        cache: .npz to read and to write; None for no cache.
        progress: Show a progress bar.
    """
    keys = [FileKey.of(image, label) for image, label in zip(images, labels, strict=True)]
    known = read_cache(cache, class_count) if cache else {}
    pairs = list(zip(images, keys, strict=True))
    todo = [index for index, pair in enumerate(pairs) if pair not in known]
    fresh: dict[int, Entry] = {}
    if todo:
        scan = partial(scan_image, class_count=class_count)
        with ThreadPoolExecutor(min(8, usable_cores())) as pool:
            found = pool.map(scan, [images[index] for index in todo], [labels[index] for index in todo])
            bar = tqdm(found, f"{split}: scanning", len(todo), leave=False, disable=None if progress else True)
            fresh.update(zip(todo, bar, strict=True))
    entries = [fresh[index] if index in fresh else known[pair] for index, pair in enumerate(pairs)]
    if cache and (todo or len(known) != len(images)):
        write_cache(cache, class_count, images, keys, entries)
    return entries


def scan_image(image: str, label: str, class_count: int) -> Entry:
    """Check one image and read its labels; never raises for what is wrong with them."""
    try:
        shape_wh = image_size(image)
        if not os.path.isfile(label):
            return Entry(shape_wh, np.zeros((0, 5), np.float32), [], "missing", [], [])
        rows = read_rows(Path(label), class_count)
    except ValueError as error:
        return Entry((0, 0), np.zeros((0, 5), np.float32), [], "corrupt", [str(error)], [])
    state = "labelled" if len(rows.labels) or rows.problems else "empty"
    return Entry(shape_wh, rows.labels, rows.polygons, state, rows.problems, rows.duplicates)


def image_size(path: str) -> tuple[int, int]:
    """Return the upright width and height of an image after a check of its file.

    Raises:
        ImageReadError: If it cannot be opened, is truncated or too small.
    """
    try:
        with open(path, "rb") as file, open_image(file) as image:
            width, height = image.size
            kind = image.format
            turned = _is_turned(image)
            image.verify()
            file.seek(-2, os.SEEK_END)
            whole = kind not in ("JPEG", "MPO") or file.read(2) == b"\xff\xd9"
    except Image.UnidentifiedImageError:
        return _size_by_decoding(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageReadError(f"cannot be read as an image: {error}") from error
    if not whole or turned or kind not in _CHECKED:
        return _size_by_decoding(path)
    return _big_enough(width, height)


def cache_file(entries: Sequence[Path], images: Sequence[str]) -> Path:
    """Return where the cache of a split belongs: beside the labels folder, or in the user's cache folder.

    Args:
        entries: Folders and .txt files of the split.
        images: Its image files, at least one.
    """
    single = len(entries) == 1
    if single and entries[0].is_file():
        place = entries[0].with_suffix(".labels.npz")
    else:
        folder = Path(label_path(images[0])).parent
        mark = "" if single and folder.name == entries[0].name else "." + short_hash("\n".join(map(str, entries)))
        place = folder.with_name(f"{folder.name}{mark}.labels.npz")
    if is_writable(place.parent):
        return place
    return user_cache_folder() / "labels" / f"{short_hash(str(place))}.npz"


def _is_turned(image: Image.Image) -> bool:
    """Tell whether EXIF may exchange width and height; cheap, so it only looks where its presence costs nothing."""
    if image.format == "PNG":
        return "exif" in image.info  # asking for the value would decode the image
    return image.getexif().get(0x0112) in _SWAPPED


def _size_by_decoding(path: str) -> tuple[int, int]:
    try:
        height, width = read_image(path).shape[:2]
    except ImageReadError as error:
        raise ImageReadError(str(error).removeprefix(f"{path}: ")) from error
    return _big_enough(width, height)


def _big_enough(width: int, height: int) -> tuple[int, int]:
    if min(width, height) < MIN_SIDE_PX:
        raise ImageReadError(f"image of {width} x {height} px; expected at least {MIN_SIDE_PX} px each way")
    return width, height


def _report(split: str, images: Sequence[str], label_files: Sequence[str], entries: Sequence[Entry]) -> ScanReport:
    pairs = list(zip(images, entries, strict=True))
    labels = list(zip(label_files, entries, strict=True))
    return ScanReport(
        split=split,
        images=len(images),
        boxes=sum(len(entry.labels) for entry in entries),
        corrupt=tuple(f"{image}: {entry.problems[0]}" for image, entry in pairs if entry.state == "corrupt"),
        bad_rows=tuple(f"{label}: {line}" for label, e in labels if e.state != "corrupt" for line in e.problems),
        duplicates=tuple(f"{label}: {line}" for label, entry in labels for line in entry.duplicates),
        missing=tuple(image for image, entry in pairs if entry.state == "missing"),
        empty=tuple(image for image, entry in pairs if entry.state == "empty"),
    )


def _check_first_id(report: ScanReport, entries: Sequence[Entry], class_count: int) -> None:
    ending = beyond_names(class_count, class_count)
    first = next((row for row in report.bad_rows if row.endswith(ending)), None)
    if first is None or any((entry.labels[:, 0] == 0).any() for entry in entries):
        return
    before, separator, _ = first.rpartition(f"{os.sep}labels{os.sep}")
    folder = before if separator else os.path.dirname(first)
    raise ValueError(
        f"{report.split}: class ids start at 1, the data set counts from 0: no label has class 0, and {first}; to "
        f"write it with ids from 0: python -m data.convert yolo {quote(folder)} --ids-from 1 "
        f"--out {quote(folder + '_from_0')}"
    )


def _check(report: ScanReport, entries: Sequence[Entry]) -> None:
    if all(entry.state == "corrupt" for entry in entries):
        raise ValueError(f"{report.split}: none of {report.images} images can be used; first: {report.corrupt[0]}")
    if report.bad_rows and not report.boxes:
        raise ValueError(
            f"{report.split}: all {len(report.bad_rows)} label rows are broken; first: {report.bad_rows[0]}"
        )
