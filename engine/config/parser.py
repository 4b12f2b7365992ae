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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from engine.config.flags import MODULE_TEXT
from engine.runtime.launcher import place

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


def add_module_flag(group: argparse._ActionsContainer) -> None:
    """Declare `--module` where there are no settings with it."""
    group.add_argument("--module", nargs="+", default=[], metavar="FILE", help=MODULE_TEXT)


def module_words(files: Sequence[str]) -> list[str]:
    """`--module` on the command line of a process that is started; nothing without files."""
    return ["--module", *files] if files else []


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
