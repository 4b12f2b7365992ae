"""Find a weights file; fetch a stock one from the original's public release when it is asked for by name."""

from __future__ import annotations

import difflib
import http.client
import os
import shutil
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from files.paths import is_file, is_folder

FOLDER = Path(__file__).resolve().parents[2] / "weights"
RELEASE = "https://github.com/ultralytics/yolov5/releases/download/v7.0/"
STOCK = tuple(f"yolov5{size}{kind}.pt" for kind in ("", "6") for size in "nsmlx")


def find_weights(path: str | Path) -> Path:
    """The weights file for a path or a bare name.

    Looks at the path as given, then in `weights/`; a stock name that is in neither is fetched into `weights/`.

    Raises:
        ValueError: If there is none and it cannot be fetched.
    """
    given = Path(path)
    bare = given.parent in (Path(), Path(FOLDER.name), FOLDER)
    for candidate in (given, FOLDER / given.name if bare else given):
        if is_file(candidate):
            return candidate
    if bare and given.name in STOCK:
        return fetch(RELEASE + given.name, FOLDER / given.name)
    if str(path) and is_folder(given):
        raise ValueError(f"{path}: expected a weights file but this is a folder; try {given / 'weights' / 'best.pt'}")
    near = difflib.get_close_matches(given.name[:100], [*STOCK, *(p.name for p in FOLDER.glob("*.pt"))], n=2)
    hint = f"; nearest known: {', '.join(near)}" if near else ""
    raise ValueError(f"weights file {str(path)[:200]!r} was not found here or in weights/{hint}")


def fetch(address: str, target: Path) -> Path:
    """Download a file with a progress bar, after saying so; the target appears only when it is complete.

    Raises:
        ValueError: If the address cannot be reached or the transfer breaks off.
    """
    from tqdm import tqdm

    print(f"{target.name} is not on disk: fetching {address} into {target.parent.name}/")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(address, timeout=30) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(answer, "read", total=total or None, desc=target.name) as source:
                shutil.copyfileobj(source, file, 1 << 20)
            if total and file.tell() != total:
                raise OSError(f"{file.tell()} of {total} bytes arrived")
        if not zipfile.is_zipfile(partial):
            raise OSError("what arrived is no weights file; does this network ask for a sign-in?")
        partial.chmod(0o644)
        partial.replace(target)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise ValueError(
            f"{target.name} could not be fetched: {error}. Get {address} in another way and put it into "
            f"{target.parent.name}/"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target
