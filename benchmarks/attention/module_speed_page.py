"""The Markdown page of `benchmarks/attention/module_speed.py`."""

from __future__ import annotations

import csv
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.attention.memory_floor import KINDS, PASSES
from benchmarks.attention.module_speed_table import WORKS

TRICKS = Path(__file__).with_name("dropped_tricks.csv")
NOISE = 0.05
CELLS = 3 * 2 * 2  # maps, arithmetics and works of a module
TITLES = {"forward": "Forward", "training": "Forward and backward"}

Table = Sequence[dict[str, str]]

HEAD = """# Speed and memory of the attention modules

Each module beside its published form written plainly (`benchmarks/published*.py`), both with the same weights, run in
turn in one process:

```bash
OMP_NUM_THREADS=1 python -m benchmarks.attention.module_speed
```

{machine}

*fp32* is float32 in NCHW order; *bf16* is bfloat16 autocast on a channels_last map, as `--precision bf16` trains.
*Forward* is eval mode without a graph, *forward and backward* train mode with the gradients of the input and of every
parameter. Figures are medians over the rounds; the speed-up is the median of published / project's within a round, in
brackets its quartiles. The clock is the CPU time of the one thread, so another process disturbs only through the
caches. Freed blocks up to 32 MB stay with the process and larger ones go back to the system, as glibc does by itself in
a process that has run for a while; fresh pages are part of what a form costs. All columns, the load of the machine
during each row among them, are in [cells.csv](cells.csv).

*Peak memory* is the rise of the process' resident memory during one forward and backward (the kernel's high-water mark,
reset before, with freed memory handed back), so buffers inside operations and scratch memory of libraries count. Where
the kernel takes pages away meanwhile, the figure is too low: single cells of the smallest maps, down to 0.

*Distance from the floor*: the time divided by that of reading and writing the map as often as the module must at least.
A pass (one read or one write) is half of a copy of the map, timed in the same rounds. How often, and why:
"""


def write_report(folder: Path, rows: Table) -> None:
    """Write README.md of a folder of results."""
    parts = [HEAD.format(machine=_machine(rows)), _floor_table(), _weak(rows)]
    for work in reversed(WORKS):
        part = [row for row in rows if row["work"] == work]
        if part:
            parts += [f"## {TITLES[work]}: speed-up over the published form\n", _pivot(part, _speedup)]
            parts += [f"## {TITLES[work]}: milliseconds (times the floor)\n", _pivot(part, _time)]
            parts += [f"## {TITLES[work]}: peak memory in MB, published → project's\n", _pivot(part, _memory)]
    parts += ["## Tricks that lost and were dropped\n", _tricks()]
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _machine(rows: Table) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:
        lines = []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = {"avx512f": "AVX512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
    has = ", ".join(f"{'' if flag in flags else 'no '}{name}" for flag, name in known.items())
    threads = ", ".join(sorted({row["threads"] for row in rows}))
    loads = sorted(float(row["load"]) for row in rows)
    rounds = sorted(int(row["rounds"]) for row in rows)
    busy = f"{rounds[0]} to {rounds[-1]} rounds a cell, load average {loads[0]:.1f} to {loads[-1]:.1f}" if rows else ""
    every = len(PASSES) * CELLS
    return (
        f"{model} ({has}), torch {torch.__version__.split('+')[0]}, threads: {threads}; {busy}. {len(rows)} of the "
        f"{every} cells that the command measures by default; it goes on with the missing ones when it is run again."
    )


def _floor_table() -> str:
    lines = ["| kind | forward | forward and backward | why | modules |", "|---|---:|---:|---|---|"]
    for kind, (passes, names) in KINDS.items():
        lines.append(f"| {kind} | {passes.forward} | {passes.training} | {passes.why} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def _weak(rows: Table) -> str:
    """Cells that are slower than the published form."""
    slower = [row for row in rows if row["speedup"] and float(row["speedup"]) < 1 - NOISE]
    compared = sum(bool(row["speedup"]) for row in rows)
    lines = [f"## Cells slower than the published form by more than {NOISE:.0%}\n", f"{len(slower)} of {compared}.\n"]
    lines += [
        f"- {row['module']}, {_label(row)}, {TITLES[row['work']].lower()}: {_speedup(row)}"
        for row in sorted(slower, key=lambda row: float(row["speedup"]))
    ]
    return "\n".join(lines) + ("\n" if slower else "")


def _label(row: dict[str, str]) -> str:
    shape, threads = row["shape"].split("x", 1)[1].replace("x", "×"), row["threads"]
    return f"{shape} {row['dtype']}" + (f", {threads} threads" if threads != "1" else "")


def _pivot(rows: Table, shown: Callable[[dict[str, str]], str]) -> str:
    """Modules down, maps and arithmetic across."""
    columns = list(dict.fromkeys(_label(row) for row in sorted(rows, key=_column_order)))
    cells = {(row["module"], _label(row)): shown(row) for row in rows}
    names = list(dict.fromkeys(row["module"] for row in rows))
    lines = [f"| module | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name in names:
        values = [cells.get((name, column), "") for column in columns]
        if any(values):
            lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _column_order(row: dict[str, str]) -> tuple[int, bool, int]:
    return int(row["threads"]), row["dtype"] != "fp32", int(row["shape"].split("x")[2])


def _speedup(row: dict[str, str]) -> str:
    if not row["speedup"]:
        return "" if row["note"] == "no plain form" else row["note"]
    value, low, high = (float(row[key]) for key in ("speedup", "speedup_low", "speedup_high"))
    return f"{value:.2f} ({low:.2f}–{high:.2f})"


def _time(row: dict[str, str]) -> str:
    return f"{float(row['ms']):.3g} ({float(row['times_floor']):.1f})"


def _memory(row: dict[str, str]) -> str:
    if not row["peak_mb"]:
        return "unknown"
    before = f"{float(row['published_peak_mb']):,.0f} → " if row["published_peak_mb"] else ""
    return f"{before}{float(row['peak_mb']):,.0f}"


def _tricks() -> str:
    with TRICKS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| module | trick | measured | where |", "|---|---|---|---|"]
    lines += [f"| {row['module']} | {row['trick']} | {row['measured']} | {row['where']} |" for row in rows]
    return "\n".join(lines) + "\n"
