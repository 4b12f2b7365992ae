"""`python -m models.check FILE…`: whether layer lists, of this or any other fork of YOLOv5, are wired as meant."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from models.graph.checked import analyse
from models.graph.renumbering_hint import renumbered
from models.graph.wiring import corrected, judge
from models.graph.wiring_report import stock_name, wiring_error, wiring_notes
from models.model_yaml import find_spec, load_spec, read_yaml
from models.spec.list_text import mended, read_text
from models.spec.model_spec import FREE, ModelSpec, SpecError, check_references
from models.spec.parse_layer_list import literal, parse_spec


class _Report(NamedTuple):
    """What is said of a file."""

    good: bool
    verdict: str
    rest: str = ""  # what to do, and what was done


def main(argv: Sequence[str] | None = None) -> int:
    """Say of each layer list whether its rows read what they should; exit code 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m models.check", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="model YAML, or a folder of them")
    text = "take unknown modules for rows of one input and unknown heads for Detect, and look at the wiring alone"
    parser.add_argument("--unknown", action="store_true", help=text)
    text = "write each wrong list, its indices and the row numbers in its comments corrected, to FILE.fixed.yaml"
    parser.add_argument("--fix", action="store_true", help=text)
    options = parser.parse_args(argv)
    try:
        files = [file for given in options.files for file in _files(given)]
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    wrong = 0
    for file in files:
        report = _report(file, options.unknown, options.fix)
        wrong += not report.good
        if len(files) == 1:
            print(report.verdict + report.rest)
        else:
            print(f"{file}: {' '.join(report.verdict.removeprefix(f'{file.name}: ').split())}", flush=True)
    if len(files) > 1:
        print(f"{wrong} of {len(files)} lists are wrong")
    return int(wrong > 0)


def _files(given: str) -> list[Path]:
    """The layer lists of a folder, or the one file.

    Raises:
        ValueError: If there is none.
    """
    if not Path(given).is_dir():
        return [find_spec(given)]
    files = [file for file in sorted(Path(given).rglob("*.y*ml")) if _is_layer_list(file)]
    if not files:
        raise ValueError(f"{given}: expected a folder with layer lists (backbone and head) but found none")
    return files


def _is_layer_list(file: Path) -> bool:
    try:
        data = read_yaml(file)
    except ValueError:
        return False
    return {"backbone", "head"} <= set(data) or {"base", "insert"} <= set(data)


def _report(file: Path, unknown: bool, fix: bool) -> _Report:
    try:
        data = read_yaml(file)
        if "base" in data:
            load_spec(file)  # which checks what an overlay leads to
            return _Report(True, "right: an overlay")
        spec = parse_spec(_wiring_of(data) if unknown else data, file.name)
    except ValueError as error:
        return _Report(False, str(error))
    verdict = judge(spec)
    if verdict.wrong:
        error = wiring_error(spec, verdict, file)
        done = _written(file, spec, corrected(spec, verdict), verdict.inserted) if fix else ""
        return _Report(False, error.problem, f"\n{error.remedy}{done}")
    try:
        if unknown:
            check_references(spec)
        else:
            analyse(spec)
    except SpecError as error:
        found = renumbered(spec) if fix and not unknown else None
        return _Report(False, str(error), _written(file, spec, *found) if found else "")
    return _Report(True, "\n".join([f"right: {stock_name(spec, verdict)}", *wiring_notes(spec, verdict, file)]))


def _wiring_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """A list's rows with what its wiring does not depend on left out: numbers, anchors, arguments that are no literals.

    Raises:
        ValueError: If it has no rows.
    """
    parts: dict[str, Any] = {"nc": 1, "anchors": 3, "wiring": data.get("wiring")}
    for part in ("backbone", "head"):
        rows = data.get(part)
        if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and len(row) > 2 for row in rows):
            raise ValueError(f"{part}: expected a list of rows [from, number, module, args]")
        parts[part] = [[row[0], 1, str(row[2]), _literals(row[3:])] for row in rows]
    head = parts["head"][-1]
    head[2:] = ["Detect", ["nc", "anchors", *([FREE] if FREE in head[3] else [])]]
    return parts


def _literals(args: Sequence[Any]) -> list[Any]:
    try:
        return list(literal(args[0], "")) if args else []
    except (TypeError, ValueError):
        return []


def _written(file: Path, spec: ModelSpec, fixed: ModelSpec, inserted: Collection[int]) -> str:
    """Write the corrected list beside the file, and say so."""
    out = file.with_name(f"{file.stem}.fixed{file.suffix}")
    text = mended(read_text(file), spec, fixed, inserted)
    read_back = parse_spec(_wiring_of(yaml.safe_load(text)), file.name)
    if judge(fixed).wrong or [x.source for x in read_back.layers] != [x.source for x in fixed.layers]:
        return "\nnot corrected: no later row could be found for a row that nobody reads, or one row is written twice"
    try:
        with out.open("xb") as stream:
            stream.write(text.encode())
    except OSError as error:
        return f"\nnot corrected: {out}: {error.strerror or error}"
    return f"\nwrote {out}"


if __name__ == "__main__":
    raise SystemExit(main())
