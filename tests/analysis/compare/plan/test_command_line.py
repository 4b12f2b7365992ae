"""The command line and the plan: the same settings under the same names, and one clear error for each mistake."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.compare.plan.command_line import create_parser, parse_compare_args
from engine.config.train_parser import create_parser as create_train_parser

BASE = ["--cfg", "yolov5n.yaml", "--attention", "none", "SE"]


def plan_file(folder: Path, text: str) -> str:
    (folder / "plan.yaml").write_text(text, encoding="utf-8")
    return str(folder / "plan.yaml")


def test_axes_of_the_command_line() -> None:
    places = ["--at", "neck.P3,neck.P4", "each", "--start", "paper", "identity"]
    words = [*places, "--seeds", "2", "--img", "320", "640", "--epochs", "7", "--batch", "4"]
    request = parse_compare_args([*BASE, *words])
    axes = request.axes
    assert axes.attention == ("none", "SE")
    assert axes.at == ("neck.P3,neck.P4", "each")
    assert axes.start == ("paper", "identity")
    assert axes.seeds == (0, 1)
    assert axes.imgsz == (320, 640)
    assert Path(axes.cfg[0]).name == "yolov5n.yaml"
    assert (request.shared["epochs"], request.shared["batch_size"]) == (7, 4)
    assert request.folder == Path("runs/compare/exp").resolve()


def test_seeds_are_a_number_or_a_list() -> None:
    assert parse_compare_args([*BASE, "--seeds", "3"]).axes.seeds == (0, 1, 2)
    assert parse_compare_args([*BASE, "--seeds", "4", "7"]).axes.seeds == (4, 7)


def test_flags_are_those_of_train() -> None:
    """Names, defaults and choices cannot drift apart: they are train.py's own."""
    ours = {action.dest: action for action in create_parser()._actions}
    own = {"cfg", "weights", "data", "imgsz", "attention"}
    for action in create_train_parser()._actions:
        if action.dest in ours and action.dest not in {*own, "help", "project", "name"}:
            assert ours[action.dest].option_strings == action.option_strings
            assert ours[action.dest].default == action.default
        if action.dest in own:
            assert set(action.option_strings) <= set(ours[action.dest].option_strings)


def test_plan_says_the_same_as_the_command_line(tmp_path) -> None:
    text = """
cfg: yolov5n.yaml
attention: [none, SE]
at: [neck.P3, each]
img: 320
batch-size: 4
cos_lr: true
seeds: [1, 5]
options: {SE: [{reduction: 8}, {reduction: 16}]}
"""
    planned = parse_compare_args(["--plan", plan_file(tmp_path, text)])
    words = ["--at", "neck.P3", "each", "--img", "320", "--batch", "4", "--cos-lr", "--seeds", "1", "5"]
    assert planned.shared == parse_compare_args([*BASE, *words]).shared
    assert planned.axes.at == ("neck.P3", "each")
    assert planned.axes.options == {"SE": ({"reduction": 8}, {"reduction": 16})}
    assert planned.axes.seeds == (1, 5)
    assert planned.shared["cos_lr"] is True


def test_command_line_wins_over_the_plan(tmp_path) -> None:
    file = plan_file(tmp_path, "cfg: yolov5n.yaml\nattention: [none, SE]\nepochs: 5\nbatch: 2\n")
    request = parse_compare_args(["--plan", file, "--epochs", "9", "--attention", "none", "CBAM"])
    assert (request.shared["epochs"], request.shared["batch_size"]) == (9, 2)
    assert request.axes.attention == ("none", "CBAM")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("atention: [none]", "unknown key 'atention'; did you mean attention"),
        ("seeed: 3", "unknown key 'seeed'; did you mean seeds"),
        ("seed: 4", "seed is not supported: every configuration is trained with the same --seeds"),
        ("attention_start: paper", "attention_start is not supported: here it is --start"),
        ("- none", "expected settings such as"),
        ("attention: {SE: 1}", "attention: expected a value or a list of values"),
        ("cos-lr: 3", "cos-lr: expected true or false but got 3"),
        ("epochs: [1, 2]", "epochs: expected one value, the same for every run"),
        ("attention: [SE]\ncfg: yolov5n.yaml\noptions: [SE]", "options: expected a form such as"),
        ("attention: [SE]\ncfg: yolov5n.yaml\noptions: {CBAM: {kernel_size: 3}}", "options: CBAM is not among"),
        ("a: [", "is not YAML: while parsing"),
    ],
)
def test_wrong_plans(tmp_path, text, message) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse_compare_args(["--plan", plan_file(tmp_path, text)])


@pytest.mark.parametrize(("words", "jobs"), [([], 0), (["--jobs", "auto"], 0), (["--jobs", "3"], 3)])
def test_jobs_are_a_number_or_auto(words, jobs) -> None:
    assert parse_compare_args([*BASE, *words]).jobs == jobs


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_wrong_numbers_of_jobs(capsys, value) -> None:
    with pytest.raises(SystemExit):
        parse_compare_args([*BASE, f"--jobs={value}"])
    assert "--jobs: expected auto or a number from 1" in capsys.readouterr().err


def test_a_value_of_the_wrong_kind_names_the_plan(tmp_path, capsys) -> None:
    file = plan_file(tmp_path, "attention: [none]\ncfg: yolov5n.yaml\nepochs: many\n")
    with pytest.raises(SystemExit) as error:
        parse_compare_args(["--plan", file])
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert "plan.yaml" in said
    assert "--epochs" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cfg", "yolov5n.yaml"], "--attention: expected what is to be compared"),
        (["--attention", "none"], "expected --cfg, --weights or both"),
        ([*BASE, "--weights", "missing.pt"], "missing.pt"),
        ([*BASE, "--seeds", "0"], "--seeds 0: expected a number of seeds from 1"),
        ([*BASE, "--seeds", "1", "1"], "expected different seeds"),
        ([*BASE, "--batch", "-1"], "--batch-size -1: it finds a batch of its own for every model"),
        ([*BASE, "--plan", "missing.yaml"], "--plan missing.yaml: there is no such file"),
        ([*BASE, "--hyp", "hyp.scratch-lo.yaml"], "nearest: hyp.scratch-low.yaml"),
        (["--merge", "nowhere"], "--merge nowhere: expected a folder of compare.py"),
        (["--merge", "nowhere", "--dry-run"], "--dry-run has no effect with --merge"),
        (["--merge", "nowhere", "--attention", "SE"], "--attention has no effect with --merge"),
    ],
)
def test_wrong_command_lines(words, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_compare_args(words)


@pytest.mark.parametrize(
    "flag", ["--seed", "--resume", "--noval", "--evolve", "--attention-start", "--folds", "--fold"]
)
def test_flags_that_do_not_belong_here_are_refused_by_name(flag, capsys) -> None:
    with pytest.raises(SystemExit):
        parse_compare_args([*BASE, flag])
    assert f"{flag} is not supported" in capsys.readouterr().err


def test_help_comes_at_once_and_a_mistake_before_torch(root) -> None:
    code = "import sys, compare; sys.argv = ['compare.py', '--attention', 'none']; code = compare.run_cli(compare.main)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules; sys.exit(code)"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    began = time.process_time()
    done = subprocess.run([sys.executable, "compare.py", "--help"], cwd=root, capture_output=True, text=True)
    assert "--dry-run" in done.stdout
    assert time.process_time() - began < 1


def test_a_title_is_one_line_of_text() -> None:
    assert parse_compare_args([*BASE, "--title", " SE\n and  CBAM <b> "]).title == "SE and CBAM <b>"
    assert parse_compare_args([*BASE, "--title", "  "]).title == ""
    with pytest.raises(ValueError, match=r"--title .*: expected text in UTF-8 but got other bytes"):
        parse_compare_args([*BASE, "--title", "SE \udcff"])
