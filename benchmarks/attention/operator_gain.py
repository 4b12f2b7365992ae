"""What operators with a backward of their own gain while training: `python -m benchmarks.attention.operator_gain`.

Each module that uses one runs forward and backward in turn with the operator and in the plain form that compilers and
exporters get, both in bf16 on channels_last maps as train.py trains. An operator that gains less than a tenth of its
module's time is not worth its lines. Printed: milliseconds without and with, and the median over the rounds of their
ratio, with quartiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from unittest.mock import patch

import torch

from benchmarks.attention.module_speed import PRECISIONS, build, parse_shape, work_of
from benchmarks.attention.timing import Spread, Work, clock_of, malloc, paired_ms, warm_up
from engine.config.parser import ArgumentParser, run_cli

DENSE = "dense_attention.attend"
LARGEST = 1600  # positions whose plain affinities fit into memory
READS = ("SE", "ECA", "EffectiveSE", "CBAM", "CoordAtt", "ELA", "TripletAttention", "GlobalContext")
OPERATORS = {
    "SharedMap": (*READS, "SpatialGroupEnhance", "ParallelPolarizedSelfAttention", "SequentialPolarizedSelfAttention"),
    "gram": ("CAM",),
    "energy_gate": ("SimAM",),
    "sum_copies, mix_copies": ("S2Attention",),
    DENSE: ("PAM", "MHSA"),
}
SHAPES = ("16x64x80x80", "16x128x40x40", "16x256x20x20")


def plain(work: Work) -> Work:
    """The work in the form that an exporter sees."""

    def traced() -> object:
        with patch("torch.jit.is_tracing", return_value=True):
            return work()

    return traced


def measure(module: str, shape: str, *, rounds: int, seconds: float) -> tuple[float, float, Spread]:
    """Milliseconds without and with the operator, and the spread of their ratio."""
    size, precision = parse_shape(shape), PRECISIONS["bf16"]
    x = torch.randn(size).to(precision.dtype).to(memory_format=precision.memory_format)
    work = work_of(build(module, size)[0], x, precision, "training")
    works, (_, clock) = [plain(work), work], clock_of(1)
    with malloc(keeps=True):
        repeats = [warm_up(one, clock) for one in works]
        samples = paired_ms(works, repeats, rounds=rounds, seconds=seconds, clock=clock)
    without, with_it = (Spread.of([sample[i] for sample in samples]).median for i in range(2))
    return without, with_it, Spread.of([sample[0] / sample[1] for sample in samples])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = ArgumentParser(
        prog="python -m benchmarks.attention.operator_gain", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), help="maps, BxCxHxW")
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds of each cell")
    parser.add_argument("--seconds", type=float, default=2.0, help="on the clock; then no further round begins")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("| operator | module | " + " | ".join(options.shapes) + " |")
    print("|---|---|" + "---:|" * len(options.shapes))
    for operator, modules in OPERATORS.items():
        for module in modules:
            cells = []
            for shape in options.shapes:
                if operator == DENSE and math.prod(parse_shape(shape)[2:]) > LARGEST:
                    cells.append("not run plain")
                    continue
                without, with_it, ratio = measure(module, shape, rounds=options.rounds, seconds=options.seconds)
                cells.append(
                    f"{without:.3g} → {with_it:.3g} ms, {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
                )
            print(f"| {operator} | {module} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
