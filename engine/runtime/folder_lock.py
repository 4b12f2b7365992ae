"""One process at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[int | None]:
    """Keep other processes out of a folder while this one, or a child that inherits the lock and outlives it, works.

    Args:
        folder: Made if missing.
        wait: For another process to leave, instead of raising.

    Yields:
        The file descriptor that children inherit; None where the system has no such locks.

    Raises:
        ValueError: If another process works in the folder, or it cannot be written.
    """
    if os.name != "posix":
        yield None
        return
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w", encoding="ascii")
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written: {error}") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ValueError(f"{folder}: another process is at work in this folder") from None
        yield file.fileno()
