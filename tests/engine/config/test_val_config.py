import subprocess
import sys

import pytest

from engine.config.val_config import ValConfig, build_parser, parse_config

PEER_FLAGS = [
    *("--data", "--weights", "--batch-size", "--imgsz", "--img", "--img-size", "--conf-thres", "--iou-thres"),
    *("--max-det", "--task", "--device", "--workers", "--single-cls", "--augment", "--verbose", "--save-txt"),
    *("--save-hybrid", "--save-conf", "--save-json", "--project", "--name", "--exist-ok", "--half", "--dnn"),
]


def _parse(line):
    return parse_config(["--weights", "best.pt", *line.split()])


def test_defaults_are_yolov5s():
    config = _parse("")
    assert config == ValConfig(
        weights=("best.pt",),
        data="signs.yaml",
        batch_size=32,
        imgsz=640,
        conf_thres=0.001,
        iou_thres=0.6,
        max_det=300,
        task="val",
        workers=8,
        project="runs/val",
        name="exp",
    )
    assert config.split == "val"
    assert not config.warnings


@pytest.mark.parametrize("flag", PEER_FLAGS)
def test_every_flag_of_yolov5_is_read_or_refused_by_name(flag, capsys):
    parser = build_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    if flag in known:
        return
    with pytest.raises(SystemExit) as leave:
        _parse(flag)
    assert leave.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{flag} is not supported: " in error


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--img 320", "imgsz", 320),
        ("--batch 4", "batch_size", 4),
        ("--conf-thres 0.1", "conf_thres", 0.1),
        ("--task test", "split", "test"),
        ("--task speed", "split", "val"),
        ("--task speed", "conf_thres", 0.25),
        ("--task speed", "iou_thres", 0.45),
        ("--task speed --conf-thres 0.5", "conf_thres", 0.5),
        ("--task speed", "plots", False),
        ("--noplots", "plots", False),
        ("--half", "precision", "16"),
        ("--precision bf16", "precision", "bf16"),
        ("--save-hybrid", "save_txt", True),
        ("--data coco.yaml", "save_json", True),
        ("--single-cls", "single_cls", True),
        ("--augment", "augment", True),
    ],
)
def test_flags_reach_the_config(line, field, value):
    assert getattr(_parse(line), field) == value
    assert getattr(_parse(""), field) != value or field == "split"


def test_several_weights():
    assert parse_config(["--weights", "a.pt", "b.onnx"]).weights == ("a.pt", "b.onnx")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--task vall", "--task vall: expected one of train, val, test, speed"),
        ("--conf-thres 1.2", "--conf-thres 1.2: expected a number from 0 to 1"),
        ("--iou-thres -1", "--iou-thres -1.0: expected a number from 0 to 1"),
        ("--batch-size 0", "--batch-size 0: expected at least 1"),
        ("--imgsz 0", "--imgsz 0: expected at least 1"),
        ("--max-det 0", "--max-det 0: expected at least 1"),
        ("--workers -1", "--workers -1: expected at least 0"),
        ("--half --precision bf16", "--half and --precision bf16 contradict each other"),
    ],
)
def test_mistakes(line, message):
    with pytest.raises(ValueError, match=message):
        _parse(line)


def test_flags_without_an_effect_warn(capsys):
    assert _parse("--save-conf").warnings == ("--save-conf has no effect without --save-txt",)
    assert not _parse("--task speed --save-json").save_json
    assert "note: --save-json is ignored" in capsys.readouterr().err


def test_figures_that_cannot_be_compared_are_announced():
    assert "--conf-thres 0.25 > 0.001" in _parse("--conf-thres 0.25").warnings[0]
    assert "--save-hybrid" in _parse("--save-hybrid").warnings[0]


def test_help_imports_nothing_heavy(root):
    code = (
        "import sys, val\ntry: val.main()\nfinally: print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['val.py', '--help']\n{code}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
    assert "--iou-thres" in done.stdout
