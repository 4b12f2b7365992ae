"""Text of strangers on the terminal and in tables, values from text, files written whole."""

import csv
from pathlib import Path

import pytest

from files.atomic import atomic_file, write_atomically
from files.literals import check_extent, read_literal
from files.text import csv_cell, printable, printable_lines, write_rows


def test_printable() -> None:
    assert printable("a\nb\x1b[31m\x7f\x9b") == r"a\nb\x1b[31m\x7f\x9b"
    assert printable("x\u202egnp.exe\u2028") == r"x\u202egnp.exe\u2028"
    assert printable("\udce9.png") == r"\udce9.png"  # a file name that is no Unicode
    assert printable("禁止 für é 👩‍🚒 .jpg") == "禁止 für é 👩‍🚒 .jpg"
    assert printable_lines("a\nb\x1b") == "a\nb\\x1b"


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\tx", "\r=1", '=HYPERLINK("http://x")'])
def test_cells_that_a_spreadsheet_would_run_are_text(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_other_cells_stay(tmp_path: Path) -> None:
    rows = [["name", "-0.5", -0.5, "+1e3", "", None, "a=b", "a\nb"], ["x,y", '"', "\udce9"]]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as stream:
        write_rows(stream, rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.reader(stream))
    assert read == [["name", "-0.5", "-0.5", "+1e3", "", "", "a=b", "a\nb"], ["x,y", '"', "\\udce9"]]


@pytest.mark.parametrize(
    "value", [{0: "a", 1: 'b\'s "x" \\ é'}, [1, -2.5, 1e-05, None, True], {"a": {"b": [[], {}, ()]}}, -3, "x", []]
)
def test_literals_of_python(value: object) -> None:
    assert read_literal(repr(value)) == value


def test_literals_of_json() -> None:
    assert read_literal('{"a": [true, null, -1.5e+3, "\\u00e9]["]}') == {"a": [True, None, -1500.0, "é]["]}


@pytest.mark.parametrize(
    "text",
    [
        "-" * 100_000, "[" * 100_000, "{0:" * 60 + "1" + "}" * 60, "1" + "+1" * 50_000, "1" + " -1" * 50_000,
        "not " * 9000, "[" * 51 + "]" * 51, "'a' * 10**9", "__import__('os')", "1" * 5000, "a", "", "x.y",
        "'", "{1}.x", "[1 for a in b]", "9" * 1_000_001,
    ],
)  # fmt: skip
def test_text_that_is_no_literal_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_literal(text)
    assert type(caught.value) is ValueError or "int string conversion" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_extent() -> None:
    check_extent({"a": [1, (2, "x" * 100)]}, "it", most=20)
    wide = [1] * 9
    for _ in range(8):
        wide = [wide] * 9
    deep: list[object] = []
    deep.append(deep)
    for value in (wide, deep, ["x" * 1000] * 9000):
        with pytest.raises(ValueError, match="it: expected at most 500,000 values, at most 50 deep"):
            check_extent(value, "it")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.txt"
    write_atomically(file, "é")
    assert file.read_bytes() == "é".encode()
    with pytest.raises(TypeError), atomic_file(file) as stream:
        stream.write("no bytes")
    assert file.read_text(encoding="utf-8") == "é"
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]
