import pytest

from engine.config.detect_config import DetectConfig, parse_config


def test_defaults_are_yolov5s():
    config = parse_config([])
    assert config.weights == ("weights/yolov5n.pt",)
    assert config.source.endswith("data/images")
    assert (config.imgsz, config.conf_thres, config.iou_thres, config.max_det) == ((640, 640), 0.25, 0.45, 1000)
    assert (config.project, config.name, config.line_thickness, config.vid_stride) == ("runs/detect", "exp", 3, 1)
    assert (config.precision, config.saves, config.draws) == ("auto", True, True)


@pytest.mark.parametrize("flag", ["--imgsz", "--img", "--img-size"])
def test_sizes(flag):
    assert parse_config([flag, "320"]).imgsz == (320, 320)
    assert parse_config([flag, "320", "640"]).imgsz == (320, 640)
    with pytest.raises(ValueError, match="one number, or height and width"):
        parse_config([flag, "1", "2", "3"])


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--save-txt", "save_txt", True),
        ("--save-csv", "save_csv", True),
        ("--save-json", "save_json", "results"),
        ("--save-json labelstudio", "save_json", "labelstudio"),
        ("--save-crop", "save_crop", True),
        ("--nosave", "nosave", True),
        ("--view-img", "view_img", True),
        ("--agnostic-nms", "agnostic_nms", True),
        ("--exist-ok", "exist_ok", True),
        ("--hide-labels", "hide_labels", True),
        ("--hide-conf", "hide_conf", True),
        ("--half", "precision", "16"),
        ("--precision bf16", "precision", "bf16"),
        ("--classes 0 stop", "classes", ("0", "stop")),
        ("--source 0", "source", "0"),
        ("--device cpu", "device", "cpu"),
        ("--project p", "project", "p"),
        ("--name n", "name", "n"),
        ("--data mask.yaml", "data", "mask.yaml"),
        ("--weights a.pt b.onnx", "weights", ("a.pt", "b.onnx")),
        ("--augment", "augment", True),
        ("--dnn", "dnn", True),
        ("--conf-thres 0.5", "conf_thres", 0.5),
        ("--iou-thres 0.5", "iou_thres", 0.5),
        ("--max-det 5", "max_det", 5),
        ("--line-thickness 1", "line_thickness", 1),
        ("--vid-stride 2", "vid_stride", 2),
        ("--batch-size 2", "batch_size", 2),
        ("--save-txt --save-conf", "save_conf", True),
        ("--save-txt --save-format 1", "save_format", 1),
    ],
)
def test_flags(words, field, value):
    assert getattr(parse_config(words.split()), field) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--conf-thres 2", "--conf-thres 2.0: expected a number from 0 to 1"),
        ("--iou-thres -1", "--iou-thres -1.0"),
        ("--max-det 0", "--max-det 0: expected at least 1"),
        ("--vid-stride 0", "--vid-stride 0"),
        ("--batch-size 0", "--batch-size 0"),
        ("--line-thickness 0", "--line-thickness 0"),
        ("--imgsz 0", "--imgsz 0"),
        ("--save-txt --save-format 2", "--save-format 2"),
        ("--half --precision 32", "contradict"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(ValueError, match=message):
        parse_config(words.split())


def test_flags_without_an_effect_warn(capsys):
    config = parse_config(["--save-conf", "--save-format", "1", "--update"])
    assert config.warnings == tuple(
        f"{flag} has no effect without --save-txt" for flag in ("--save-conf", "--save-format")
    )
    assert "note: --update is ignored: " in capsys.readouterr().err
    assert not parse_config(["--save-conf", "--save-txt"]).warnings


def test_what_is_saved_and_drawn():
    assert not DetectConfig(nosave=True).saves
    assert DetectConfig(nosave=True, save_csv=True).saves
    assert not DetectConfig(nosave=True).draws
    assert DetectConfig(nosave=True, view_img=True).draws
