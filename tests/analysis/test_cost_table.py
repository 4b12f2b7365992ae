import csv

import pytest

from analysis.cost import main


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
    assert "| yolov5n | SE | neck |" in capsys.readouterr().out


def test_an_unknown_place_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no place 'neck\.P9'"):
        main(
            ["--cfg", "yolov5n.yaml", "--attention", "SE", "--places", "neck.P9", "--img", "64", "--out", str(tmp_path)]
        )
