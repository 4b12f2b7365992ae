"""Disks that are full and folders that take no files: one line that names the folder, what is free and what is kept."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL_BYTES = 1 << 20  # a disk with less is taken for full
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota on this disk is used up",
    errno.EFBIG: "a file may not grow as large here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}


class CannotWriteError(ValueError):
    """Results cannot be written; the message is what the user is told."""


def require_writable(folder: str | Path, flag: str) -> None:
    """Find out whether results can be written, before anything is loaded: a folder is made there and removed.

    Args:
        folder: Need not exist yet.
        flag: That the folder was given with.

    Raises:
        CannotWriteError: If it takes no files or its disk is full.
    """
    there = _nearest(Path(folder))
    try:
        Path(tempfile.mkdtemp(dir=there, prefix=".writable-")).rmdir()
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise CannotWriteError(f"{flag} {folder}: {there} takes no files: {reason}; give another {flag}") from error
    if shutil.disk_usage(there).free < FULL_BYTES:
        raise CannotWriteError(
            f"{flag} {folder}: {_REASONS[errno.ENOSPC]}, {free_space(there)}; nothing was begun. Make room, or give "
            f"another {flag}"
        )


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse to begin what is sure not to fit.

    Raises:
        CannotWriteError: If less is free.
    """
    if shutil.disk_usage(_nearest(folder)).free < needed_bytes:
        raise CannotWriteError(
            f"{folder}: {what} takes {needed_bytes / 1e6:.0f} MB, and {free_space(folder)}; make room first"
        )


@contextmanager
def results_in(folder: Path, kept: str | Callable[[], str] = "what was written before is kept") -> Iterator[None]:
    """Whatever keeps the block from writing below a folder becomes one line; other errors stay what they are.

    Args:
        folder: Of the results.
        kept: What is not lost, and how to go on; asked for when it is needed.

    Raises:
        CannotWriteError: If the disk is full, or the folder takes no files.
        KeyboardInterrupt: If the error came of one.
    """
    try:
        yield
    except CannotWriteError:
        raise
    except Exception as error:
        raise_interrupt(error)
        reason = why_not_written(error, folder)
        if reason is None:
            raise
        raise CannotWriteError(f"{folder}: {reason}; {kept if isinstance(kept, str) else kept()}") from error


def raise_interrupt(error: BaseException) -> None:
    """Raise the Ctrl-C, or the request to end, that an error came of: writers in C make errors of their own of it.

    Raises:
        KeyboardInterrupt: If there was one.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, KeyboardInterrupt):
            raise behind
        behind = behind.__cause__ or behind.__context__


def why_not_written(error: BaseException, folder: Path) -> str | None:
    """The reason, where it is the disk or the folder; None where an error is about something else.

    NumPy, torch and SQLite do not say that the disk is full, so a disk without space is taken for the reason of their
    errors too.
    """
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, OSError) and root.errno in _REASONS:
        named = f"{root.filename}: " if root.filename and root.filename != str(folder) else ""
        return f"{named}{_REASONS[root.errno]}, {free_space(folder)}"
    if not isinstance(root, (OSError, RuntimeError, sqlite3.Error)):
        return None
    full = shutil.disk_usage(_nearest(folder)).free < FULL_BYTES
    return f"{_REASONS[errno.ENOSPC]}, {free_space(folder)}" if full else None


def check_space(folder: Path) -> None:
    """For writers that are not told when the disk is full, as OpenCV's of videos.

    Raises:
        OSError: If it is.
    """
    if shutil.disk_usage(folder).free < FULL_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def free_space(folder: Path) -> str:
    """How much is free, in words."""
    return f"{shutil.disk_usage(_nearest(folder)).free / 1e6:.1f} MB free"


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if os.path.exists(place))
