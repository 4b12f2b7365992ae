"""The files of a published data set: a folder, or an archive unpacked into one; finds images whatever path they go by.

Annotations name images by paths of another machine, or climb out of their folder. Such a path is never opened: it is
looked up among the files that lie below the folder.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import unquote

from data.convert.json_stream import read_json
from data.images import IMAGE_SUFFIXES

READABLE = (*IMAGE_SUFFIXES, ".pgm", ".ppm")  # a set in YOLO layout has no PPM, so those are written as PNG
_HEAD_BYTES = 1 << 16
_ROW_CHARACTERS = 1 << 20
_SIDES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SIDE_WORD = re.compile(r"(?<![a-z])(training|train|validation|valid|val|testing|test)(?:20\d\d)?(?![a-z])", re.I)
_FOLDER_NAMES = {
    *("annotations", "annotation", "annots", "xmls", "xml", "labels"),
    *("images", "image", "imgs", "img", "jpegimages", "obj_train_data"),
}


class Source:
    """What lies below the folder of a data set.

    Attributes:
        folder: The folder.
        class_names: The order in which the set itself lists its classes; readers fill it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.class_names: list[str] = []

    @cached_property
    def files(self) -> list[Path]:
        """All files, sorted, without hidden ones."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(p for p in found if not any(part.startswith(".") for part in self.short(p).parts))

    @cached_property
    def images(self) -> list[Path]:
        """The files that are images by their suffix."""
        return [path for path in self.files if path.suffix.lower() in READABLE]

    @cached_property
    def _by_path(self) -> dict[str, Path]:
        return {normal(self.short(path).as_posix()): path for path in self.files}

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _index(self.images, lambda path: path.name)

    @cached_property
    def by_stem(self) -> dict[str, list[Path]]:
        """The images by their name without the suffix, in composed form."""
        return _index(self.images, lambda path: path.stem)

    def short(self, path: Path) -> Path:
        """A path as messages name it.

        Raises:
            ValueError: If it lies elsewhere.
        """
        if not path.is_relative_to(self.folder):
            raise ValueError(f"{path}: lies outside of {self.folder}; give the folder that holds images and labels")
        return path.relative_to(self.folder)

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """The files of some suffixes, e.g. `.json`."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def heads(self, *suffixes: str) -> Iterator[tuple[Path, str]]:
        """The beginnings of the files of some suffixes, as text, by which formats are told apart."""
        for path in self.with_suffix(*suffixes):
            with path.open("rb") as stream:
                yield path, stream.read(_HEAD_BYTES).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")

    def json_files(self) -> Iterator[tuple[Path, Any]]:
        """The JSON files that begin as a list or an object, whole."""
        for path, head in self.heads(".json"):
            if head[:1] in ("[", "{"):
                yield path, read_json(path)

    def some(self, files: list[Path], what: str) -> list[Path]:
        """The files that a format cannot do without.

        Raises:
            ValueError: If there are none; says what they are.
        """
        if not files:
            raise ValueError(f"{self.folder}: no {what} below this folder")
        return files

    def file(self, said: str, near: Path) -> Path | None:
        """A file that another one names, relative to itself, to the folder, or by an absolute path of its maker's."""
        parts = _parts(said)
        place = self.short(near).parent.as_posix()
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in (tail if place == "." else f"{place}/{tail}", tail):
                if name in self._by_path:
                    return self._by_path[name]
        return None

    def image(self, said: object, near: Path) -> tuple[Path | None, str]:
        """The image that an annotation names.

        Args:
            said: A name, a path or an address; without a suffix, any image of that stem.
            near: The annotation; an image beside it, or on its side, is preferred.

        Returns:
            The image and "", or None and the reason.
        """
        text = unquote(str(said or "").split("?d=")[-1])
        found = self.file(text, near)
        if found is not None and found.suffix.lower() in READABLE:
            return found, ""
        name = PurePosixPath("/".join(_parts(text))).name
        candidates = self._by_name.get(name, [])
        if not candidates and PurePosixPath(name).suffix.lower() not in READABLE:  # frames of a video, Open Images
            candidates = self.by_stem.get(name, [])
        if not candidates:
            return None, f"no image is called {name or 'so: the annotation names none'}"
        place, side = self._place(near), side_of(self.short(near))
        for fits in (lambda path: self._place(path) == place, lambda path: side and side_of(self.short(path)) == side):
            candidates = [path for path in candidates if fits(path)] or candidates
        if len(candidates) > 1:
            return None, f"several images fit {text}: {', '.join(str(self.short(path)) for path in candidates[:4])}"
        return candidates[0], ""

    def listed(self, file: Path) -> list[Path]:
        """The images that a text file names, one a row by its path, its name or its stem; what is not there is left."""
        images = (self.image(line, file)[0] or self.image(line.split()[0], file)[0] for line in lines_of(file))
        return [image for image in images if image is not None]

    def images_in(self, said: str, near: Path) -> list[Path]:
        """The images of a folder or a list that a file names, wherever below the folder that path ends."""
        listed = self.file(said, near) if said.lower().endswith(".txt") else None
        if listed is not None:
            return self.listed(listed)
        parts = _parts(said)
        for base in (near.parent, self.folder):
            for start in range(len(parts) + (not parts)):
                folder = base.joinpath(*parts[start:])
                if folder.is_dir() and (images := [one for one in self.images if one.is_relative_to(folder)]):
                    return images
        return []

    def _place(self, path: Path) -> str:
        return self.name_of(path).rpartition("/")[0]

    def name_of(self, path: Path) -> str:
        """The path below the folder without suffix and without folders that only say images or annotations."""
        parts = self.short(path).with_suffix("").parts
        return "/".join([*(part for part in parts[:-1] if part.lower() not in _FOLDER_NAMES), parts[-1]])


def side_of(path: Path) -> str | None:
    """The side of a split that a file's path says: `train2017/…`, `instances_val.json`, `valid/images/…`."""
    words = [word.lower() for part in reversed(path.parts) for word in _SIDE_WORD.findall(part)]
    return _SIDES["test" if words[0] == "testing" else words[0]] if words else None


def without_sides(name: str) -> str:
    """An image's name without the folders that only say its side."""
    *folders, last = name.split("/")
    return "/".join([*(folder for folder in folders if not _SIDE_WORD.fullmatch(folder)), last])


def label_of(value: object) -> str:
    """A class name as it is written: spaces and line ends within it are one space each."""
    return " ".join(str(value if value is not None else "").split())


def lines_of(file: Path) -> list[str]:
    """The rows of a text file that are not empty.

    Raises:
        ValueError: If it is no text.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8: {error}") from error


def csv_rows(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not empty, with the number of their line, one at a time.

    Raises:
        ValueError: If it is no text, or a row has no end.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(_lines(stream), delimiter=delimiter)
            yield from ((rows.line_num, row) for row in rows if row)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read as a table in UTF-8: {error}") from error


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(_ROW_CHARACTERS):
        if len(line) == _ROW_CHARACTERS:
            raise ValueError(f"a row of more than {_ROW_CHARACTERS:,} characters")
        yield line


def _index(images: list[Path], key: Any) -> dict[str, list[Path]]:  # noqa: ANN401  (a function of a path)
    found: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        found[normal(key(image))].append(image)
    return found


def _parts(said: str) -> list[str]:
    """The parts of a path of any system, without those that climb."""
    return [part for part in normal(said).replace("\\", "/").split("/") if part not in ("", ".", "..")]


def normal(text: str) -> str:
    """File names compare equal whether their accents are composed (Windows, Linux) or not (macOS)."""
    return unicodedata.normalize("NFC", text)
