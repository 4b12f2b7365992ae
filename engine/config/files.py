"""Files of `--module`, and run folders, numbered as in YOLOv5."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from files.find import find_file

ROOT = Path(__file__).resolve().parents[2]


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
        exist_ok: Use `project/name` even if it is there.

    Raises:
        ValueError: If the folder cannot be made.
    """
    base = Path(project) / name
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}{number}")
        try:
            folder.mkdir(parents=True, exist_ok=exist_ok)
        except FileExistsError:
            if exist_ok:  # a file of that name
                raise ValueError(f"run folder {str(folder)!r} cannot be made: a file of that name is there") from None
            number += 1  # taken; mkdir itself is the check, so that two runs started together do not share one
            continue
        except OSError as error:
            raise ValueError(f"run folder {str(folder)!r} cannot be made: {error}") from error
        return folder
