"""Files and folders that a command line names: found by bare names as in YOLOv5, run folders numbered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.spec.paths import is_file

ROOT = Path(__file__).resolve().parents[2]


def resolve_file(name: str | Path, folders: Iterable[str], kind: str, suffixes: Sequence[str] = (".yaml",)) -> Path:
    """Find a file given as a path or as a bare name, as YOLOv5 users write it.

    Args:
        name: A path, or a bare name such as `yolov5s.yaml` or `hyp.scratch-low`.
        folders: Folders below the repository root to search for a bare name, nearest first.
        kind: What the file is, for the message ("model", "dataset", …).
        suffixes: Endings to look for, and to add to a name that has none of them.

    Raises:
        ValueError: If there is no such file; names the places tried and the nearest names.
    """
    given = Path(name)
    stems = [given]
    if given.name and given.suffix not in suffixes:
        stems += [given.with_name(given.name + suffix) for suffix in suffixes]
    roots = [Path(), *([] if given.is_absolute() else [ROOT, *(ROOT / folder for folder in folders)])]
    for root in roots:
        for stem in stems:
            if is_file(root / stem):
                return root / stem
    present = {path.name for folder in folders for suffix in suffixes for path in (ROOT / folder).glob(f"**/*{suffix}")}
    near = difflib.get_close_matches(given.name[:100], sorted(present), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    places = ", ".join(["the current folder", *(f"{folder}/" for folder in folders)])
    raise ValueError(f"{kind} file {str(name)[:200]!r} was not found; looked in {places}{hint}")


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
