"""What a report remembers of its making from call to call, in `report.json`: its title and the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from files.atomic import write_atomically


class Notes(NamedTuple):
    """Title and commands, oldest first; empty where none is known."""

    title: str = ""
    commands: tuple[str, ...] = ()


def remember(comparison: Path, title: str, command: str) -> None:
    """Add a call: its title, unless empty, takes the place of the former."""
    before = recall(comparison)
    commands = [*(one for one in before.commands if one != command), command]
    text = json.dumps({"title": title or before.title, "commands": commands}, indent=1, ensure_ascii=False)
    comparison.mkdir(parents=True, exist_ok=True)
    write_atomically(comparison / "report.json", text)


def recall(comparison: Path) -> Notes:
    """What is remembered; nothing of a folder from before it was, or where the file is damaged."""
    file = comparison / "report.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return Notes(str(content.get("title", "")), tuple(map(str, content.get("commands", ()))))
    except (ValueError, AttributeError, TypeError):
        return Notes()


def page_title(comparison: Path, data: str) -> str:
    """The title given, else the folder's name if that was given, else what was compared."""
    named = comparison.name if not re.fullmatch(r"exp\d*", comparison.name) else ""
    return recall(comparison).title or named or (f"Attention modules on {data}" if data else "Attention modules")
