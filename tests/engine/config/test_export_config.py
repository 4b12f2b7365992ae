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
        ("--simplify", "add onnx"),
        ("--opset 9 --include onnx", "--opset 9: expected 12 to 20"),
        ("--opset 13", "belongs to onnx"),
        ("--images 3", "add --int8"),
        ("--topk-all 3", "add --nms"),
        ("--workspace 2", "belongs to engine"),
        ("--workspace 0 --include engine", "more than 0"),
        ("--conf-thres 2 --nms", "a number from 0 to 1"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(ValueError, match=message):
        parse_words(words)


def test_flags_of_yolov5_that_are_refused_say_why(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_config(["--keras"])
    assert "--keras is not supported: TensorFlow" in capsys.readouterr().err
