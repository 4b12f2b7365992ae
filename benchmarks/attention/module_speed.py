"""Time and peak memory of the attention modules beside the published forms.

    python -m benchmarks.attention.module_speed

For each module, map and arithmetic, forward (eval mode, no graph) and forward with backward (train mode, gradients of
the input and every parameter) of the published form and of the project's are run in turn, with a copy of the map as the
measure of the floor (`memory_floor.py`). The two have the same weights, the same input and the same incoming gradient,
in the input's memory format. With one thread the clock is the thread's CPU time, so that another process
disturbs only through the caches. Rows go to cells.csv as they are done; what is there is not measured again without
`--fresh`. README.md in the same folder shows them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.attention.memory_floor import PASSES
from benchmarks.attention.module_speed_page import write_report
from benchmarks.attention.module_speed_table import COLUMNS, WORKS, Cell, Row, text_of, without
from benchmarks.attention.timing import (
    Spread,
    Work,
    available_gb,
    clock_of,
    limited_memory,
    malloc,
    paired_ms,
    peak_mb,
    warm_up,
)
from benchmarks.published.gates_published import PUBLISHED
from benchmarks.published.mixed_published import PUBLISHED_MORE
from engine.config.parser import ArgumentParser, run_cli
from engine.runtime.csv_file import read_csv, write_csv
from engine.runtime.device import Precision
from models.attention import canonical_name, create_attention, list_attention

OPPONENTS: dict[str, type[nn.Module]] = {**PUBLISHED, **PUBLISHED_MORE}
SHAPES = ("8x512x20x20", "8x256x40x40", "8x128x80x80")
PRECISIONS = {
    "fp32": Precision(torch.float32, False, "as published"),
    "bf16": Precision(torch.bfloat16, True, "as `--precision bf16` trains"),
}
OUT_OF_MEMORY = "can't allocate memory"  # in torch's message
CPU = torch.device("cpu")
OUT = Path("docs/results/attention-speed")


def build(name: str, size: tuple[int, ...]) -> list[nn.Module]:
    """The project's module and, where there is one, its plain form with the same weights, every parameter at work.

    Raises:
        ValueError: The module cannot have this many channels.
    """
    torch.manual_seed(0)
    ours = create_attention(name, size[1])
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
            if key.endswith("gamma"):
                parameter.fill_(1)
    if name not in OPPONENTS:
        return [ours]
    plain = OPPONENTS[name](size[1])
    plain.load_state_dict(ours.state_dict())
    return [ours, plain]


def work_of(module: nn.Module, x: Tensor, precision: Precision, work: str) -> Work:
    """A function without arguments that runs the module forward, or forward and backward."""
    module.train(work == "training").to(memory_format=precision.memory_format)
    if work == "forward":

        def forward() -> Tensor:
            with torch.no_grad(), precision.autocast(CPU):
                return module(x)

        return forward

    leaf = x.detach().requires_grad_()
    with torch.no_grad(), precision.autocast(CPU):
        output = module(x[:2, :, :2, :2]).dtype
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(output)
    gradient = gradient.to(memory_format=precision.memory_format)
    wanted = [leaf, *module.parameters()]

    def training() -> tuple[Tensor, ...]:
        with precision.autocast(CPU):
            y = module(leaf)
        return torch.autograd.grad(y, wanted, gradient, allow_unused=True)

    return training


def measure(cell: Cell, *, rounds: int, seconds: float) -> Row:
    """Measure one cell.

    Raises:
        ValueError: The module cannot have this many channels.
        RuntimeError: Not even the project's form finds the memory it needs.
    """
    size, precision = parse_shape(cell.shape), PRECISIONS[cell.dtype]
    x = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(precision.dtype)
    x = x.to(memory_format=precision.memory_format)
    works = [work_of(module, x, precision, cell.work) for module in build(cell.module, size)]
    note = "" if len(works) > 1 else "no plain form"
    clock_name, clock = clock_of(cell.threads)
    target = torch.empty_like(x)
    with malloc(keeps=True):
        repeats = [warm_up(works[0], clock), warm_up(lambda: target.copy_(x), clock)]
        try:
            repeats[1:1] = [warm_up(work, clock) for work in works[1:]]
        except RuntimeError as error:
            if OUT_OF_MEMORY not in str(error):
                raise
            works, note = works[:1], "the published form needs more memory than allowed"
        every = [*works, lambda: target.copy_(x)]
        samples = paired_ms(every, repeats, rounds=rounds, seconds=seconds, clock=clock)
    peaks = [peak_mb(work) for work in works]
    ours, copy = median_of(samples, 0), median_of(samples, -1)
    speedup = Spread.of([sample[1] / sample[0] for sample in samples]) if len(works) > 1 else None
    passes = PASSES[cell.module].forward if cell.work == "forward" else PASSES[cell.module].training
    floor = copy / 2 * passes
    return Row(
        **asdict(cell),
        clock=clock_name,
        rounds=len(samples),
        published_ms=median_of(samples, 1) if speedup else None,
        ms=ours,
        speedup=speedup and speedup.median,
        speedup_low=speedup and speedup.low,
        speedup_high=speedup and speedup.high,
        floor_passes=passes,
        floor_ms=floor,
        times_floor=ours / floor,
        published_peak_mb=peaks[1] if len(peaks) > 1 else None,
        peak_mb=peaks[0],
        load=os.getloadavg()[0],
        note=note,
    )


def median_of(samples: Sequence[tuple[float, ...]], index: int) -> float:
    """Median of one function's times."""
    return Spread.of([sample[index] for sample in samples]).median


def parse_shape(text: str) -> tuple[int, ...]:
    """B x C x H x W.

    Raises:
        ValueError: Not four positive integers.
    """
    parts = text.split("x")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--shapes {text}: expected BxCxHxW with four positive integers, such as {SHAPES[0]}")
    return tuple(int(part) for part in parts)


def cells_of(options: argparse.Namespace) -> Iterator[Cell]:
    """What is asked for, module by module."""
    for name in options.modules:
        for shape in options.shapes:
            for dtype in options.dtypes:
                for work in WORKS:
                    yield Cell(name, shape, dtype, work, options.threads)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        ValueError: An unknown module or a wrong shape.
    """
    known = [name for name in (*PUBLISHED, *list_attention()) if name in PASSES]
    parser = ArgumentParser(prog="python -m benchmarks.attention.module_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", default=list(dict.fromkeys(known)), help="names of modules")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), help="maps, BxCxHxW")
    parser.add_argument("--dtypes", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS), help="arithmetic")
    parser.add_argument("--threads", type=int, default=1, help="threads; with one the clock is CPU time")
    parser.add_argument("--rounds", type=int, default=15, help="paired rounds of each cell")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="on the clock; then no further round of a cell begins"
    )
    parser.add_argument("--memory-gb", type=float, help="most memory to use; 70 %% of what is available if not given")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for cells.csv and README.md")
    parser.add_argument("--fresh", action="store_true", help="measure again what cells.csv already has")
    options = parser.parse_args(argv)
    options.modules = [canonical_name(name) for name in options.modules]
    for name in options.modules:
        if name not in PASSES:
            raise ValueError(f"--modules {name}: wraps layers of another package, so there is nothing to compare")
    for shape in options.shapes:
        parse_shape(shape)
    if min(options.threads, options.rounds) < 1:
        raise ValueError("--threads and --rounds: expected at least 1")
    return options


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, row by row, and write the report."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cells.csv"
    rows = read_csv(path, COLUMNS)
    cells = [cell for cell in cells_of(options) if options.fresh or without(rows, cell) == rows]
    started = time.monotonic()
    for count, cell in enumerate(cells, 1):
        try:
            row = measure(cell, rounds=options.rounds, seconds=options.seconds)
        except RuntimeError as error:
            if OUT_OF_MEMORY not in str(error):
                raise
            print(
                f"{count}/{len(cells)} {cell.module} {cell.shape} {cell.dtype} {cell.work}: too little memory, skipped"
            )
            continue
        rows = [*without(rows, cell), text_of(row)]
        write_csv(path, COLUMNS, rows)
        left = (time.monotonic() - started) / count * (len(cells) - count)
        print(f"{count}/{len(cells)} {summary(row)}; about {left / 60:.0f} min left", flush=True)
    write_report(options.out, rows)
    print(f"Written to {path} and {options.out / 'README.md'}")


def summary(row: Row) -> str:
    """One line of progress."""
    ratio = f"x{row.speedup:.2f} ({row.speedup_low:.2f}-{row.speedup_high:.2f})" if row.speedup else row.note
    return f"{row.module} {row.shape} {row.dtype} {row.work}: {row.ms:.2f} ms, {ratio}, {row.times_floor:.1f} x floor"


def main(argv: Sequence[str] | None = None) -> int:
    """Set up the process, then measure."""
    options = parse_args(argv)
    torch.set_num_threads(options.threads)
    memory = options.memory_gb or 0.7 * (available_gb() or 0)
    with limited_memory(memory) if memory else contextlib.nullcontext():
        run(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
