"""What attention costs: `python -m analysis.cost` prints a table of modules and places and writes it as CSV.

For each module at each place of a model: parameters, multiply-adds, latency of one image beside the plain model's, and
the memory that a training step keeps for it. Latencies are paired: plain and changed model in turn, in one run. With
one thread, the default, they are CPU time of that thread, so that another process disturbs only through the caches.
What cost.csv already has is not measured again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.cost.cost_table import HEADER, PLAIN, CostRow, line, page, read_rows, write_rows
from engine.config.parser import ArgumentParser
from engine.runtime.console import clock, say
from files.disk import require_writable

STOCK_PLACES = ("neck", "neck.P3", "neck.P4", "neck.P5", "backbone.P3", "backbone.P4", "backbone.P5", "backbone.sppf")


def measure(base_name: str, wanted: Sequence[tuple[str, str]], *, image_px: int, repeats: int) -> Iterator[CostRow]:
    """Cost of modules at places.

    Args:
        base_name: Model YAML.
        wanted: Canonical names, each with a placement name of `models.insertion.places` or `neck`; ("none", "") is the
            plain model.
        image_px: Side of the square image.
        repeats: Paired timings.

    Raises:
        ValueError: If a module or a place is unknown.
    """
    import torch

    from models import build_model, insert, load_spec
    from models.cost import count_macs, count_parameters, kept_bytes

    spec = load_spec(base_name)
    image = torch.rand(1, spec.channels, image_px, image_px, generator=torch.Generator().manual_seed(0))

    def costs(changed: Any) -> tuple[int, int | None, float]:  # noqa: ANN401  (a ModelSpec)
        model = build_model(changed)
        return count_parameters(model), count_macs(model, image), kept_bytes(model, image) / 1e6

    def ready(changed: Any) -> Callable[[], Any]:  # noqa: ANN401  (a ModelSpec)
        model = build_model(changed).eval().fuse().to(memory_format=torch.channels_last)
        pixels = image.to(memory_format=torch.channels_last)

        def run() -> None:
            with torch.inference_mode():
                model(pixels)

        return run

    plain, plain_cost = ready(spec), costs(spec)
    for name, place in wanted:
        changed = spec if name == PLAIN else insert(spec, f"{name}@{place}")
        times = paired_ms(plain, ready(changed), repeats)
        yield _row((base_name, name, place, image_px), costs(changed), plain_cost, times)


def paired_ms(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[tuple[float, float]]:
    """Milliseconds of both, in turn, after one unmeasured pair."""
    import torch

    now = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    pairs = []
    for _ in range(repeats + 1):
        pair = []
        for run in (first, second):
            started = now()
            run()
            pair.append((now() - started) * 1e3)
        pairs.append((pair[0], pair[1]))
    return pairs[1:]


def _row(
    what: tuple[str, str, str, int],
    cost: tuple[int, int | None, float],
    plain: tuple[int, int | None, float],
    times: Sequence[tuple[float, float]],
) -> CostRow:
    import torch

    ratios = sorted(second / first for first, second in times)
    quarter = len(ratios) // 4
    model, attention, place, image_px = what
    return CostRow(
        model=Path(model).stem,
        attention=attention,
        place=place,
        image_px=image_px,
        threads=torch.get_num_threads(),
        parameters=cost[0],
        added_parameters=cost[0] - plain[0],
        macs=cost[1],
        added_macs=None if cost[1] is None or plain[1] is None else cost[1] - plain[1],
        latency_ms=statistics.median(second for _, second in times),
        latency_ratio=statistics.median(ratios),
        latency_ratio_low=ratios[quarter],
        latency_ratio_high=ratios[-1 - quarter],
        training_memory_mb=cost[2],
        added_training_memory_mb=cost[2] - plain[2],
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m analysis.cost", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cfg", nargs="+", default=["yolov5n.yaml", "yolov5s.yaml"], help="model YAMLs")
    parser.add_argument("--attention", nargs="+", help="modules; every one that needs no extra package if not given")
    parser.add_argument("--places", nargs="+", default=list(STOCK_PLACES), help="placement names")
    parser.add_argument("--imgsz", "--img", type=int, default=640, help="side of the image, pixels")
    parser.add_argument("--threads", type=int, default=1, help="threads; with one, latency is CPU time, else wall time")
    parser.add_argument("--repeats", type=int, default=7, help="paired timings of each row")
    parser.add_argument("--fresh", action="store_true", help="measure again what cost.csv in --out already has")
    parser.add_argument("--out", type=Path, default=Path("runs/cost"), help="folder for cost.csv and cost.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    options = parse_args(argv)
    for flag in ("imgsz", "threads", "repeats"):
        if getattr(options, flag) < 1:
            raise ValueError(f"--{flag} {getattr(options, flag)}: expected at least 1")
    require_writable(options.out, "--out")
    if (options.out / "cost.md").exists() and not read_rows(options.out / "cost.csv"):
        raise ValueError(f"--out {options.out}: its cost.md is not of this command; give another folder")
    import torch

    from models.attention import canonical_name, list_attention

    torch.set_num_threads(options.threads)
    names = options.attention or [name for name in list_attention() if name != "Timm"]
    asked = [(PLAIN, ""), *itertools.product([canonical_name(name) for name in names], options.places)]
    for cfg in options.cfg:
        check(cfg, asked)
    rows = run(options, asked)
    (options.out / "cost.md").write_text(page(rows), encoding="utf-8")
    say(f"Written to {options.out / 'cost.csv'} and {options.out / 'cost.md'}")
    return 0


def check(base_name: str, wanted: Sequence[tuple[str, str]]) -> None:
    """Raise ValueError unless every module can stand at its place, before hours are spent on the others."""
    from models import insert, load_spec

    spec = load_spec(base_name)
    for name, place in wanted:
        if name != PLAIN:
            insert(spec, f"{name}@{place}")


def run(options: argparse.Namespace, asked: list[tuple[str, str]]) -> list[CostRow]:
    """Measure what cost.csv does not have and keep it up to date.

    Returns:
        All of its rows, those of a model together: those asked for in the order of asking, then the others.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cost.csv"
    rows = {} if options.fresh else {_key(row): row for row in read_rows(path)}
    size = (options.imgsz, options.threads)
    wanted = {cfg: [what for what in asked if (Path(cfg).stem, *size, *what) not in rows] for cfg in options.cfg}
    count, began, total = 0, time.perf_counter(), sum(map(len, wanted.values()))
    say(HEADER if total else f"{path} has them all; --fresh measures again")
    for cfg, whats in wanted.items():
        for row in measure(cfg, whats, image_px=options.imgsz, repeats=options.repeats) if whats else ():
            rows[_key(row)] = row
            write_rows(path, rows.values())
            count += 1
            left = (time.perf_counter() - began) / count * (total - count)
            say(f"{line(row)} [{count}/{total}, {clock(left)} left]")
    models = [(Path(cfg).stem, *size) for cfg in options.cfg]

    def turn(row: CostRow) -> tuple[Any, ...]:
        key = _key(row)
        return (_at(models, key[:3]), key[:3], _at(asked, key[3:]))

    write_rows(path, sorted(rows.values(), key=turn))
    return read_rows(path)  # as rounded there, so that a page made again is the same


def _at(items: list[Any], item: object) -> int:
    """Where it stands, the end if nowhere."""
    return items.index(item) if item in items else len(items)


def _key(row: CostRow) -> tuple[str, int, int, str, str]:
    return row.model, row.image_px, row.threads, row.attention, row.place
