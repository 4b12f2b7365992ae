"""Rows of label files: what is kept, what is dropped, and what is said."""

from pathlib import Path

import numpy as np
import pytest

from data.dataset.label_file import TOLERANCE, LabelRows, problem_kind, read_rows


def read(tmp_path: Path, text: str, class_count: int = 3) -> LabelRows:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    return read_rows(tmp_path / "a.txt", class_count)


def test_good_rows_keep_their_order(tmp_path: Path) -> None:
    rows = read(tmp_path, "\ufeff2 0.5 0.5 0.2 0.4\n\n0 0.1\t0.2 0.1 0.1  \r\n1.0 1 1 1 1\n")
    assert rows.labels.dtype == np.float32
    np.testing.assert_allclose(
        rows.labels, [[2, 0.5, 0.5, 0.2, 0.4], [0, 0.1, 0.2, 0.1, 0.1], [1, 1, 1, 1, 1]], rtol=1e-6
    )
    assert rows.polygons == [None, None, None]
    assert rows.problems == rows.duplicates == []


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    rows = read(tmp_path, " \n\n")
    assert rows.labels.shape == (0, 5)
    assert rows.problems == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 0.5 0.5 0.2", "Expected 5 columns, or a class and 3 or more x y pairs, but got 4"),
        ("0 0.5 0.5 0.2 0.2 0.9", "Expected 5 columns but got 6; a saved detection"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "but got 8"),
        ("0 0.5 x 0.2 0.2", "Expected numbers but got '0 0.5 x 0.2 0.2'"),
        ("0,0.5,0.5,0.2,0.2", "but got 1; columns are separated by spaces, not by ','"),
        ("0;0,5;0,5;0,2;0,2", "but got 1; columns are separated by spaces, not by ';'"),
        ("0 0,5 0,5 0,2 0,2", "write decimals with a point, 0.5 and not 0,5"),
        ("0 0.5 0.5 -0.2 0.2", "Expected a box of some size but got width -0.2 and height 0.2"),
        ("0 nan 0.5 0.2 0.2", "Expected finite numbers"),
        ("0 inf 0.5 0.2 0.2", "Expected finite numbers"),
        ("nan 0.5 0.5 0.2 0.2", "Expected finite numbers"),
        ("3 0.5 0.5 0.2 0.2", "class 3 but the data set has 3 classes, 0 to 2"),
        ("-1 0.5 0.5 0.2 0.2", "Expected a whole class number but got -1"),
        ("0.5 0.5 0.5 0.2 0.2", "Expected a whole class number but got 0.5"),
        ("0 1.2 0.5 0.2 0.2", "Expected coordinates from 0 to 1 but got 1.2"),
        ("0 0.5 -0.1 0.2 0.2", "Expected coordinates from 0 to 1 but got -0.1"),
        ("0 320 240 64 64", "but got 320; divide pixels by the image size"),
        ("0 0.5 0.5 0 0.2", "Expected a box of some size but got width 0 and height 0.2"),
        ("0 0.1 0.1 0.1 0.2 0.1 0.3", "Expected a box of some size but got width 0"),
    ],
)
def test_a_broken_row_is_dropped_and_named(tmp_path: Path, row: str, message: str) -> None:
    rows = read(tmp_path, f"0 0.5 0.5 0.2 0.2\n{row}\n1 0.5 0.5 0.2 0.2\n")
    assert rows.labels[:, 0].tolist() == [0, 1]
    assert len(rows.problems) == 1
    assert rows.problems[0].startswith("row 2: ")
    assert message in rows.problems[0]


def test_rounding_just_outside_is_clipped(tmp_path: Path) -> None:
    slight = TOLERANCE / 2
    rows = read(tmp_path, f"0 {1 + slight} {-slight} 0.2 {1 + slight}\n")
    np.testing.assert_allclose(rows.labels, [[0, 1, 0, 0.2, 1]], rtol=1e-6)
    assert read(tmp_path, f"0 {1 + 2 * TOLERANCE} 0.5 0.2 0.2\n").problems


def test_a_repeated_row_is_dropped_once_per_repeat(tmp_path: Path) -> None:
    rows = read(tmp_path, "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n0 0.50 0.5 0.20 0.2\n0 .5 .5 .2 .2\n")
    assert rows.labels[:, 0].tolist() == [0, 1]
    assert rows.duplicates == ["row 3: repeats row 1", "row 4: repeats row 1"]
    assert rows.problems == []


def test_a_polygon_becomes_the_box_around_it(tmp_path: Path) -> None:
    rows = read(tmp_path, "1 0.2 0.1 0.6 0.1 0.4 0.5\n0 0.5 0.5 0.2 0.2\n")
    np.testing.assert_allclose(rows.labels, [[1, 0.4, 0.3, 0.4, 0.4], [0, 0.5, 0.5, 0.2, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(rows.polygons[0], [[0.2, 0.1], [0.6, 0.1], [0.4, 0.5]], rtol=1e-6)
    assert rows.polygons[1] is None


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="label file cannot be read"):
        read_rows(tmp_path / "a.txt", 1)


def test_utf16_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2", encoding="utf-16")
    with pytest.raises(ValueError, match="it is UTF-16, as PowerShell writes; save it as UTF-8"):
        read_rows(tmp_path / "a.txt", 1)


def test_problems_have_kinds(tmp_path: Path) -> None:
    text = "0 2 0.5 0.2 0.2\n0 0.5 0.5 0 0.2\n7 0.5 0.5 0.2 0.2\n0.5 0.5 0.5 0.2 0.2\n0 0.5\n0 nan 0.5 0.1 0.1\n"
    problems = read(tmp_path, text).problems
    assert [problem_kind(problem) for problem in problems] == ["outside", "size", "class", "class", "form", "form"]
