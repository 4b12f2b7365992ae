"""Every script's --help ends with two commands that it takes, and a page that is there."""

import re
import shlex
import subprocess
import sys

import pytest

from analysis.compare.plan.command_line import create_parser as compare_parser
from analysis.doctor.run_doctor import build_parser as doctor_parser
from app.command_line import build_parser as app_parser
from engine.config.detect_config import build_parser as detect_parser
from engine.config.export_config import build_parser as export_parser
from engine.config.train_parser import create_parser as train_parser
from engine.config.val_config import build_parser as val_parser

PARSERS = {
    "train.py": train_parser,
    "val.py": val_parser,
    "detect.py": detect_parser,
    "export.py": export_parser,
    "compare.py": compare_parser,
    "app.py": app_parser,
    "-m analysis.doctor": doctor_parser,
}


@pytest.mark.parametrize("script", PARSERS)
def test_examples_parse_and_the_page_exists(root, script) -> None:
    parser = PARSERS[script]()
    text = parser.format_help()
    examples = re.findall(r"^  python (.+)$", text[text.index("\nexamples:") :], re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        assert example.startswith(f"{script} ")
        parser.parse_args(shlex.split(example.removeprefix(script)))
    (page,) = re.findall(r"^more: (.+)$", text, re.MULTILINE)
    assert (root / page).is_file()


def test_conversions_name_theirs_too(root) -> None:
    words = [sys.executable, "-m", "data.convert", "--help"]
    text = " ".join(subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.split())
    assert text.count("python -m data.convert ") >= 3  # with the usage line
    assert text.endswith("More: docs/data.md")
