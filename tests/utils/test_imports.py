"""Scripts that people write for YOLOv5, with its imports: the same figures as through this project's own doors."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import utils
from data.images import read_image
from engine import load_model
from models.common import AutoShape, DetectMultiBackend
from models.experimental import attempt_load
from utils.augmentations import letterbox
from utils.dataloaders import IMG_FORMATS, VID_FORMATS, LoadImages, LoadStreams
from utils.general import (
    LOGGER,
    Profile,
    check_img_size,
    check_requirements,
    clip_boxes,
    increment_path,
    make_divisible,
    non_max_suppression,
    scale_boxes,
    scale_coords,
    xywh2xyxy,
    xywhn2xyxy,
    xyxy2xywh,
    xyxy2xywhn,
)
from utils.metrics import box_iou
from utils.plots import Annotator, colors, save_one_box
from utils.torch_utils import select_device, smart_inference_mode, time_sync

ASSETS = Path(find_spec("ultralytics").origin).parent / "assets"


@pytest.fixture(scope="module")
def weights(root):
    return root / "weights" / "yolov5n.pt"


@pytest.fixture(scope="module")
def expected(weights):
    """Of this project's own door, whose boxes tests/engine/inference/test_stock_weights.py holds against YOLOv5's."""
    found = load_model(weights, "cpu", precision="32").predict([ASSETS / "bus.jpg", ASSETS / "zidane.jpg"])
    return {Path(one.path).name: one for one in found}


@smart_inference_mode()
def detect(model, source, stride, **options):
    """The loop of a script after YOLOv5's detect.py."""
    found, clocks = {}, (Profile(), Profile())
    dataset = LoadImages(source, img_size=check_img_size((640, 640), s=stride), stride=stride, auto=True)
    for path, im, im0s, vid_cap, s in dataset:
        assert vid_cap is None
        assert s.startswith("image ")
        with clocks[0]:
            im = torch.from_numpy(im).to(select_device("cpu")).float() / 255
            im = im[None] if im.ndim == 3 else im
        with clocks[1]:
            pred = model(im, **options)
        det = non_max_suppression(pred, 0.25, 0.45, None, False, max_det=1000)[0]
        assert scale_coords is scale_boxes
        det[:, :4] = scale_boxes(im.shape[2:], det[:, :4], im0s.shape)
        found[Path(path).name] = det
    assert (len(dataset), dataset.nf, dataset.mode) == (2, 2, "image")
    assert clocks[1].t > clocks[1].dt > 0
    return found


def assert_found(found, expected):
    assert sorted(found) == sorted(expected)
    for name, rows in found.items():
        assert_allclose(rows[:, :4], expected[name].boxes_xyxy_px, atol=0.02)
        assert_allclose(rows[:, 4], expected[name].confidences, atol=1e-4)
        assert rows[:, 5].tolist() == expected[name].class_ids.tolist()


def test_a_script_with_the_backend(weights, expected):
    model = DetectMultiBackend(weights, device=torch.device("cpu"), dnn=False, data=None, fp16=False)
    assert (model.stride, model.names[5], model.pt, model.jit, model.onnx) == (32, "bus", True, False, False)
    model.warmup(imgsz=(1, 3, 640, 640))
    assert_found(detect(model, ASSETS, model.stride, augment=False, visualize=False), expected)
    with pytest.raises(ValueError, match="expected False"):
        model(torch.zeros(1, 3, 64, 64), visualize=True)
    predictions, raw = model(torch.zeros(1, 3, 64, 64))
    assert predictions.shape == (1, 252, 85)
    assert [level.shape for level in raw] == [(1, 3, 8, 8, 85), (1, 3, 4, 4, 85), (1, 3, 2, 2, 85)]


def test_a_script_with_attempt_load(weights, expected):
    model = attempt_load(weights, device="cpu")
    names = model.module.names if hasattr(model, "module") else model.names
    assert (names[0], int(model.stride.max()), model.nc, model.yaml["nc"]) == ("person", 32, 80, 80)
    assert next(iter(model.state_dict())) == "model.0.conv.weight"
    assert model.model[-1].nl == 3
    assert_found(detect(model, str(ASSETS / "*.jpg"), int(model.stride.max()), augment=False), expected)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (plain, raw), (wide, none) = model(images), model(images, augment=True)
    assert plain.shape[1] < wide.shape[1]
    assert none is None
    assert [tuple(level.shape) for level in model.train()(images)] == [tuple(level.shape) for level in raw]


def test_several_weights(weights, root, expected):
    model = attempt_load([weights, str(weights)])
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64))[0].shape == (1, 504, 85)
    assert_found(detect(model, ASSETS, int(model.stride.max())), expected)  # doubles are suppressed
    with pytest.raises(ValueError, match="same classes"):
        attempt_load([weights, root / "weights" / "yolov5n_ca_signs.pt"])


def test_an_exported_file(weights, tmp_path, expected):
    import export

    own = tmp_path / "n.pt"
    own.symlink_to(weights)
    (file,) = export.run(weights=own, include=["torchscript"], imgsz=(64, 64), dynamic=True)
    model = DetectMultiBackend(file, device="cpu")
    assert (model.pt, model.jit, model.names[5]) == (False, True, "bus")
    assert_found(detect(model, ASSETS, model.stride), expected)
    with pytest.raises(ValueError, match=r"needs the \.pt file"):
        model(torch.zeros(1, 3, 64, 64), augment=True)


def test_a_hub_model_around_what_was_loaded(weights, expected):
    for model in (attempt_load(weights), DetectMultiBackend(weights)):
        (table,) = AutoShape(model)(ASSETS / "bus.jpg").xyxy
        assert_found({"bus.jpg": table}, {"bus.jpg": expected["bus.jpg"]})
    with pytest.raises(ValueError, match="but got a Conv2d"):
        AutoShape(torch.nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_boxes(kind):
    corners = kind([[10.0, 20.0, 50.0, 80.0, 0.5, 3.0]])
    assert xyxy2xywh(corners).tolist() == [[30, 50, 40, 60, 0.5, 3]]
    assert xywh2xyxy(xyxy2xywh(corners)).tolist() == corners.tolist()
    assert_allclose(xyxy2xywhn(corners[:, :4], w=100, h=200), [[0.3, 0.25, 0.4, 0.3]])
    assert_allclose(xywhn2xyxy(kind([[0.3, 0.25, 0.4, 0.3]]), 100, 200, padw=1, padh=2), [[11, 22, 51, 82]], rtol=1e-6)
    clip_boxes(corners, (60, 40, 3))
    assert corners[0, :4].tolist() == [10, 20, 40, 60]
    # 1280x720 at 640x384: half the size, 12 px of border above
    boxes = kind([[0.0, 12.0, 320.0, 192.0], [-9.0, 0.0, 700.0, 384.0]])
    assert scale_boxes((384, 640), boxes, (720, 1280, 3)) is boxes
    assert boxes.tolist() == [[0, 0, 640, 360], [0, 0, 1280, 720]]
    boxes = scale_boxes((64, 64), kind([[8.0, 8.0, 40.0, 40.0]]), (100, 100), ratio_pad=((2, 2), (4, 0)))
    assert boxes.tolist() == [[2, 4, 18, 20]]


def test_overlaps_and_suppression():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0]])
    assert_allclose(box_iou(boxes, boxes), [[1, 1 / 3], [1 / 3, 1]], rtol=1e-6)
    rows = torch.tensor([[[5.0, 5.0, 10.0, 10.0, 0.9, 0.9, 0.1], [5.0, 5.0, 10.0, 9.0, 0.8, 0.2, 0.9]]])
    assert len(non_max_suppression(rows)[0]) == 2
    assert len(non_max_suppression((rows, None), agnostic=True)[0]) == 1
    assert len(non_max_suppression(rows, classes=[1])[0]) == 1
    with pytest.raises(ValueError, match="nm=32"):
        non_max_suppression(rows, nm=32)


def test_sizes_and_paths(tmp_path, capsys):
    assert (make_divisible(33, 8), make_divisible(64, torch.tensor([8.0, 32.0]))) == (40, 64)
    assert (check_img_size(640, 32), check_img_size((600, 320), s=64), check_img_size(8, 32, floor=96)) == (
        640,
        [640, 320],
        96,
    )
    assert "600" in capsys.readouterr().err
    assert increment_path(tmp_path / "exp") == tmp_path / "exp"
    for wanted in ("exp", "exp2", "exp3"):
        assert increment_path(tmp_path / "exp", mkdir=True) == tmp_path / wanted
        assert (tmp_path / wanted).is_dir()
    assert increment_path(tmp_path / "exp", sep="-") == tmp_path / "exp-2"
    assert increment_path(tmp_path / "exp", exist_ok=True) == tmp_path / "exp"
    (tmp_path / "a.v.txt").touch()
    assert increment_path(tmp_path / "a.v.txt") == tmp_path / "a.v2.txt"
    assert select_device(torch.device("cpu")) == select_device("cpu", batch_size=4) == torch.device("cpu")
    assert "jpg" in IMG_FORMATS
    assert "mp4" in VID_FORMATS
    assert LOGGER.name == "yolov5"
    assert time_sync() <= time_sync()
    check_requirements(exclude=("thop",))


def test_letterbox_is_yolov5s():
    image = np.full((720, 1280, 3), 7, np.uint8)
    fitted, ratio, border = letterbox(image, 640, stride=32)
    assert (fitted.shape, ratio, border) == ((384, 640, 3), (0.5, 0.5), (0, 12))
    assert (fitted[:12] == 114).all()
    assert (fitted[12:-12] == 7).all()
    assert letterbox(image, (640, 640), auto=False)[0].shape == (640, 640, 3)
    assert letterbox(image[:100, :100], 640, scaleup=False, auto=False)[1] == (1, 1)
    with pytest.raises(ValueError, match="scaleFill False"):
        letterbox(image, scaleFill=True)


def test_drawing_and_crops(tmp_path):
    image = np.zeros((120, 160, 3), np.uint8)
    annotator = Annotator(image, line_width=2, example="sign знак")
    assert colors(3, True) == colors(3)[::-1]
    annotator.box_label(torch.tensor([20.0, 40.0, 90.0, 100.0]), "знак 0.91", color=colors(3, True))
    drawn = annotator.result()
    assert drawn is annotator.im
    assert tuple(drawn[70, 20]) == colors(3, True)
    assert drawn[40:100, 30:80].any()  # a label, within the picture
    assert not drawn[60:95, 25:85].any()
    annotator.rectangle((100, 100, 110, 110), fill=(1, 2, 3))
    annotator.text((100, 60), "a")
    assert tuple(drawn[105, 105]) == (1, 2, 3)
    with pytest.raises(ValueError, match="contiguous"):
        Annotator(image[..., ::-1])
    with pytest.raises(ValueError, match="masks"):
        annotator.masks([])
    picture = np.arange(120 * 160 * 3, dtype=np.uint32).astype(np.uint8).reshape(120, 160, 3)
    for name in ("crop.jpg", "crop2.jpg"):
        crop = save_one_box(
            torch.tensor([50.0, 50.0, 100.0, 90.0]), picture, file=tmp_path / "x" / "crop.jpg", BGR=True
        )
        assert read_image(tmp_path / "x" / name).shape == crop.shape == (51, 61, 3)
    assert (crop == picture[44:95, 44:105]).all()
    assert (save_one_box((50, 50, 100, 90), picture, save=False) == crop[..., ::-1]).all()


def write_video(path, frames, value):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(frames):
        writer.write(np.full((48, 64, 3), (value, 0, 0), np.uint8))  # blue
    writer.release()
    return path


def test_videos_and_streams(tmp_path, capsys):
    first, second = write_video(tmp_path / "a.avi", 3, 200), write_video(tmp_path / "b.avi", 2, 90)
    items = list(LoadImages([str(second), str(first)], img_size=64, vid_stride=1))
    assert [Path(path).name for path, *_ in items] == ["a.avi"] * 3 + ["b.avi"] * 2
    _, image, original, capture, _ = items[0]
    assert (image.shape, original.shape) == ((3, 64, 64), (48, 64, 3))
    assert (original[24, 32, 0], image[2, 32, 32]) == pytest.approx((200, 200), abs=3)  # BGR and RGB
    sizes = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    assert [capture.get(one) for one in sizes] == [10, 64, 48]
    (tmp_path / "list.streams").write_text(f"{first}\n{second}\n")
    batches = list(LoadStreams(str(tmp_path / "list.streams"), img_size=64))
    assert [len(originals) for _, _, originals, _, _ in batches] == [2, 2, 2]
    sources, images, originals, none, text = batches[0]
    assert [Path(one).name for one in sources] == ["a.avi", "b.avi"]
    assert (images.shape, none, text) == ((2, 3, 64, 64), None, "")
    assert [int(one[24, 32, 0]) for one in originals] == pytest.approx([200, 90], abs=3)
    (tmp_path / "broken.jpg").write_text("no image")
    assert list(LoadImages(tmp_path / "broken.jpg")) == []
    assert "broken.jpg" in capsys.readouterr().err
    with pytest.raises(ValueError, match="gone"):
        LoadImages(str(tmp_path / "gone.jpg"))


def test_every_name_of_the_table_is_there():
    rows = re.findall(r"^\| (`[\w., `]+`) \| (.*) \|$", utils.__doc__, re.MULTILINE)
    assert len(rows) == 8
    for places, names in rows:
        for place in re.findall(r"`([\w.]+)`", places):
            for name in re.findall(r"`(\w+)`", names):
                assert getattr(import_module(place), name) is not None
    with pytest.raises(ImportError, match="strip_optimizer"):
        from utils.general import strip_optimizer  # noqa: F401
    for place in ("utils.general", "models.experimental", "models.common"):
        with pytest.raises(AttributeError, match="no 'nothing'"):
            import_module(place).nothing  # noqa: B018


def test_imports_wait_for_what_is_asked(root):
    code = (
        "import sys, utils, utils.general, utils.plots, utils.dataloaders, utils.torch_utils, models.experimental\n"
        "from utils.general import increment_path, check_img_size\n"
        "print([name for name in ('torch', 'lightning', 'matplotlib', 'ultralytics') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_is_thin(root):
    files = [*(root / "utils").glob("*.py"), root / "models" / "experimental.py"]
    assert sum(len(file.read_text().splitlines()) for file in files) <= 150
