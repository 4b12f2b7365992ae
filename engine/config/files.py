"""Files of `--module`, and run folders, numbered as in YOLOv5."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from files.find import find_file

MARK = ".run"  # lies in every run folder: what is beside it may be replaced
_MARKS = (MARK, ".lock")  # those of searches and comparisons have their lock


def module_files(names: Iterable[str]) -> tuple[str, ...]:
    """The absolute paths of the files of `--module`.

    Raises:
        ValueError: If one is not found.
    """
    return tuple(str(find_file(name, (), "module", ("{}.py",)).resolve()) for name in names)


def new_run_folder(project: str | Path, name: str, *, exist_ok: bool = False) -> Path:
    """Create and return the next free run folder: `exp`, `exp2`, `exp3`, … as YOLOv5 names them.

    Args:
        project: The parent folder, e.g. `runs/train`.
        name: The wanted name.
        exist_ok: Use `project/name` even if it is there, unless it holds what this program did not write.

    Raises:
        ValueError: If the folder cannot be made.
    """
    for folder in numbered(Path(project) / name):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # mkdir itself is the check, so that two runs started together do not share one
            if not exist_ok:
                continue
            if not folder.is_dir():
                raise ValueError(f"run folder {str(folder)!r} cannot be made: a file of that name is there") from None
            if is_strange(folder):
                print(f"{folder} holds files that this program did not write; they stay as they are", file=sys.stderr)
                continue
        except OSError as error:
            raise ValueError(f"run folder {str(folder)!r} cannot be made: {error.strerror}") from error
        (folder / MARK).touch()
        return folder
    raise AssertionError("there is always another number")


def numbered(base: Path) -> Iterator[Path]:
    """`exp`, `exp2`, `exp3` and so on."""
    return (base if number == 1 else base.with_name(f"{base.name}{number}") for number in itertools.count(1))


def is_strange(folder: Path) -> bool:
    """Whether something lies in a folder, and nothing says that this program wrote it."""
    marked = any((folder / mark).exists() for mark in _MARKS)
    return not marked and any(not entry.name.startswith(".") for entry in folder.iterdir())
