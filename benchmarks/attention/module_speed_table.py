"""The table of `module_speed.py`: what a row holds, how it stands in the file, and finding rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

WORKS = ("forward", "training")


@dataclass(frozen=True)
class Cell:
    """What one row measures.

    Attributes:
        module: Canonical name.
        shape: BxCxHxW.
        dtype: fp32 (NCHW) or bf16 (autocast, channels_last).
        work: "forward" (eval mode) or "training" (forward and backward).
        threads: Number of threads.
    """

    module: str
    shape: str
    dtype: str
    work: str
    threads: int


@dataclass(frozen=True)
class Row(Cell):
    """One measured cell.

    Attributes:
        clock: What was read.
        rounds: Number of paired rounds.
        published_ms: Median of a call of the published form; None where there is none, or no memory for it.
        ms: Median of a call of the project's.
        speedup: Median over the rounds of published / project's.
        speedup_low: Lower quartile of it.
        speedup_high: Upper quartile of it.
        floor_passes: Reads and writes of the map that are needed at least.
        floor_ms: What so many passes take.
        times_floor: ms / floor_ms.
        published_peak_mb: Rise of the resident memory; None as for published_ms.
        peak_mb: The same of the project's.
        load: Load average of the machine.
        note: Why something is missing.
    """

    clock: str
    rounds: int
    published_ms: float | None
    ms: float
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    floor_passes: int
    floor_ms: float
    times_floor: float
    published_peak_mb: float | None
    peak_mb: float | None
    load: float
    note: str


COLUMNS = tuple(field.name for field in fields(Row))


def text_of(row: Row) -> dict[str, str]:
    """The row as it stands in the file."""
    values = asdict(row)
    return {
        key: "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        for key, value in values.items()
    }


def without(rows: Sequence[dict[str, str]], cell: Cell) -> list[dict[str, str]]:
    """The rows that measure something else."""
    key = {name: str(value) for name, value in asdict(cell).items()}
    return [row for row in rows if any(row[name] != value for name, value in key.items())]
