"""Requests to end from outside, taken like a Ctrl-C: what is being written is finished or left whole."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

GRACE_S = 10  # between requests to end; as long as docker stop waits


class Terminated(KeyboardInterrupt):
    """A request to end, handled like Ctrl-C.

    Attributes:
        code: Exit code, as a shell gives it to a process that the signal has ended.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def signals_as_ctrl_c() -> Generator[None, None, None]:
    """Raise `Terminated` on SIGTERM (docker stop, systemd, a scheduler) and SIGHUP (the terminal is gone).

    Another one soon after is not heard: it would cut short what finishes the files. What the user has set stays, such
    as nohup's deafness to SIGHUP. Signals are a matter of the main thread.
    """
    heard_s = -math.inf

    def terminate(number: int, frame: object) -> None:
        nonlocal heard_s
        if time.monotonic() - heard_s > GRACE_S:
            heard_s = time.monotonic()
            raise Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
