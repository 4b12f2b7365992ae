"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path, *, sync: bool = False) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, renamed onto it when the block ends without an error.

    Args:
        path: What is there stays as it is until then; the folder is made if missing.
        sync: Flush to the disk before renaming, so that a power cut leaves one of the two whole.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # gone already, unless something failed


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file, text in UTF-8, as `atomic_file` does.

    Raises:
        OSError: If it cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
