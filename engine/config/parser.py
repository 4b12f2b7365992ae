"""What the command-line scripts share: parsing, bare names, run folders and one-line errors.

Imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from engine.runtime.launcher import place
from models.spec.paths import is_file

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30  # how long a process that has failed waits for process 0, which may need some time, to fail of the same


class ArgumentParser(argparse.ArgumentParser):
    """`argparse` with YOLOv5's habits and without its silences.

    Flags that YOLOv5 has and this project does not are declared with `unsupported`; they are refused by name with
    the reason instead of being taken for a typing error. Prefixes of flags are accepted as in YOLOv5
    (`--img`, `--batch` are declared names, `--epoch` is a prefix), but never a prefix of an unsupported flag.

    Attributes:
        refused: From each such flag to its reason.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (argparse defines them)
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(*args, **kwargs)
        self.refused: dict[str, str] = {}

    def unsupported(self, reasons: Mapping[str, str]) -> None:
        """Declare flags of YOLOv5 that are refused by name.

        Args:
            reasons: From flag (`"--evolve"`) to the sentence that says why, and what to do instead.
        """
        self.refused.update(reasons)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse, refusing unsupported flags by name and suggesting the nearest flag for unknown ones."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            flag = word.split("=", 1)[0]
            if flag in self.refused:
                self.error(f"{flag} is not supported: {self.refused[flag]}")
        parsed, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self.error(self._unknown_message(unknown))
        return parsed

    def _unknown_message(self, unknown: Sequence[str]) -> str:
        flag = unknown[0].split("=", 1)[0]
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(flag, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; --help lists the flags"
        return f"unrecognized argument {unknown[0]!r}{hint}"

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with exit code 2."""
        complain(self.prog, message)
        self.exit(2)


def resolve_file(name: str | Path, folders: Iterable[str], kind: str, suffixes: Sequence[str] = (".yaml",)) -> Path:
    """Find a file given as a path or as a bare name, as YOLOv5 users write it.

    Args:
        name: A path, or a bare name such as `yolov5s.yaml` or `hyp.scratch-low`.
        folders: Folders below the repository root to search for a bare name, nearest first.
        kind: What the file is, for the message ("model", "dataset", …).
        suffixes: Endings to look for, and to add to a name that has none of them.

    Raises:
        ValueError: If there is no such file; names the places tried and the nearest names.
    """
    given = Path(name)
    stems = [given]
    if given.name and given.suffix not in suffixes:
        stems += [given.with_name(given.name + suffix) for suffix in suffixes]
    roots = [Path(), *([] if given.is_absolute() else [ROOT, *(ROOT / folder for folder in folders)])]
    for root in roots:
        for stem in stems:
            if is_file(root / stem):
                return root / stem
    present = {path.name for folder in folders for suffix in suffixes for path in (ROOT / folder).glob(f"**/*{suffix}")}
    near = difflib.get_close_matches(given.name[:100], sorted(present), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    places = ", ".join(["the current folder", *(f"{folder}/" for folder in folders)])
    raise ValueError(f"{kind} file {str(name)[:200]!r} was not found; looked in {places}{hint}")


def new_run_folder(project: str | Path, name: str, *, exist_ok: bool = False) -> Path:
    """Create and return the next free run folder: `exp`, `exp2`, `exp3`, … as YOLOv5 names them.

    Args:
        project: The parent folder, e.g. `runs/train`.
        name: The wanted name.
        exist_ok: Use `project/name` even if it is there.

    Raises:
        ValueError: If the folder cannot be made.
    """
    base = Path(project) / name
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}{number}")
        try:
            folder.mkdir(parents=True, exist_ok=exist_ok)
        except FileExistsError:
            if exist_ok:  # a file of that name
                raise ValueError(f"run folder {str(folder)!r} cannot be made: a file of that name is there") from None
            number += 1  # taken; mkdir itself is the check, so that two runs started together do not share one
            continue
        except OSError as error:
            raise ValueError(f"run folder {str(folder)!r} cannot be made: {error}") from error
        return folder


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a job scheduler sends it; handled like Ctrl-C."""


def complain(program: str, message: object) -> None:
    """Print one line to stderr, once: of several processes the first speaks for all.

    The launcher ends the others when the first has failed; what went wrong in another one alone is said after a while.
    """
    try:
        rank = place().rank
    except ValueError:  # it is what we are told to say
        rank = 0
    if rank:
        time.sleep(PATIENCE_S)
        message = f"process {rank}: {message}"
    print(f"{program}: error: {message}", file=sys.stderr)


def run_cli(main: Callable[[], int | None]) -> int:
    """Run a script's `main`; a ValueError becomes one line on stderr and exit code 2.

    Ctrl-C gives exit code 130 and SIGTERM 143 without a traceback.
    """
    try:
        return main() or 0
    except ValueError as error:
        complain(Path(sys.argv[0]).name, error)
        return 2
    except Terminated:
        if place().rank == 0:
            print("terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        if place().rank == 0:
            print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """A request to terminate, as a cluster's scheduler sends it, is treated as Ctrl-C; only the main thread may ask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
