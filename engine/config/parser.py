"""What the command-line scripts share: parsing, bare names, run folders and one-line errors.

Imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from engine.config.flags import MODULE_TEXT
from engine.runtime.console import note
from engine.runtime.core_sharing import share_cores
from engine.runtime.launcher import place
from files.disk import results_in
from files.signals import Terminated, signals_as_ctrl_c
from files.text import printable_lines

_KINDS: Mapping[object, str] = {int: "a whole number", float: "a number"}
_CALLED: ContextVar[bool] = ContextVar("called from Python", default=False)
PATIENCE_S = 30  # how long a process that has failed waits for process 0, which may need some time, to fail of the same


class ArgumentParser(argparse.ArgumentParser):
    """`argparse` with YOLOv5's habits and without its silences.

    Flags that YOLOv5 has and this project does not are declared with `unsupported` where leaving them out would give
    something else than was asked for: they are refused by name with the reason. Those that change no result are
    declared with `ignored`: a line says so, and the run goes on. Prefixes of flags are accepted as in YOLOv5
    (`--img`, `--batch` are declared names, `--epoch` is a prefix), but never a prefix of an unsupported flag.

    Args:
        examples: Command lines, shown below the flags.
        page: Of the documentation, named below them.

    Attributes:
        refused: From each such flag to its reason.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), page: str = "", **kwargs: Any) -> None:  # noqa: ANN401  (argparse defines them)
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(*args, **kwargs)
        self.refused: dict[str, str] = {}
        self.examples, self.page = tuple(examples), page

    def format_help(self) -> str:
        """The flags, then examples and the page that says more."""
        lines = ["", "examples:", *(f"  {example}" for example in self.examples)] if self.examples else []
        lines += ["", f"more: {self.page}"] if self.page else []
        return super().format_help() + "".join(f"{line}\n" for line in lines)

    def unsupported(self, reasons: Mapping[str, str]) -> None:
        """Declare flags of YOLOv5 that are refused by name.

        Args:
            reasons: From flag (`"--evolve"`) to the sentence that says why, and what to do instead.
        """
        self.refused.update(reasons)

    def ignored(self, reasons: Mapping[str, str]) -> None:
        """Declare flags of YOLOv5, with a value or without, that are left aside with a line.

        Args:
            reasons: From flag (`"--verbose"`) to the clause that says why.
        """
        for flag, reason in reasons.items():
            hidden = argparse.SUPPRESS
            self.add_argument(flag, action=_Ignored, nargs="?", dest=hidden, help=hidden, metavar=reason)

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]  (typeshed's overloads by kind of namespace)
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse, refusing unsupported flags by name and suggesting the nearest flag for unknown ones."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            flag = word.split("=", 1)[0]
            if flag in self.refused:
                self.error(f"{flag} is not supported: {self.refused[flag]}")
        parsed, unknown = self.parse_known_args(words, namespace or argparse.Namespace())
        if unknown:
            self.error(self._unknown_message(unknown))
        return parsed

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:  # noqa: ANN401  (of the action's type)
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            kind = _KINDS.get(action.type)
            if kind is None:  # it has said itself what it expects
                raise
            usual = f", e.g. {action.default}" if isinstance(action.default, (int, float)) else ""
            raise argparse.ArgumentError(None, f"{_flag(action)} {arg_string}: expected {kind}{usual}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401  (of the action's type)
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            near = [name for name in choices if name.lower() == str(value).lower()]
            near = near or difflib.get_close_matches(str(value), choices, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise argparse.ArgumentError(None, f"{_flag(action)} {value}: expected one of {', '.join(choices)}{hint}")

    def _unknown_message(self, unknown: Sequence[str]) -> str:
        flag = unknown[0].split("=", 1)[0]
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(flag, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; --help lists the flags"
        return f"unrecognized argument {unknown[0]!r}{hint}"

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with exit code 2; see `errors_raised`."""
        if _CALLED.get():
            raise ValueError(message.removeprefix("argument "))
        complain(self.prog, message.removeprefix("argument "))
        self.exit(2)


@contextmanager
def errors_raised() -> Generator[None, None, None]:
    """Where flags come from Python, a wrong one is a ValueError and does not end the process."""
    token = _CALLED.set(True)
    try:
        yield
    finally:
        _CALLED.reset(token)


def add_module_flag(parser: argparse.ArgumentParser) -> None:
    """Declare `--module` where there are no settings with it."""
    parser.add_argument("--module", nargs="+", default=[], metavar="FILE", help=MODULE_TEXT)


def module_words(files: Sequence[str]) -> list[str]:
    """`--module` on the command line of a process that is started; nothing without files."""
    return ["--module", *files] if files else []


class _Ignored(argparse.Action):
    """Says once that a flag is left aside; `metavar` is the reason."""

    said = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        if not self.said:
            note(f"{option} is ignored: {self.metavar}")
        self.said = True


def _flag(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)


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
    print(printable_lines(f"{program}: error: {message}"), file=sys.stderr)


def run_cli(main: Callable[[], int | None]) -> int:
    """Run a script's `main`; a ValueError, and a result that cannot be written, become one line and exit code 2.

    Ctrl-C gives exit code 130, SIGTERM 143 and SIGHUP 129, all without a traceback.
    """
    share_cores()
    try:
        with signals_as_ctrl_c(), results_in(Path()):
            return main() or 0
    except ValueError as error:
        complain(Path(sys.argv[0]).name, error)
        return 2
    except KeyboardInterrupt as stop:
        if place().rank == 0:
            print("terminated" if isinstance(stop, Terminated) else "interrupted", file=sys.stderr)
        return stop.code if isinstance(stop, Terminated) else 128 + signal.SIGINT
