"""The command: its exit code, its page and its JSON."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.doctor.finding import MOST_CASES
from analysis.doctor.run_doctor import main
from benchmarks.studies.planted_faults import replace, set_text


def run(root: Path, *words: str) -> tuple[int, dict, str]:
    code = main([str(root / "set.yaml"), "--project", str(root.parent / "out"), "--exist-ok", *words])
    folder = root.parent / "out/exp"
    return code, json.loads((folder / "findings.json").read_text()), (folder / "index.html").read_text()


def test_errors_are_exit_code_one_and_warnings_are_not(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = min((planted / "images/train").iterdir())
    set_text(image, "0 0.5 0.5 1 1\n")
    code, found, page = run(planted, "--no-pixels")
    assert code == 0
    (covers,) = (one for one in found["findings"] if one["name"] == "covers-everything")
    assert (covers["severity"], covers["count"]) == ("warning", 1)
    assert covers["cases"][0]["boxes"] == [{"class": "red_tl", "cxcywh_norm": [0.5, 0.5, 1.0, 1.0]}]
    assert "Not looked at" in page
    set_text(image, "0 0.5 0.5 1 1\n9 0.5 0.5 0.1 0.1\n")
    code, found, page = run(planted, "--no-pixels")
    assert code == 1
    assert found["findings"][0]["name"] == "class-beyond-names"  # errors come first
    assert "error: Class numbers that `names:` does not have: 1" in capsys.readouterr().out


def test_the_page_is_whole_and_needs_no_network(planted: Path) -> None:
    image = min((planted / "images/train").iterdir())
    (planted / "set.yaml").write_text((planted / "set.yaml").read_text().replace("red_tl", "'<b>&'"))
    replace(image.with_name("<i>.jpg"), image.read_bytes())
    set_text(image.with_name("<i>.jpg"), "0 0.5 0.5 1 1\n0 0.5 0.5 0.001 0.2\n")
    _, found, page = run(planted)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<i>" not in page
    assert "<b>&'" not in page
    names = [one["name"] for one in found["findings"]]
    assert {"covers-everything", "tiny-box", "duplicate-image"} <= set(names)
    for name in names:
        assert f'href="#{name}"' in page
        assert f'id="{name}"' in page
    section = page.split('id="duplicate-image"')[1].split("</section>")[0]
    assert section.count("data:image/jpeg;base64,") == 2  # the pair


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_name_that_is_no_text(planted: Path) -> None:
    image = min((planted / "images/train").iterdir())
    os.link(image, os.fsencode(image.parent) + b"/caf\xe9.jpg")
    _, found, page = run(planted)
    assert "caf\\udce9.jpg: train: the same file as train: 000000.jpg" in page
    assert "duplicate-image" in [one["name"] for one in found["findings"]]


@pytest.mark.parametrize("words", [(), ("--no-pixels",)])
def test_one_folder_for_train_and_val_is_a_leak(planted: Path, words: tuple[str, ...]) -> None:
    text = (planted / "set.yaml").read_text().replace("images/val", "images/train")
    (planted / "set.yaml").write_text(text)
    code, found, _ = run(planted, *words)
    assert code == 1
    assert (found["findings"][0]["name"], found["findings"][0]["count"]) == ("leak", 14)


def test_all_cases_are_counted_and_the_first_listed(planted: Path) -> None:
    rows = "".join(f"0 0.{number:04d} 0.5 0.001 0.001\n" for number in range(1000, 1000 + MOST_CASES + 7))
    set_text(min((planted / "images/train").iterdir()), rows)
    _, found, _ = run(planted, "--no-pixels")
    (tiny,) = (one for one in found["findings"] if one["name"] == "tiny-box")
    assert (tiny["count"], tiny["listed"], len(tiny["cases"])) == (MOST_CASES + 7, MOST_CASES, MOST_CASES)


def test_a_set_without_any_label_still_gets_a_page(planted: Path) -> None:
    for label in (planted / "labels").rglob("*.txt"):
        label.unlink()
    code, found, page = run(planted, "--no-pixels")
    assert code == 1
    assert [one["name"] for one in found["findings"]] == ["no-labels"]
    assert "looked for" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.yaml"], "gone.yaml' was not found"),
        (["SET", "--img", "1"], "--img 1: expected a training size of at least 32 px"),
        (["SET", "--weights", "gone.pt"], "gone.pt"),
        (["SET", "--hyp", "gone"], "hyperparameter file 'gone' was not found"),
        (["SET", "--imgs"], "--imgs"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(planted: Path, root: Path, words: list[str], message: str) -> None:
    words = [str(planted / "set.yaml") if word == "SET" else word for word in words]
    command = [sys.executable, "-m", "analysis.doctor", *words, "--project", str(planted.parent / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (planted.parent / "out").exists()
