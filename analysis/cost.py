"""What attention costs: `python -m analysis.cost` prints a table of modules and places and writes it as CSV.

For each module at each place of a model: parameters, multiply-adds, latency of one image beside the plain model's, and
the memory that a training step keeps for it. Latencies are paired: plain and changed model in turn, in one run. With
one thread, the default, they are CPU time of that thread, so that another process disturbs only through the caches.
What cost.csv already has is not measured again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.cli import ArgumentParser, run_cli

STOCK_PLACES = ("neck", "neck.P3", "neck.P4", "neck.P5", "backbone.P3", "backbone.P4", "backbone.P5", "backbone.sppf")


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


def measure(
    base_name: str,
    attention: Sequence[str],
    places: Sequence[str],
    *,
    image_px: int,
    repeats: int,
    done: Collection[tuple[str, str]] = (),
) -> Iterator[CostRow]:
    """Cost of the plain model, then of each module at each place.

    Args:
        base_name: Model YAML.
        attention: Canonical names.
        places: Placement names of `models.insertion.places`, or `neck`.
        image_px: Side of the square image.
        repeats: Paired timings.
        done: Modules and places to leave out; ("none", "") is the plain model.

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
    if ("none", "") not in done:
        times = _paired(plain, plain, repeats)
        yield _row((base_name, "none", "", image_px), plain_cost, plain_cost, times)
    for name in attention:
        for place in places:
            if (name, place) in done:
                continue
            changed = insert(spec, f"{name}@{place}")
            times = _paired(plain, ready(changed), repeats)
            yield _row((base_name, name, place, image_px), costs(changed), plain_cost, times)


def _paired(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[tuple[float, float]]:
    """Milliseconds of both, in turn, after one unmeasured pair."""
    import torch

    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    pairs = []
    for _ in range(repeats + 1):
        pair = []
        for run in (first, second):
            started = clock()
            run()
            pair.append((clock() - started) * 1e3)
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


def markdown(rows: Sequence[CostRow]) -> str:
    """The rows as a Markdown table."""
    head = "| model | attention | place | parameters | MACs (M) | ms | × plain (middle half) | training memory (MB) |"
    lines = [head, "|" + "---|" * 8]
    lines += [_markdown_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def _markdown_row(row: CostRow) -> str:
    plain = row.attention == "none"
    parameters = f"{row.parameters:,}" if plain else f"{row.added_parameters:+,}"
    macs = row.macs if plain else row.added_macs
    macs_text = "unknown" if macs is None else f"{macs / 1e6:{',.0f' if plain else '+,.3f'}}"
    memory = f"{row.training_memory_mb:.0f}" if plain else f"{row.added_training_memory_mb:+.1f}"
    spread = f"{row.latency_ratio:.2f} ({row.latency_ratio_low:.2f}-{row.latency_ratio_high:.2f})"
    cells = (row.model, row.attention, row.place, parameters, macs_text, f"{row.latency_ms:.1f}", spread, memory)
    return f"| {' | '.join(cells)} |"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m analysis.cost", description=__doc__.splitlines()[0])
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
    import torch

    from models.attention import canonical_name, list_attention

    torch.set_num_threads(options.threads)

    names = options.attention or [name for name in list_attention() if name != "Timm"]
    names = [canonical_name(name) for name in names]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cost.csv"
    rows = [] if options.fresh else read_rows(path)
    _write_rows(path, rows)
    for cfg in options.cfg:
        known = (Path(cfg).stem, options.imgsz, options.threads)
        done = {(row.attention, row.place) for row in rows if (row.model, row.image_px, row.threads) == known}
        places, repeats = options.places, options.repeats
        for row in measure(cfg, names, places, image_px=options.imgsz, repeats=repeats, done=done):
            rows.append(row)
            _write_rows(path, rows)
            print(_markdown_row(row), flush=True)
    (options.out / "cost.md").write_text(markdown(rows), encoding="utf-8")
    print(f"Written to {options.out}")
    return 0


def read_rows(path: Path) -> list[CostRow]:
    """Rows of an earlier run, none if there is no file.

    Raises:
        ValueError: The file has other columns.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != [field.name for field in fields(CostRow)]:
            raise ValueError(f"{path}: its columns are those of another version; use --fresh or another --out")
        return [
            CostRow(**{field.name: _read(row[field.name], field.type) for field in fields(CostRow)}) for row in reader
        ]


def _read(text: str, kind: str) -> Any:  # noqa: ANN401  (as the annotation says)
    if text == "unknown":
        return None
    return {"str": str, "float": float}.get(kind, int)(text)


def _write_rows(path: Path, rows: Sequence[CostRow]) -> None:
    """Replace the file by these rows, in one step."""
    draft = path.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CostRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _text(value) for key, value in asdict(row).items()})
    draft.replace(path)


def _text(value: object) -> str:
    return "unknown" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
