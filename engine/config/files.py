"""Files and folders that a command line names: found by bare names as in YOLOv5, run folders numbered."""

from __future__ import annotations

import difflib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from files.paths import is_file

MARK = ".run"  # lies in every run folder: what is beside it may be replaced
_MARKS = (MARK, ".lock")  # those of searches and comparisons have their lock
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
    hint = f"; nearest: {', '.join(near)}" if near else f"; there are: {', '.join(sorted(present))}"
    places = ", ".join(["the current folder", *(f"{folder}/" for folder in folders)])
    raise ValueError(f"{kind} file {str(name)[:200]!r} was not found; looked in {places}{hint}")


def module_files(names: Iterable[str]) -> tuple[str, ...]:
    """The absolute paths of the files of `--module`.

    Raises:
        ValueError: If one is not found.
    """
    return tuple(str(resolve_file(name, (), "module", (".py",)).resolve()) for name in names)


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
