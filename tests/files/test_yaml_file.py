"""The one YAML reader: bounds, kinds of values, and where it says that something is wrong."""

import time
from pathlib import Path

import pytest
import yaml

from analysis.compare.plan.command_line import parse_compare_args
from data.dataset.dataset_yaml import load_dataset_spec
from data.hyp import load_hyp
from files.yaml_file import line_of, read_yaml
from models import load_spec

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
WRONG = {
    "alias bomb": (f"{BOMB}names: *a8\n", 6, "at most 100,000 values, aliases counted each time"),
    "big text, many aliases": (f"a: &a {'x' * 900_000}\nb: [{'*a,' * 20_000}]\n", 2, "at most 100,000 values"),
    "many values": ("- a\n" * 240_000, 100_000, "at most 100,000 values"),
    "deep lists": ("names: " + "[" * 6000, 1, "lists and mappings at most 50 deep"),
    "deep by aliases": (f"a: &a {'[' * 30}{']' * 30}\nb: {'[' * 30}*a{']' * 30}", 2, "at most 50 deep"),
    "an alias inside its own value": ("lr0: 1\na: &a [*a]", 2, "a value named &a before"),
    "empty int": ("lr0: 1\nnc: !!int ''", 2, "a whole number of at most 64 characters but got ''"),
    "long int": (f"lr0: {'9' * 5000}", 1, "a whole number of at most 64 characters but got '9999"),
    "base 60": (f"lr0: 1{':1' * 300_000}", 1, "a whole number of at most 64 characters"),
    "no float": ("lr0: !!float x", 1, "a number of at most 64 characters but got 'x'"),
    "no flag": ("lr0: !!bool x", 1, "true or false but got 'x'"),
    "a call": ("lr0: 1\nx: !!python/object/apply:os.system [echo]", 2, "plain data but got the tag !!python/object"),
    "binary": ("lr0: !!binary aa", 1, "plain data but got the tag !!binary"),
    "merge": ("a: &a {lr0: 1}\nb: {<<: *a}", 2, "<< is not read"),
    "a list as a key": ("lr0: 1\n? [a]\n: 1", 2, "a name or a number as a key"),
    "a tab": ("lr0: 1\nnames:\n\t0: a\n", 3, "spaces before the text but got a tab"),
    "syntax": ("lr0: 1\na: b: c", 2, "is not YAML: mapping values are not allowed"),
    "two documents": ("lr0: 1\n---\nlr0: 2", 2, "expected a single document"),
    "a null character": ("lr0: 1\nb: \0", 2, "expected text but got the character"),
}
DOORS = {
    "--data": load_dataset_spec,
    "--hyp": load_hyp,
    "--cfg": load_spec,
    "--plan": lambda file: parse_compare_args(["--plan", str(file)]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_give_one_line_in_a_second(tmp_path: Path, door: str, case: str) -> None:
    text, line, expected = WRONG[case]
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(ValueError, match=f"x.yaml: line {line}: .*") as caught:
        DOORS[door](file)
    assert time.process_time() - began < 1
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_size_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("#" * 1_000_001)
    with pytest.raises(ValueError, match=r"x.yaml: expected a YAML file of at most 1 MB"):
        read_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xe9")
    with pytest.raises(ValueError, match=r"x.yaml: line 2: expected text in UTF-8 but got the byte 0xe9"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ValueError, match="no such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match="no such file"):
        read_yaml(tmp_path / ("n" * 5000))


def test_kinds_of_values(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    text = "a: [1, 1.5, .inf, true, null, ~, x, 'y', 0x10]\nb: &b {c: 2001-99-99, 3: d}\ne: [*b, *b]\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    b = {"c": "2001-99-99", 3: "d"}
    assert read_yaml(file) == {
        "a": [1, 1.5, float("inf"), True, None, None, "x", "y", 16], "b": b, "e": [b, b],
    }  # fmt: skip
    file.write_text("")
    assert read_yaml(file) is None


def test_every_yaml_of_the_project_reads_as_with_pyyaml(root: Path) -> None:
    files = [file for room in ("models", "data") for file in (root / room).glob("**/*.yaml")]
    assert len(files) > 20
    for file in files:
        assert read_yaml(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_line_of_a_value(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("# a comment\nnc: 1\nhead:\n  - [-1, 1, A]\n\n  - [-1, 1,\n     B]\n")
    assert line_of(file, "nc") == 2
    assert line_of(file, "head", 0) == 4
    assert line_of(file, "head", 1) == 6
    assert line_of(file, "head", 1, 2) == 7
    assert line_of(file, "head", 2) is None
    assert line_of(file, "backbone", 0) is None


def test_paths_that_are_too_long(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"path: {'p' * 5000}\ntrain: images\nval: images\nnames: [a]\n")
    with pytest.raises(ValueError, match="images not found"):
        load_dataset_spec(tmp_path / "x.yaml")
    for door in DOORS.values():
        with pytest.raises(ValueError, match=r"no such|not found"):
            door("p" * 5000)
