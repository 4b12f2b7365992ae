"""Write the reference pages from the code, so that they cannot drift: `python docs/reference/update.py`.

flags.md from the parsers, hyperparameters.md from the class and its files, messages.md from every ValueError that the
code raises; by `code_pages.py` modules.md and python.md from the registry, the results and docstrings, and the table of
modules in both READMEs. `tests/docs/test_site.py` holds the committed pages against what this writes.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import code_pages  # noqa: E402

SCRIPTS = {
    "train.py": "engine.config.train_parser:create_parser",
    "val.py": "engine.config.val_config:build_parser",
    "detect.py": "engine.config.detect_config:build_parser",
    "export.py": "engine.config.export_config:build_parser",
    "compare.py": "analysis.compare.plan.command_line:create_parser",
}
ROOMS = ("analysis", "data", "engine", "files", "models")
_PLACEHOLDER = "…"


def main() -> int:
    """Write the pages beside this file, and the READMEs' tables."""
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
    for page in (ROOT / name for name in code_pages.README_TABLE):
        page.write_text(code_pages.readme(page.read_text(encoding="utf-8"), page.name), encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """Every page's name and text."""
    return {
        "flags.md": flags(),
        "hyperparameters.md": hyperparameters(),
        "messages.md": messages(),
        "modules.md": code_pages.modules(),
        "python.md": code_pages.python_api(),
    }


def flags() -> str:
    """A table of every flag of every script."""
    parts = [
        "# Flags\n\nWritten from the parsers by `python docs/reference/update.py`. A flag may be shortened to what no "
        "other begins with. A mistake in one is told in a line, with exit code 2."
    ]
    for script, where in SCRIPTS.items():
        module, _, function = where.partition(":")
        parser: argparse.ArgumentParser = getattr(importlib.import_module(module), function)()
        parts.append(f"## {script}\n\n{parser.description}\n\n| flag | default | what it does |\n|---|---|---|")
        parts[-1] += "".join(
            f"\n| {_names(action)} | {_default(action)} | {_cell(_help(action))} |" for action in _actions(parser)
        )
        refused = getattr(parser, "refused", {})
        if refused:
            rows = "".join(f"\n| `{flag}` | {_cell(reason)} |" for flag, reason in refused.items())
            parts.append(f"Refused by name:\n\n| flag of YOLOv5 | why, and what instead |\n|---|---|{rows}")
        ignored = [one for one in parser._actions if type(one).__name__ == "_Ignored"]
        if ignored:
            rows = "".join(f"\n| `{one.option_strings[0]}` | {_cell(str(one.metavar))} |" for one in ignored)
            parts.append(f"Accepted with a line, and left aside:\n\n| flag of YOLOv5 | why |\n|---|---|{rows}")
    return "\n\n".join(parts) + "\n"


def hyperparameters() -> str:
    """The keys of a hyperparameter file, with the values of the files that come with the project."""
    from data.hyp import FOLDER, Hyperparameters

    files = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.yaml"))}
    said = _comments(FOLDER / "hyp.scratch-low.yaml")
    head = " | ".join(f"`{name}`" for name in files)
    text = (
        "# Hyperparameters\n\nThe keys of a file for `--hyp`, YOLOv5's names, their values in `data/hyps/`. Written "
        f"by `python docs/reference/update.py`.\n\n| key | what it is | {head} |\n|---|---|{'---|' * len(files)}"
    )
    for one in fields(Hyperparameters):
        values = " | ".join(str(content.get(one.name, "")) for content in files.values())
        what = said.get(one.name, "anchors of each level that a search should find")
        text += f"\n| `{one.name}` | {_cell(what)} | {values} |"
    return text + "\n"


def messages() -> str:
    """Every message of a ValueError, by file; what a run puts in is …."""
    parts = [
        "# Messages\n\nWhat the scripts say of mistakes in what they are given, with … where the message names your "
        "file, row or value. Search this page for a part of yours. Written by `python docs/reference/update.py`."
    ]
    for room in ROOMS:
        rows: list[str] = []
        for file in sorted((ROOT / room).rglob("*.py")):
            told = sorted(set(_raised(file)))
            if told:
                rows.append(
                    f"**{file.relative_to(ROOT).as_posix()}**\n\n" + "\n".join(f"- {_cell(one)}" for one in told)
                )
        parts.append(f"## {room}\n\n" + "\n\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _raised(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
            text = _text(node.exc.args[0]).strip()
            if name.endswith("Error") and sum(map(str.isalpha, text)) > 12:
                yield re.sub(rf"{_PLACEHOLDER}+", _PLACEHOLDER, text)


def _text(node: ast.expr) -> str:
    """A string as far as it is written down."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _PLACEHOLDER


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [one for one in parser._actions if one.help != argparse.SUPPRESS and one.dest != "help"]


def _names(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    choices = f" {' '.join(map(str, action.choices))}" if action.choices else ""
    return _cell(names + choices)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _default(action: argparse.Action) -> str:
    value = action.default
    if value in (None, argparse.SUPPRESS, False, "", []):
        return ""
    shown = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return _cell(f"`{shown.replace(str(ROOT) + '/', '')}`")


def _comments(file: Path) -> dict[str, str]:
    found = re.finditer(r"^(\w+):[^#\n]*#\s*(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {one[1]: one[2] for one in found}


def _cell(text: str) -> str:
    """Text for a table's cell or a list's item."""
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text.replace("{", "&#123;") if text.startswith("{") else text


if __name__ == "__main__":
    raise SystemExit(main())
