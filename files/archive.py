"""Archives whose claims are checked before anything in them is read: our zip files, and those that strangers send."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from files.disk import require_space, why_not_written

GROWTH = 4  # times the file's size that its members may have together; weights and figures hardly compress
SPARE_BYTES = 16 << 20
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_UNPACKED_GROWTH = 50  # label files compress better than weights; a bomb grows a thousandfold
_UNPACKED_SPARE_BYTES = 256 << 20


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


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive of a stranger into a folder; files that are there whole are not written again.

    Args:
        path: Of one of the kinds in `ARCHIVES`.
        folder: Made where it is missing; nothing is written outside of it.

    Raises:
        ValueError: If it is no such archive or damaged, a member lies outside of it, is a link or no plain file, or
            all of them are larger than such a file can hold; names the member.
    """
    most = _UNPACKED_GROWTH * path.stat().st_size + _UNPACKED_SPARE_BYTES
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                total = sum(member.file_size for member in archive.infolist())
                _paid(most, total, path.name)
                require_space(folder, total, "what is unpacked")
                _unpack_zip(archive, folder, most)
        else:
            with tarfile.open(path) as archive:
                _unpack_tar(archive, folder, most)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]  # tarfile lists what it tried; a password is a RuntimeError
        raise ValueError(f"{path}: cannot be read as an archive: {reason}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be unpacked: {why_not_written(error, folder) or error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _unpack_zip(archive: zipfile.ZipFile, folder: Path, most: int) -> None:
    for member in archive.infolist():
        most = _paid(most, member.file_size, member.filename)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(f"its member {member.filename!r} is a link; unpack it yourself if you trust it")
        target = _place(folder, member.filename)
        if not member.is_dir() and _missing(target, member.file_size):
            with archive.open(member) as stream:
                _write(stream, target)


def _unpack_tar(archive: tarfile.TarFile, folder: Path, most: int) -> None:
    for member in archive:
        most = _paid(most, member.size, member.name)
        if not (member.isfile() or member.isdir()):
            raise ValueError(f"its member {member.name!r} is a link or a device; unpack it yourself if you trust it")
        target = _place(folder, member.name)
        if member.isfile() and _missing(target, member.size):
            stream = archive.extractfile(member)
            assert stream is not None
            _write(stream, target)


def _paid(most: int, size: int, name: str) -> int:
    if size > most:
        raise ValueError(f"its members claim more than such a file can hold, the last of them {name!r}")
    return most - size


def _place(folder: Path, name: str) -> Path:
    said = PurePosixPath(name.replace("\\", "/"))
    if said.is_absolute() or ".." in said.parts or "\0" in name or name[1:2] == ":":
        raise ValueError(f"its member {name!r} lies outside of it; nothing was written there")
    return folder / said


def _missing(target: Path, size: int) -> bool:
    return not (target.is_file() and target.stat().st_size == size)


def _write(stream: IO[bytes], target: Path) -> None:
    """Write a file whole: a stop leaves none of its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:200]}.part")
    with part.open("wb") as file:
        shutil.copyfileobj(stream, file)
    part.replace(target)
