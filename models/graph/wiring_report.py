"""What the verdict on a list's wiring says to its user: the error and the warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

from models.graph.wiring import Remark, Verdict
from models.spec.list_text import read_text, row_lines
from models.spec.model_spec import ModelSpec, SpecError, row_text

MARK = "{wiring: free}"


def wiring_error(spec: ModelSpec, verdict: Verdict, origin: Path | None = None) -> SpecError:
    """The error for the rows that are wrong.

    Args:
        spec: The list.
        verdict: On it.
        origin: The list's file, whose lines and whose correction are named.
    """
    count = "a row is" if len(verdict.wrong) == 1 else f"{len(verdict.wrong)} rows are"
    rows = "\n".join(remark_texts(spec, verdict.wrong, origin))
    if verdict.doubtful:
        rows += "\nand probably:\n" + "\n".join(remark_texts(spec, verdict.doubtful, origin))
    command = (
        f"; python -m models.check --fix {quote(str(origin))} writes the corrected list beside it" if origin else ""
    )
    remedy = f"change those rows{command}; what is meant is marked {MARK} as last argument of its row"
    return SpecError(f"{spec.file}: {count} not wired as in {stock_name(spec, verdict)}:\n{rows}", remedy)


def wiring_notes(spec: ModelSpec, verdict: Verdict, origin: Path | None = None) -> list[str]:
    """The warnings: rows that may be wrong, and rows that differ and are marked as meant."""
    notes: list[str] = []
    if verdict.doubtful:
        rows = "\n".join(remark_texts(spec, verdict.doubtful, origin))
        notes.append(f"{spec.file}: probably a forgotten index:\n{rows}\nIf it is meant, mark it: {MARK}")
    if verdict.free:
        rows = "\n".join(remark_texts(spec, verdict.free, origin))
        notes.append(f"{spec.file}: marked `wiring: free`, so it is built as it stands:\n{rows}")
    return notes


def stock_name(spec: ModelSpec, verdict: Verdict) -> str:
    """The stock graph, and what the list has besides."""
    extra = ", ".join(f"row {row} ({spec.layers[row].module})" for row in verdict.inserted)
    return (
        f"{verdict.graph.name if verdict.graph else 'a graph of its own'}{f' with {extra} inserted' if extra else ''}"
    )


def remark_texts(spec: ModelSpec, remarks: Iterable[Remark], origin: Path | None = None) -> list[str]:
    """A line for each remark: where, the row as it is, why, and the row as it should be."""
    lines = row_lines(read_text(origin)) if origin else None
    return [f"  {_text(spec, remark, lines)}" for remark in remarks]


def _text(spec: ModelSpec, remark: Remark, lines: Sequence[int] | None) -> str:
    place = f"line {lines[remark.row]}, row {remark.row}" if lines else f"row {remark.row}"
    old, new = row_text(spec, remark.row), row_text(spec, remark.row, remark.source)
    return f"{place}: {old}{f' -> {new}' if new != old else ''}  ({remark.problem})"
