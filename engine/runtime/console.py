"""Lines for the person at the terminal."""


def say(text: str) -> None:
    """Print a line at once, also into a file or pipe."""
    print(text, flush=True)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = max(round(seconds), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def first_line(error: Exception) -> str:
    """The first line of what an error says, its kind where it says nothing: some packages add many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
