"""The classes that rows may name beside the project's own: those of models/common.py and of files that the user named.

A name is looked up among the `nn.Module` classes of these Python files; no text is evaluated.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from torch import nn

_ROOT = Path(__file__).resolve().parents[2]
# The project's blocks, which have rows of their own in the graph's table, its attention parts, and torch's layers.
_NOT_THE_USERS = ("models.blocks.", "models.attention.parts.", "torch.")

_TABLES: dict[Path, ModuleType] = {}
_READ: dict[Path, int] = {}  # when each file of `load_modules` was written, in ns


def add_table(module: ModuleType) -> None:
    """Make the classes of a Python module nameable, those it gets later too."""
    _TABLES[Path(str(module.__file__)).resolve()] = module


def load_modules(files: str | Path | Iterable[str | Path]) -> None:
    """Run Python files of the user and make their classes nameable; a file that has not changed is run once.

    Args:
        files: One file or several. Whoever names a file runs what is in it.

    Raises:
        ValueError: If there is no such file, or it cannot be run; names the line.
    """
    for file in [files] if isinstance(files, (str, Path)) else files:
        path = Path(file).resolve()
        if path.suffix != ".py" or not path.is_file():
            raise ValueError(f"module file {str(file)!r}: expected a file such as my_attention.py")
        written = path.stat().st_mtime_ns
        if _READ.get(path) != written:
            add_table(_run(path))
            _READ[path] = written


def loaded_files() -> list[str]:
    """The files of `load_modules`, as absolute paths."""
    return [str(path) for path in _READ]


def find_class(name: str) -> type[nn.Module] | None:
    """The class of this name, or None; see `check_name`."""
    return next((cls for cls in find_classes(name) if issubclass(cls, nn.Module)), None)


def check_name(name: str) -> None:
    """Check that a name means one module.

    Raises:
        ValueError: If two files have different classes of this name, or it is a class of another kind.
    """
    found = find_classes(name)
    if len(found) > 1:
        raise ValueError(f"{name} is a class in each of {', '.join(map(shown_file, found.values()))}; rename one")
    for cls, path in found.items():
        if not issubclass(cls, nn.Module):
            raise ValueError(f"{shown_file(path)}: class {name} is no module; write `class {name}(nn.Module):`")


def names() -> set[str]:
    """Every name that `find_class` knows."""
    return {name for module in _TABLES.values() for name in vars(module) if find_class(name) is not None}


def find_classes(name: str) -> dict[type, Path]:
    """All classes of this name, modules or not, and the file of each."""
    found: dict[type, Path] = {}
    for path, module in _TABLES.items():
        cls = vars(module).get(name)
        if isinstance(cls, type) and not f"{cls.__module__}.".startswith(_NOT_THE_USERS):
            found.setdefault(cls, path)
    return found


def class_file(name: str, cls: type) -> Path:
    """The file that makes a class nameable: the table that holds it, else the file that it is written in."""
    for path, module in _TABLES.items():
        if vars(module).get(name) is cls:
            return path
    return Path(str(getattr(sys.modules.get(cls.__module__), "__file__", None) or f"{cls.__module__}.py"))


def shown_file(path: Path) -> str:
    """A file for messages and for checkpoints: below the repository its path there, else its name."""
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name


def _run(path: Path) -> ModuleType:
    name = f"user_module_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes find their own file
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"module file {path.name!r} cannot be run: {reason(error, path)}") from error
    return module


def reason(error: Exception, path: Path) -> str:
    """What an error of the user's code says, and at which line of which file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}" + (f" (line {lines[-1]} of {shown_file(path)})" if lines else "")
