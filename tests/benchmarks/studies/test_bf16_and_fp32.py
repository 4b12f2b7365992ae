"""The table of two precisions pairs by seed, and its interval is Student's."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.studies.bf16_and_fp32 import COLUMNS, plot, precisions, read_runs, table

LOW, FULL = {0: 0.30, 1: 0.33, 2: 0.28}, {2: 0.29, 1: 0.36, 0: 0.31}


def rows():
    """Two epochs of three seeds in both precisions, the second epoch's mAP as above."""
    return [
        {"data": "signs", "precision": name, "seed": seed, "epoch": epoch}
        | {column: value if epoch == 2 else 0.0 for column in COLUMNS}
        for name, values in (("auto", LOW), ("32", FULL))
        for seed, value in values.items()
        for epoch in (1, 2)
    ]


def test_the_difference_and_its_interval():
    line = next(line for line in table(rows()).splitlines() if "mAP50-95" in line)
    low, full = (np.array([values[seed] for seed in range(3)]) for values in (LOW, FULL))
    interval = stats.ttest_rel(low, full).confidence_interval()
    assert f"{(low - full).mean():+.4f} ({interval.low:+.4f} to {interval.high:+.4f})" in line
    assert f"{low.mean():.4f} ± {low.std(ddof=1):.4f} | {full.mean():.4f}" in line


def test_it_draws(tmp_path):
    plot(rows(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="signs: expected runs with --precision 32 and with one other, but got auto"):
        precisions([row for row in rows() if row["precision"] == "auto"], "signs")
    with pytest.raises(ValueError, match="signs: expected the same seeds in both precisions"):
        precisions([row for row in rows() if row["seed"] != 1 or row["precision"] == "32"], "signs")
    with pytest.raises(ValueError, match=r"expected a folder of compare\.py with finished runs"):
        read_runs([tmp_path])
