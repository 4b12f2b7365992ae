"""What `torch.hub.load` gives, used as scripts use YOLOv5's `AutoShape` and `Detections`."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import hubconf

ASSETS = Path(find_spec("ultralytics").origin).parent / "assets"

# Made with the original, ultralytics/yolov5 at 5081342f0 (2026-08-21), on a CPU: AutoShape around DetectMultiBackend.
TOGETHER = [  # of a list of two images, which it pads to one shape
    [
        ("person", 216.85, 394.64, 350.83, 867.52, 0.7768),
        ("person", 51.99, 388.55, 212.28, 898.62, 0.771),
        ("bus", 36.2, 201.94, 802.04, 827.61, 0.6171),
        ("person", 683.02, 387.75, 810.0, 880.82, 0.5856),
    ],
    [
        ("person", 726.55, 44.45, 1142.25, 703.7, 0.7801),
        ("person", 164.27, 190.56, 767.5, 718.52, 0.7236),
        ("tie", 440.73, 438.05, 501.47, 720.0, 0.3107),
    ],
]
AUGMENTED = [  # at size=320
    ("person", 56.48, 394.03, 217.75, 896.0, 0.8284),
    ("person", 221.85, 397.33, 348.81, 844.7, 0.6945),
    ("bus", 9.51, 225.53, 792.56, 779.05, 0.6883),
    ("person", 686.58, 445.96, 810.0, 863.7, 0.6242),
    ("person", 89.98, 398.88, 361.76, 863.62, 0.3494),
]
# Public names of its AutoShape and Detections, without those of torch's modules.
MODEL_NAMES = [
    "agnostic",
    "amp",
    "classes",
    "conf",
    "dmb",
    "forward",
    "iou",
    "max_det",
    "model",
    "multi_label",
    "names",
    "pt",
    "stride",
    "yaml",
]
RESULT_NAMES = [
    "crop",
    "files",
    "ims",
    "n",
    "names",
    "pandas",
    "pred",
    "print",
    "render",
    "s",
    "save",
    "show",
    "t",
    "times",
    "tolist",
    "xywh",
    "xywhn",
    "xyxy",
    "xyxyn",
]


@pytest.fixture
def hub():
    return hubconf.custom("yolov5n.pt", device="cpu", _verbose=False)


@pytest.fixture(scope="module")
def results():
    return hubconf.custom("yolov5n.pt", device="cpu", _verbose=False)([ASSETS / "bus.jpg", str(ASSETS / "zidane.jpg")])


def assert_table(table, wanted):
    assert table["name"].tolist() == [row[0] for row in wanted]
    for found, row in zip(table.itertuples(index=False), wanted, strict=True):
        assert list(found)[:4] == pytest.approx(row[1:5], abs=0.5)
        assert found.confidence == pytest.approx(row[5], abs=1e-3)


def test_a_list_gives_what_the_original_gives(results):
    for table, wanted in zip(results.pandas().xyxy, TOGETHER, strict=True):
        assert_table(table, wanted)
    assert results.s == (2, 3, 640, 640)
    assert (results.n, len(results), results.files) == (2, 2, ["bus.jpg", "zidane.jpg"])


def test_augmentation_in_the_call(hub):
    found = hub(ASSETS / "bus.jpg", size=320, augment=True, profile=True)
    assert_table(found.pandas().xyxy[0], AUGMENTED)
    assert found.s == (1, 3, 320, 256)
    assert len(hub(ASSETS / "bus.jpg", size=320).xyxy[0]) != len(AUGMENTED)  # the next call is plain again


def test_all_public_names(hub, results):
    missing = [name for name in MODEL_NAMES if not hasattr(hub, name)]
    assert missing + [name for name in RESULT_NAMES if not hasattr(results, name)] == []
    assert isinstance(hub, torch.nn.Module)
    assert type(hub).__module__ == "models.common"  # sahi's adapter asks for it
    assert (hub.names[5], hub.stride, hub.nc, hub.yaml["nc"], hub.amp, hub.training) == ("bus", 32, 80, 80, False, True)


def test_times(results):
    for ms, spent in zip(results.t, results.times, strict=True):
        assert spent.t == pytest.approx(ms * 2 / 1000)
    assert str(results).endswith("per image at shape (2, 3, 640, 640)")


def test_as_a_module(hub, capsys):
    image = cv2.imread(str(ASSETS / "bus.jpg"))[..., ::-1]
    before = hub(image).xyxy[0]
    keys = list(hub.state_dict())
    assert keys[0] == "model.model.model.0.conv.weight"  # as in YOLOv5
    assert hub.to("cpu").eval().float().cpu() is hub
    assert (hub.training, next(hub.parameters()).device.type) == (False, "cpu")
    hub.half()
    assert "stay in fp32" in capsys.readouterr().err
    assert next(hub.parameters()).dtype is torch.float32
    assert torch.equal(hub(image).xyxy[0], before)
    assert sum(parameter.numel() for parameter in hub.parameters()) == 1867405  # fused
    assert torch.equal(hub.model(torch.ones(1, 3, 64, 64)), hub(torch.ones(1, 3, 64, 64)))
    assert hub.model.model.model[-1].nl == 3
    hub.names = ["thing"] * 80
    assert set(hub(image).pandas().xyxy[0]["name"]) == {"thing"}


@pytest.mark.gpu
def test_on_a_gpu(hub):
    before = hub(ASSETS / "bus.jpg").xyxy[0]
    hub.cuda()
    assert torch.allclose(hub(ASSETS / "bus.jpg").xyxy[0], before, atol=1)
    hub.half()
    assert next(hub.parameters()).dtype is torch.float16
    assert len(hub(ASSETS / "bus.jpg").xyxy[0]) == len(before)
    hub.float().amp = True
    assert len(hub(ASSETS / "bus.jpg").xyxy[0]) == len(before)
    assert torch.allclose(hub.cpu()(ASSETS / "bus.jpg").xyxy[0], before, atol=1)


def test_render_draws_on_the_images_that_are_kept(hub):
    image = np.full((64, 64, 3), 90, np.uint8)
    results = hub([cv2.imread(str(ASSETS / "bus.jpg"))[..., ::-1], image], size=320)
    plain = [one.copy() for one in results.ims]
    assert results.render(labels=False) is results.ims
    assert (results.ims[0] != plain[0]).any()
    assert (results.ims[1] == image).all()  # nothing was found
    unlabelled = results.ims[0]
    assert (results.render()[0] != unlabelled).any()


def test_saved_without_labels(results, tmp_path):
    folders = [results.save(labels, tmp_path / "out") for labels in (True, False)]
    assert folders == [tmp_path / "out", tmp_path / "out2"]
    first, second = (cv2.imread(str(folder / "bus.jpg")) for folder in folders)
    assert (first != second).any()


def test_shown_in_a_notebook(results, monkeypatch):
    import builtins
    import sys
    from types import ModuleType

    shown = []
    display = ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(builtins, "get_ipython", lambda: None, raising=False)
    results.show()
    assert [picture.size for picture in shown] == [(810, 1080), (1280, 720)]


def test_the_adapter_of_supervision(results):
    sv = pytest.importorskip("supervision")
    found = sv.Detections.from_yolov5(results)
    assert found.xyxy.shape == (4, 4)
    assert found.class_id.tolist() == [0, 0, 5, 0]


def test_what_the_adapter_of_supervision_reads(results):
    """`Detections.from_yolov5` of 0.31: columns of the first image's predictions."""
    rows = results.pred[0].cpu().cpu().numpy()
    assert rows[:, :4].shape == (4, 4)
    assert rows[:, 5].astype(int).tolist() == [0, 0, 5, 0]


def test_what_the_adapter_of_sahi_reads(hub):
    """`Yolov5DetectionModel` of 0.12: the module's name, `conf`, names and `xyxy`, on an RGB array."""
    assert type(hub).__module__ in ("yolov5.models.common", "models.common")
    hub.conf = 0.5
    assert (len(hub.names), list(hub.names.values())[5]) == (80, "bus")
    image = cv2.cvtColor(cv2.imread(str(ASSETS / "bus.jpg")), cv2.COLOR_BGR2RGB)
    (rows,) = hub(image, size=640).xyxy
    for *_, score, category in rows.cpu().detach().numpy():
        assert score > 0.5
        assert hub.names[int(category)] in ("person", "bus")


def test_without_autoshape_it_is_the_network(root):
    model = hubconf.custom("yolov5n.pt", autoshape=False, device="cpu")
    predictions, raw = model(torch.zeros(1, 3, 64, 64))
    assert (predictions.shape, len(raw), model.is_fused) == ((1, 252, 85), 3, False)
