"""Scripts that go on when whoever started them has ended, are found again by their folder, and can be asked to stop.

Beside its results a folder keeps `.started.json`, the words of the script's command line and its process, and
`log.txt`, what it said.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from engine.runtime.child_process import log_lines, start_process
from files.atomic import write_atomically

_NOTE = ".started.json"
_LOG = "log.txt"
_SAME_S = 0.1  # between what a process is said to have begun at, and did
_starting = threading.Lock()


@dataclass(frozen=True)
class Started:
    """What was started in a folder.

    Attributes:
        words: Of the command line, the script first.
        process: Its number.
        began_s: When the process began, seconds since 1970; its number alone may be another's by now.
    """

    words: tuple[str, ...]
    process: int
    began_s: float


def start(words: Sequence[str], folder: Path) -> None:
    """Start a script of the repository for a folder, in a session of its own.

    Args:
        words: E.g. `["train.py", "--resume", …]`; no shell reads them.
        folder: Made if missing.

    Raises:
        ValueError: If what was started there before is still running.
    """
    with _starting:
        if is_running(folder):
            raise ValueError(f"{folder}: what was started there is still running; stop it first")
        process = start_process([sys.executable, *words], folder / _LOG)
        began_s = psutil.Process(process.pid).create_time()  # not reaped before somebody waits for it
        note = Started(tuple(words), process.pid, began_s)
        write_atomically(folder / _NOTE, json.dumps(asdict(note)))
        threading.Thread(target=process.wait, daemon=True).start()  # else it would stay a zombie when it has ended


def started(folder: Path) -> Started | None:
    """What was started there last; None if nothing, or the note is damaged."""
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        return Started(tuple(map(str, note["words"])), int(note["process"]), float(note["began_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_running(folder: Path) -> bool:
    """Whether what was started there has not ended."""
    return _process(folder) is not None


def stop(folder: Path) -> None:
    """Ask it to save and leave, as Ctrl-C does; with SIGTERM, which is heard in the background too.

    Raises:
        ValueError: If nothing runs there.
    """
    process = _process(folder)
    if process is None:
        raise ValueError(f"{folder}: nothing that was started there is running")
    process.send_signal(signal.SIGTERM)


def log_tail(folder: Path, lines: int) -> str:
    """The last lines of what it said."""
    return "\n".join(log_lines(folder / _LOG)[-lines:])


def _process(folder: Path) -> psutil.Process | None:
    note = started(folder)
    if note is None:
        return None
    try:
        process = psutil.Process(note.process)
        same = abs(process.create_time() - note.began_s) < _SAME_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
