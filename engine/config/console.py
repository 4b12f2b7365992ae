"""`yolo-attention train …`: the scripts under one command, where the project is installed as a package."""

from __future__ import annotations

import runpy
import sys
from difflib import get_close_matches

from engine.config.parser import complain

# From command to the module that is run; train.py and its like are modules of the top level.
COMMANDS = {
    "train": "train",
    "val": "val",
    "detect": "detect",
    "export": "export",
    "compare": "compare",
    "app": "app",
    "convert": "data.convert",
    "doctor": "analysis.doctor",
    "check": "models.check",
    "demo": "engine.demo",
}
_PROG = "yolo-attention"


def main() -> int:
    """Run the script that the first word names, with the words after it; 2 for one that does not exist."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: {_PROG} COMMAND [flags]\n\ncommands: {', '.join(COMMANDS)}\n\nflags: {_PROG} COMMAND --help")
        return 0 if words else 2
    command, *flags = words
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        complain(_PROG, f"no command {command!r}; there are {', '.join(COMMANDS)}{hint}")
        return 2
    sys.argv = [f"{_PROG} {command}", *flags]
    runpy.run_module(COMMANDS[command], run_name="__main__")
    return 0
