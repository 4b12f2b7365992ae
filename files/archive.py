"""Zip archives whose claims are checked before anything in them is read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROWTH = 4  # times the file's size that its members may have together; weights and figures hardly compress
SPARE_BYTES = 16 << 20


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive for reading; `read` of a member checks its CRC.

    Raises:
        ValueError: If its members claim more than such a file can hold.
        zipfile.BadZipFile: If it is none.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > GROWTH * size + SPARE_BYTES:
            raise ValueError(f"its members claim {claimed:,} bytes, but the file has {size:,}")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member.filename!r} is compressed in a way that is not read")
        yield archive
