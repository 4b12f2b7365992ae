"""The table of `measure_cost`: its rows, reading and writing them as CSV, and a page of them in Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.runtime.csv_file import read_csv, write_csv

PLAIN = "none"  # in place of a module
HEADER = (
    "| model | attention | place | parameters | MACs (M) | ms | × plain (middle half) | training memory (MB) |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class CostRow:
    """One module at one place, or the plain model; differences are to the plain model."""

    model: str
    attention: str
    place: str
    image_px: int
    threads: int
    parameters: int
    added_parameters: int
    macs: int | None
    added_macs: int | None
    latency_ms: float
    latency_ratio: float
    latency_ratio_low: float
    latency_ratio_high: float
    training_memory_mb: float
    added_training_memory_mb: float


def page(rows: Sequence[CostRow]) -> str:
    """Markdown: for each model, image size and number of threads what it costs plain, latencies, and all figures."""
    groups = itertools.groupby(rows, key=lambda row: (row.model, row.image_px, row.threads))
    return "# What attention costs\n" + "".join("\n" + _section(list(group)) for _, group in groups)


def _section(rows: Sequence[CostRow]) -> str:
    first = rows[0]
    clock = "CPU time of one thread" if first.threads == 1 else f"{first.threads} threads"
    lines = [f"## {first.model}, one image of {first.image_px} px, {clock}", ""]
    lines += ["Latency, times that of the plain model:", "", *_matrix(rows), ""]
    lines += ["All figures; a module's, but for the milliseconds, are what it adds to the plain model:", "", HEADER]
    return "\n".join([*lines, *(line(row) for row in rows)]) + "\n"


def _matrix(rows: Sequence[CostRow]) -> Iterator[str]:
    """Modules by places."""
    ratios = {(row.attention, row.place): f"{row.latency_ratio:.2f}" for row in rows if row.attention != PLAIN}
    names, places = (list(dict.fromkeys(key[i] for key in ratios)) for i in (0, 1))
    yield f"| attention | {' | '.join(places)} |"
    yield "|---|" + "---:|" * len(places)
    for name in names:
        yield f"| {name} | {' | '.join(ratios.get((name, place), '') for place in places)} |"


def line(row: CostRow) -> str:
    """A row of the table."""
    plain = row.attention == PLAIN
    parameters = f"{row.parameters:,}" if plain else f"{row.added_parameters:+,}"
    macs = row.macs if plain else row.added_macs
    macs_text = "unknown" if macs is None else f"{macs / 1e6:{',.0f' if plain else '+,.3f'}}"
    memory = f"{row.training_memory_mb:.0f}" if plain else f"{row.added_training_memory_mb:+.1f}"
    spread = f"{row.latency_ratio:.2f} ({row.latency_ratio_low:.2f}-{row.latency_ratio_high:.2f})"
    cells = (row.model, row.attention, row.place, parameters, macs_text, f"{row.latency_ms:.1f}", spread, memory)
    return f"| {' | '.join(cells)} |"


def read_rows(path: Path) -> list[CostRow]:
    """Rows of an earlier run, none if there is no file.

    Raises:
        ValueError: The file has other columns.
    """
    kinds = {field.name: str(field.type) for field in fields(CostRow)}
    rows = read_csv(path, list(kinds))
    return [CostRow(**{key: _read(text, kinds[key]) for key, text in row.items()}) for row in rows]


def _read(text: str, kind: str) -> Any:  # noqa: ANN401  (as the annotation says)
    if text == "unknown":
        return None
    return {"str": str, "float": float}.get(kind, int)(text)


def write_rows(path: Path, rows: Iterable[CostRow]) -> None:
    """Replace the file by these rows, in one step."""
    texts = [{key: _text(value) for key, value in asdict(row).items()} for row in rows]
    write_csv(path, [field.name for field in fields(CostRow)], texts)


def _text(value: object) -> str:
    return "unknown" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
