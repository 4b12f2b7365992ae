import pytest

from engine.config.export_config import UNSUPPORTED_FORMATS, parse_config

DATA = ["--data", "x.yaml"]


def parse_words(line):
    return parse_config(line.split())


def test_defaults_and_flags():
    assert parse_config([]).include == ("torchscript",)
    config = parse_words("--include onnx,ov torchscript onnx --imgsz 320 640 --dynamic --opset 16 --simplify")
    assert config.include == ("onnx", "openvino", "torchscript")
    assert (config.imgsz, config.dynamic, config.opset, config.simplify) == ((320, 640), True, 16, True)
    config = parse_config(["--include", "openvino", "--int8", "--images", "7", *DATA])
    assert (config.int8, config.images, config.data) == (True, 7, "x.yaml")
    config = parse_words("--nms --topk-all 5 --conf-thres 0.4 --iou-thres 0.6")
    assert (config.nms, config.topk_all, config.conf_thres, config.iou_thres) == (True, 5, 0.4, 0.6)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_FORMATS))
def test_formats_that_are_not_written_say_what_to_do(name):
    with pytest.raises(ValueError, match=rf"--include {name} is not supported; write \w+"):
        parse_config(["--include", "onnx", name])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--include onx", "expected one of torchscript, onnx, openvino, engine"),
        ("--imgsz 0", "--imgsz 0: expected at least 1"),
        ("--imgsz 1 2 3", "height and width"),
        ("--half --int8 --include openvino --data x", "contradict"),
        ("--int8 --include onnx --data x", "not for onnx"),
        ("--int8 --include openvino", "give the data set with --data"),
        ("--nms --dynamic", "contradict"),
        ("--opset 9 --include onnx", "--opset 9: expected 12 to 20"),
        ("--workspace 0 --include engine", "more than 0"),
        ("--conf-thres 2 --nms", "a number from 0 to 1"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(ValueError, match=message):
        parse_words(words)


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        ("--opset 13", "--opset has no effect without --include onnx"),
        ("--images 3", "--images has no effect without --int8"),
        ("--topk-all 3", "--topk-all has no effect without --nms"),
        ("--workspace 2", "--workspace has no effect without --include engine"),
        ("--simplify", "--simplify has no effect without --include onnx"),
    ],
)
def test_flags_without_an_effect_warn(words, warning):
    assert parse_words(words).warnings == (warning,)


def test_flags_with_an_effect_do_not_warn():
    given = "--opset 13 --simplify --workspace 2 --topk-all 3 --nms --include onnx torchscript openvino"
    assert parse_words(given).warnings == ("--workspace has no effect without --include engine",)
    assert not parse_words("--int8 --images 3 --include openvino --data signs").warnings


def test_flags_of_yolov5_that_are_refused_say_why(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_config(["--train"])
    assert "--train is not supported: files are exported for inference" in capsys.readouterr().err


def test_flags_of_yolov5_that_change_no_file_are_left_aside(capsys):
    assert parse_config(["--keras", "--verbose", "--cache", "--include", "onnx"]).include == ("onnx",)
    err = capsys.readouterr().err
    assert "note: --keras is ignored: TensorFlow" in err
    assert err.count("\n") == 3
