import csv
import subprocess
import sys

import pytest
import torch

from benchmarks.attention.memory_floor import KINDS, PASSES
from benchmarks.attention.module_speed import OPPONENTS, build, parse_args, run
from benchmarks.attention.module_speed_table import COLUMNS
from benchmarks.attention.timing import Spread, limited_memory, paired_ms, warm_up
from engine.runtime.csv_file import read_csv
from models.attention import list_attention

TINY = ["--modules", "SE", "EffectiveSE", "--shapes", "1x16x4x4", "--dtypes", "fp32", "--rounds", "3", "--seconds", "0"]


def options(folder, *more):
    return parse_args([*TINY, "--out", str(folder), *more])


def read(folder):
    with (folder / "cells.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_measures_and_resumes(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(OPPONENTS, "EffectiveSE")  # as a module that is new
    run(options(tmp_path))
    rows = read(tmp_path)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["module"], row["work"]) for row in rows] == [
        ("SE", "forward"),
        ("SE", "training"),
        ("EffectiveSE", "forward"),
        ("EffectiveSE", "training"),
    ]
    for row in rows:
        assert (row["shape"], row["dtype"], row["threads"]) == ("1x16x4x4", "fp32", "1")
        assert row["rounds"] == "3"
        assert float(row["ms"]) > 0
        assert float(row["times_floor"]) == pytest.approx(float(row["ms"]) / float(row["floor_ms"]), rel=0.01)
        assert int(row["floor_passes"]) == (3 if row["work"] == "forward" else 7)
    assert float(rows[1]["speedup_low"]) <= float(rows[1]["speedup"]) <= float(rows[1]["speedup_high"])
    assert (rows[2]["published_ms"], rows[2]["speedup"], rows[2]["note"]) == ("", "", "no plain form")
    assert "1/4 SE 1x16x4x4 fp32 forward" in capsys.readouterr().out

    # As after an interruption: what is there stays, what is missing is measured.
    lines = (tmp_path / "cells.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "cells.csv").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n", encoding="utf-8")
    run(options(tmp_path))
    assert capsys.readouterr().out.startswith("1/1 SE 1x16x4x4 fp32 training")
    after = read(tmp_path)
    assert [row for row in after if row["module"] == "EffectiveSE"] == rows[2:]
    assert len(after) == 4
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| SE | " in page
    assert "## Tricks that lost and were dropped" in page

    run(options(tmp_path, "--fresh"))
    assert "4/4" in capsys.readouterr().out
    assert len(read(tmp_path)) == 4


def test_a_file_of_another_version_is_refused(tmp_path):
    (tmp_path / "cells.csv").write_text("module,ms\nSE,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the columns module, shape"):
        read_csv(tmp_path / "cells.csv", COLUMNS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--modules", "SEE"], "did you mean"),
        (["--modules", "Timm"], "nothing to compare"),
        (["--shapes", "8x20x20"], "expected BxCxHxW"),
        (["--rounds", "0"], "expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        parse_args(words)


def test_every_module_has_a_floor():
    assert set(PASSES) == set(list_attention()) - {"Timm"}
    assert sum(len(names) for _, names in KINDS.values()) == len(PASSES)
    assert set(OPPONENTS) == set(PASSES)


def test_both_forms_have_the_same_weights():
    ours, plain = build("CoordAtt", (1, 16, 4, 4))
    x = torch.randn(1, 16, 4, 4)
    torch.testing.assert_close(plain.eval()(x), ours.eval()(x))


def test_rounds_alternate_and_end_in_time():
    calls = []
    ticks = iter(range(10**6))
    samples = paired_ms(
        [lambda: calls.append("a"), lambda: calls.append("b")],
        [1, 1],
        rounds=4,
        seconds=60,
        clock=lambda: next(ticks),
    )
    assert samples == [(1000.0, 1000.0)] * 4  # a tick of one second between the two readings
    assert "".join(calls) == "abba" * 2
    assert len(paired_ms([lambda: None], [1], rounds=50, seconds=0, clock=lambda: next(ticks))) == 3


def test_short_work_is_repeated():
    readings = iter([0.0, 1.0, 1.0, 1.001, 2.0, 2.0])
    assert warm_up(lambda: None, lambda: next(readings)) == 1  # 1 s: called once
    readings = iter([0.0, 0.1, 1.0, 1.001])
    assert warm_up(lambda: None, lambda: next(readings)) == 10  # 1 ms the second time


def test_quartiles():
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(3, 2, 4)
    assert Spread.of([7]) == Spread(7, 7, 7)


PEAK_OF_TWO = """
import torch
from benchmarks.attention.timing import peak_mb

def work():
    first = torch.ones(2**21)  # 8.4 MB each
    second = first + 1
    del first
    return second * 2  # at most two at a time

work()
print(peak_mb(work))
"""


def test_peak_memory_counts_what_is_freed_again(root):
    # In a process of its own: in the heap of one that has run other tests, freed blocks may stay.
    done = subprocess.run([sys.executable, "-c", PEAK_OF_TWO], cwd=root, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(16.8, abs=1.5)


def test_memory_is_limited_for_a_while():
    with limited_memory(0.5), pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(2**30)
    torch.empty(2**28)
