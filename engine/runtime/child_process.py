"""Runs of train.py, and of what measures them, in processes of their own: a crash ends one run and not the study."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from files.find import ROOT


def run_process(
    command: Sequence[str],
    log: Path,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
    keep_open: Sequence[int] = (),
    *,
    one_thread: bool = True,
) -> int:
    """Run a command in the repository and wait for its exit status.

    It has a session of its own, so that Ctrl-C reaches only its caller; where that ends the waiting, the process is
    asked to save and leave.

    Args:
        command: The words.
        log: Its output is appended here.
        started: Told about the process.
        keep_open: File descriptors that the process inherits.
        one_thread: Give it one thread unless OMP_NUM_THREADS says otherwise, however many processes there are at a
            time: sums depend on how they are shared out.
    """
    process = start_process(command, log, keep_open, one_thread=one_thread)
    if started is not None:
        started(process)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # Ctrl-C is not heard by what was started in the background
            process.wait()


def start_process(
    command: Sequence[str], log: Path, keep_open: Sequence[int] = (), *, one_thread: bool = True
) -> subprocess.Popen[bytes]:
    """Start a command as `run_process` does, and wait for nothing: it outlives its caller."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**({"OMP_NUM_THREADS": "1"} if one_thread else {}), **os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )


def log_lines(log: Path) -> list[str]:
    """What a process has said, without blank lines; nothing where there is no file."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line for line in text.splitlines() if line.strip()]


def last_words(log: Path) -> str:
    """The last line of a log, for an error."""
    return (log_lines(log) or ["it said nothing"])[-1]
