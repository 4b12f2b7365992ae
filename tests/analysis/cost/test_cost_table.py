import csv

import pytest

from analysis.cost.cost_table import read_rows
from analysis.cost.measure_cost import main


def test_writes_a_row_for_each_module_and_place(tmp_path, capsys):
    words = ["--cfg", "yolov5n.yaml", "--attention", "SE", "SimAM", "--places", "neck", "--img", "64", "--repeats", "3"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    with (tmp_path / "cost.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["attention"] for row in rows] == ["none", "SE", "SimAM"]
    assert int(rows[1]["added_parameters"]) == sum(2 * c * max(1, c // 16) for c in (64, 128, 256))
    assert int(rows[2]["added_parameters"]) == 0
    assert float(rows[0]["latency_ratio"]) > 0
    table = (tmp_path / "cost.md").read_text(encoding="utf-8")
    assert "| yolov5n | SE | neck |" in table
    assert f"| SE | {float(rows[1]['latency_ratio']):.2f} |" in table
    out = capsys.readouterr().out
    assert "| yolov5n | SE | neck |" in out
    assert "[2/3, 0:00:" in out

    # As after an interruption: what is there stays, what is missing is measured.
    lines = (tmp_path / "cost.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "cost.csv").write_text("\n".join([lines[0], lines[1], lines[3]]) + "\n", encoding="utf-8")
    assert main([*words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "| yolov5n | SE | neck |" in out
    assert "SimAM" not in out
    after = (tmp_path / "cost.csv").read_text(encoding="utf-8").splitlines()
    assert after[:2] + after[3:] == [lines[0], lines[1], lines[3]]  # in the order of asking, not of measuring
    assert after[2].startswith("yolov5n,SE,neck,64,1,")


def test_a_table_of_another_version_is_refused(tmp_path):
    (tmp_path / "cost.csv").write_text("model,attention\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns are those of another version"):
        read_rows(tmp_path / "cost.csv")


def test_an_unknown_place_is_named_before_anything_is_measured(tmp_path, capsys):
    words = ["--cfg", "yolov5n.yaml", "--attention", "SE", "--places", "neck", "neck.P9", "--img", "64"]
    with pytest.raises(ValueError, match=r"no place 'neck\.P9'"):
        main([*words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    assert not capsys.readouterr().out
