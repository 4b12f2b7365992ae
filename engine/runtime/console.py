"""Lines for the person at the terminal."""

import sys

from engine.runtime.launcher import place
from files.text import printable_lines


def say(text: str) -> None:
    """Print a line at once, also into a file or pipe."""
    print(printable_lines(text), flush=True)


def note(text: str) -> None:
    """Say on stderr what differs from what was asked for; of several processes the first speaks for all."""
    if place().rank == 0:
        print(printable_lines(f"note: {text}"), file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = max(round(seconds), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def first_line(error: Exception) -> str:
    """The first line of what an error says, its kind where it says nothing: some packages add many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
