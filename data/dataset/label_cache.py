"""The file in which a label scan is kept: arrays and JSON text in an .npz that is read with `allow_pickle=False`."""

from __future__ import annotations

import hashlib
import json
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from files.archive import open_archive
from files.atomic import atomic_file
from files.text import printable

DAMAGED_ARRAYS = (
    OSError, EOFError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, MemoryError, SyntaxError,
    AttributeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What numpy raises for files that are truncated, of another format, or nonsense."""
_STATES = ("labelled", "missing", "empty", "corrupt")
VERSION = 1  # raise it when the scan finds something else in the same files


@dataclass
class Entry:
    """What the scan found about one image."""

    shape_wh: tuple[int, int]
    labels: np.ndarray  # (n, 5) float32
    polygons: list[np.ndarray | None]
    state: str  # "labelled", "missing", "empty" or "corrupt"
    problems: list[str]
    duplicates: list[str]


class FileKey(NamedTuple):
    """Size and modification time of an image and of its label file, -1 where there is none."""

    image_bytes: int
    image_mtime_ns: int
    label_bytes: int
    label_mtime_ns: int

    @classmethod
    def of(cls, image: str, label: str) -> FileKey:
        """Look at the two files."""
        return cls(*_stamp(image), *_stamp(label))


def read_cache(path: Path, class_count: int) -> dict[tuple[str, FileKey], Entry]:
    """Read the entries of an earlier scan.

    Args:
        path: Cache file.
        class_count: Entries of a scan with another number of classes do not count.

    Returns:
        Entries by image and file key; none when the file is missing, damaged or of another version.
    """
    try:
        with warnings.catch_warnings(), open_archive(path), np.load(path, allow_pickle=False) as arrays:
            warnings.simplefilter("ignore")  # about headers that only a damaged file has
            if [int(value) for value in arrays["version"]] != [VERSION, class_count]:
                return {}
            return _unpack({name: arrays[name] for name in arrays.files})
    except DAMAGED_ARRAYS:
        return {}


def write_cache(
    path: Path, class_count: int, images: Sequence[str], keys: Sequence[FileKey], entries: Sequence[Entry]
) -> None:
    """Write the entries of a scan, all or nothing; a folder that takes no file is left as it is.

    Args:
        path: Cache file.
        class_count: Number of classes the scan was made with.
        images: Image files.
        keys: What the files looked like before they were scanned.
        entries: What was found.
    """
    outlines = [outline for entry in entries for outline in entry.polygons if outline is not None]
    sizes = [-1 if outline is None else len(outline) for entry in entries for outline in entry.polygons]
    notes = [[entry.state, entry.problems, entry.duplicates] for entry in entries]
    arrays: dict[str, Any] = {
        "version": np.array([VERSION, class_count]),
        "images": np.frombuffer(json.dumps(list(images)).encode(), np.uint8),
        "keys": np.array(keys, np.int64).reshape(-1, 4),
        "shapes_wh": np.array([entry.shape_wh for entry in entries], np.int64).reshape(-1, 2),
        "counts": np.array([len(entry.labels) for entry in entries], np.int64),
        "labels": np.concatenate([np.zeros((0, 5), np.float32), *(entry.labels for entry in entries)]),
        "outline_sizes": np.array(sizes, np.int64),
        "outlines": np.concatenate([np.zeros((0, 2), np.float32), *outlines]),
        "notes": np.frombuffer(json.dumps(notes).encode(), np.uint8),
    }
    try:
        with atomic_file(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        print(printable(f"{path}: the label scan is not cached: {error.strerror or error}"), flush=True)


def is_writable(folder: Path) -> bool:
    """Tell whether a folder takes new files; root may write where the mode says no, and should not."""
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def user_cache_folder() -> Path:
    """Return the folder for caches that cannot lie beside the data."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolov5-attention"


def short_hash(text: str) -> str:
    """Return 12 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _unpack(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, FileKey], Entry]:
    _check_arrays(arrays)
    images = json.loads(arrays["images"].tobytes())
    notes = json.loads(arrays["notes"].tobytes())
    labels = np.split(arrays["labels"], np.cumsum(arrays["counts"])[:-1])
    sizes = arrays["outline_sizes"]
    outlines = iter(np.split(arrays["outlines"], np.cumsum(sizes[sizes >= 0])[:-1]))
    per_label = iter([None if size < 0 else next(outlines) for size in sizes])
    entries: dict[tuple[str, FileKey], Entry] = {}
    for image, key, shape_wh, rows, (state, problems, duplicates) in zip(
        images, arrays["keys"].tolist(), arrays["shapes_wh"].tolist(), labels, notes, strict=True
    ):
        texts = [image, state, *problems, *duplicates]
        if state not in _STATES or not all(isinstance(text, str) for text in texts):
            raise ValueError("notes that no scan makes")
        polygons = [next(per_label) for _ in rows]
        entries[image, FileKey(*key)] = Entry(tuple(shape_wh), rows, polygons, state, problems, duplicates)
    return entries


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where shapes, kinds of numbers or sums are not those that `write_cache` writes."""
    labels, outlines, counts, sizes = (arrays[key] for key in ("labels", "outlines", "counts", "outline_sizes"))
    points = sizes[sizes >= 0]
    sound = (
        all(arrays[key].dtype == np.int64 for key in ("keys", "shapes_wh", "counts", "outline_sizes"))
        and labels.dtype == outlines.dtype == np.float32
        and (labels.shape[1:], outlines.shape[1:], counts.ndim, sizes.ndim) == ((5,), (2,), 1, 1)
        and np.isfinite(labels).all()
        and np.isfinite(outlines).all()
        and (counts >= 0).all()
        and (counts.sum(), points.sum(), len(sizes)) == (len(labels), len(outlines), len(labels))
    )
    if not sound:
        raise ValueError("arrays that no scan makes")


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
