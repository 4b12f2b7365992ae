"""Questions about paths that users typed, which may be no paths at all. Imports nothing heavy."""

from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether it is a file; a name too long, or with a null character, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether it is a folder, as `is_file` for files."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether something is there, as `is_file` for files."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
