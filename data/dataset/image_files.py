"""The image files that one entry of a split names: a folder, a pattern, a .txt list or a single image."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from files.paths import exists, is_file, is_folder


def is_there(entry: Path) -> bool:
    """Whether an entry names something: what exists, or a pattern that something matches."""
    return exists(entry) or _matches_any(entry)


def image_files(entry: Path, root: Path | None) -> list[str]:
    """List the files of an entry, of whatever suffix; rows of a list are given whether the file exists or not.

    Args:
        entry: A folder, searched to any depth; a pattern (`images/2024-*/*.jpg`, `**` for any depth) of files and
            folders; a .txt file with one path a row; or an image.
        root: Folder of the data set, where rows of a list are looked for last.

    Raises:
        ValueError: If nothing is there, or a .txt file is not UTF-8.
    """
    if is_folder(entry):
        return _walk(entry)
    if is_file(entry):
        return _rows(entry, root) if entry.suffix.lower() == ".txt" else [str(entry)]
    if not glob.has_magic(str(entry)):
        raise ValueError(f"{entry}: no such folder or file")
    found = sorted(glob.glob(str(entry), recursive=True))
    if not found:
        raise ValueError(f"{entry}: the pattern matches no folder and no file")
    return [file for name in found for file in (_walk(Path(name)) if os.path.isdir(name) else [name])]


def _matches_any(entry: Path) -> bool:
    return glob.has_magic(str(entry)) and next(glob.iglob(str(entry), recursive=True), None) is not None


def _walk(folder: Path) -> list[str]:
    """List the files below a folder, through links, without hidden ones and without running in circles."""
    files: list[str] = []
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        inner: list[str] = []
        for name in folders:
            real = os.path.realpath(os.path.join(parent, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                inner.append(name)
        folders[:] = inner
        files += [os.path.join(parent, name) for name in names if not name.startswith(".")]
    return files


def _rows(file: Path, root: Path | None) -> list[str]:
    """Read the paths of a .txt list; a row that exists nowhere is kept relative to the list."""
    try:
        rows = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: Expected a UTF-8 list of image paths: {error}") from error
    bases = [file.parent, Path.cwd(), *([root] if root else [])]
    paths: list[str] = []
    for row in filter(None, (row.strip() for row in rows)):
        tried = [os.path.normpath(base / row) for base in bases]
        if "\\" in row and os.sep == "/":  # written on Windows
            tried += [os.path.normpath(base / row.replace("\\", "/")) for base in bases]
        paths.append(next((path for path in tried if os.path.exists(path)), tried[0]))
    return paths
