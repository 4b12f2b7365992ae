"""One process at a time in a folder."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLDER_BYTES = 200


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[int | None]:
    """Keep other processes out of a folder while this one, or a child that inherits the lock and outlives it, works.

    Args:
        folder: Made if missing.
        wait: For another process to leave, instead of raising.

    Yields:
        The file descriptor that children inherit; None where the system has no such locks.

    Raises:
        ValueError: If another process works in the folder, which is named, or it cannot be written.
    """
    if os.name != "posix":
        yield None
        return
    import fcntl

    handle = _take(folder, ".lock", fcntl.flock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def trained_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder, beside whoever has started this one and holds its `.lock`.

    Children do not inherit it: workers that outlive a killed run for a moment do not keep the next one out.

    Raises:
        ValueError: If another process trains there, which is named, or the folder cannot be written.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = _take(folder, ".train.lock", fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        os.close(handle)


def _take(folder: Path, name: str, lock: Callable[[int, int], None], how: int) -> int:
    """The locked file, with the name of this process in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / name, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        lock(handle, how)
    except (BlockingIOError, PermissionError):  # which of them is up to the system
        holder = os.pread(handle, _HOLDER_BYTES, 0).decode("ascii", "ignore")
        named = f": {holder}" if holder.isprintable() and holder else ""
        os.close(handle)
        raise ValueError(f"{folder}: another process is at work in this folder{named}") from None
    os.truncate(handle, 0)
    os.pwrite(
        handle, f"process {os.getpid()} on {os.uname().nodename}, since {time.ctime()}".encode("ascii", "ignore"), 0
    )
    return handle
