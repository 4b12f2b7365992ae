"""Files that users name as they do for YOLOv5: by a path, or bare, with or without the ending."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from files.paths import is_file

ROOT = Path(__file__).resolve().parents[1]
_SHOWN = 200  # characters of a name that may be anything
_OFFERED = 8  # names, where none is near


def find_file(name: str | Path, folders: Sequence[Path], kind: str, forms: Sequence[str] = ("{}.yaml",)) -> Path:
    """Find a file by its path or by a bare name such as `yolov5s`.

    Args:
        name: What the user wrote.
        folders: Of the repository, to search after the current one and the root, nearest first.
        kind: What the file is, for the message ("model", "data set", …).
        forms: What a name may stand for beside itself; the first has the ending that such files have.

    Raises:
        ValueError: If there is no such file; names the places tried and the nearest names.
    """
    given = Path(name)
    names = [given, *(given.with_name(form.format(given.name)) for form in forms)] if given.name else []
    for folder in (Path(), ROOT, *folders):
        for one in names:
            if is_file(folder / one):
                return folder / one
    present = sorted({path.name for folder in folders for path in folder.glob(forms[0].format("*"))})
    near = difflib.get_close_matches(given.name[:_SHOWN], present, n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(near)}" if near else f"; there are: {', '.join(present[:_OFFERED])}" * bool(present)
    places = ", ".join(["the current folder", *(f"{folder.relative_to(ROOT)}/" for folder in folders)])
    raise ValueError(f"{kind} file {str(name)[:_SHOWN]!r} was not found; looked in {places}{hint}")
