"""`load_model(...).predict(...)` and torch.hub, on every kind of image."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image

from data.images import read_image
from data.sources.frame import Frame, Trouble
from engine import load_model
from engine.detection.results import Result


@pytest.fixture(scope="module")
def street(root):
    return root / "data" / "images" / "drawn" / "street_1.jpg"


@pytest.fixture(scope="module")
def detector(root):
    return load_model(root / "weights" / "yolov5n_ca_signs.pt")


@pytest.fixture(scope="module")
def expected(detector, street):
    results = detector.predict(str(street), imgsz=320)
    assert len(results) == 1
    assert len(results[0]) >= 2
    return results[0]


def test_every_kind_of_image_gives_the_same(detector, expected, street):
    rgb = read_image(street)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    kinds = [street, cv2.imread(str(street)), Image.open(street), tensor, tensor.float() / 255, str(street)]
    for result in detector.predict(kinds, imgsz=320):
        assert_allclose(result.boxes_xyxy_px, expected.boxes_xyxy_px, atol=0.01)
        assert_allclose(result.confidences, expected.confidences, atol=1e-5)
        assert result.class_ids.tolist() == expected.class_ids.tolist()
    batch = torch.stack([tensor, tensor])
    assert len(detector.predict(batch, imgsz=320)) == 2
    assert len(detector.predict(cv2.imread(str(street), cv2.IMREAD_GRAYSCALE), imgsz=320)) == 1


def test_a_folder(detector, street):
    paths = [result.path for result in detector.predict(str(street.parent), imgsz=(64, 64))]
    assert paths == sorted(map(str, street.parent.glob("*.jpg")))


def test_boxes_in_four_formats_and_tables(expected):
    height, width = expected.image.shape[:2]
    assert_allclose(expected.boxes_xyxy_norm * [width, height, width, height], expected.boxes_xyxy_px, rtol=1e-5)
    x1, y1, x2, y2 = expected.boxes_xyxy_px[0]
    assert_allclose(expected.boxes_cxcywh_px[0], [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], rtol=1e-5)
    sides = [width, height, width, height]
    assert_allclose(expected.boxes_cxcywh_norm[0], expected.boxes_cxcywh_px[0] / sides, rtol=1e-5)
    table = expected.pandas()
    assert list(table.columns) == ["xmin", "ymin", "xmax", "ymax", "confidence", "class", "name"]
    assert_allclose(table[["xmin", "ymax"]].iloc[0], [x1, y2])
    assert table["name"].tolist() == expected.class_names
    assert list(expected.pandas("xywh", normalised=True).columns)[:4] == ["xcenter", "ycenter", "width", "height"]
    with pytest.raises(ValueError, match="xyxy or xywh"):
        expected.pandas("ltwh")


def test_plot_and_save(expected, tmp_path):
    plain = expected.image.copy()
    assert (expected.plot() != plain).any()
    assert (expected.image == plain).all()
    assert expected.save(tmp_path / "sub") == tmp_path / "sub" / "street_1.jpg"
    assert expected.save(tmp_path / "x.png").is_file()
    assert read_image(tmp_path / "x.png").shape == plain.shape


def test_nothing_found(expected):
    image = np.zeros((4, 6, 3), np.uint8)
    none = Result(image, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), {0: "a"}, "x.jpg")
    assert (str(none), len(none), none.boxes_cxcywh_norm.shape) == ("x.jpg: 4x6 (no detections)", 0, (0, 4))
    assert len(none.pandas()) == 0
    assert (none.plot() == image).all()


def test_the_package_behind_the_tables_is_one_that_a_user_installs(root):
    assert "pandas" in [line.partition(">")[0] for line in (root / "requirements.txt").read_text().splitlines()]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.jpg", "no such file"),
        (3.5, "but got a float"),
        (np.zeros((2, 2, 3)), "float64"),
        (torch.zeros(2, 2), r"\(3, H, W\)"),
        (torch.full((3, 4, 4), 255.0), "divide pixels by 255"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "0, 4, 3"),
        (torch.zeros(3, 0, 4), "3, 0, 4"),
    ],
)
def test_mistakes(detector, source, message):
    with pytest.raises(ValueError, match=message):
        detector.predict(source)


def test_what_would_be_ignored_or_never_end_is_refused(detector, street, monkeypatch):
    with pytest.raises(ValueError, match="imgsz"):
        detector.predict(street, imgsz=0)
    with pytest.raises(AttributeError, match="conf_thres"):
        detector.conf_thres = 0.5

    class Camera:
        live = True

        def close(self):
            self.live = None

    camera = Camera()
    monkeypatch.setattr("engine.detection.given_images.open_source", lambda text: camera)
    with pytest.raises(ValueError, match="never end"):
        detector.predict("0")
    assert camera.live is None


def test_what_a_video_cut_short_still_has(detector, street, monkeypatch, tmp_path):
    class Cut:
        live = False

        def __iter__(self):
            yield from (Frame(read_image(street), "a.mp4", "a", ".mp4", "video", "", n) for n in (1, 2))
            yield Trouble("a.mp4", "the file is cut short", partial=True)

        def close(self):
            pass

    monkeypatch.setattr("engine.detection.given_images.open_source", lambda text: Cut())
    with pytest.warns(UserWarning, match=r"a\.mp4: the file is cut short"):
        results = detector.predict("a.mp4", imgsz=64)
    assert sorted(path.name for path in results.save(save_dir=tmp_path / "exp").glob("*.jpg")) == ["a.jpg", "a_2.jpg"]


def test_sixteen_bit_pillow_images_are_not_clipped(detector, tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), np.full((40, 40), 0x4080, np.uint16))
    (result,) = detector.predict(Image.open(tmp_path / "x.png"), imgsz=64)
    assert (result.image == 0x40).all()


def test_several_labels_for_one_box(detector, street):
    try:
        detector.multi_label, detector.conf = True, 0.001
        several = detector.predict(street, imgsz=320)[0]
        detector.multi_label = False
        single = detector.predict(street, imgsz=320)[0]
    finally:
        detector.multi_label, detector.conf = False, 0.25
    assert len(several) > len(single)


def test_thresholds_may_be_set_at_any_time(root, street, expected):
    detector = load_model(root / "weights" / "yolov5n_ca_signs.pt")
    detector.conf = float(expected.confidences[0]) - 1e-4
    assert len(detector.predict(street, imgsz=320)[0]) == 1
    detector.conf, detector.max_det = 0.25, 2
    assert len(detector.predict(street, imgsz=320)[0]) == 2
    detector.max_det, detector.classes = 1000, [int(expected.class_ids[-1])]
    assert set(detector.predict(street, imgsz=320)[0].class_ids) == {expected.class_ids[-1]}


def test_torch_hub(root, street, tmp_path):
    weights = str(root / "weights" / "yolov5n_ca_signs.pt")
    expected = load_model(weights, precision="32").predict(str(street), imgsz=320)[0]  # as YOLOv5's hub
    hub = torch.hub.load(str(root), "custom", path=weights, source="local", _verbose=False)
    rgb = cv2.imread(str(street))[..., ::-1]  # YOLOv5's hub models take RGB
    results = hub([rgb, str(street)], size=320)
    for table in results.xyxy:
        assert_allclose(table[:, :4], expected.boxes_xyxy_px, atol=0.01)
    assert_allclose(results.xywhn[0][:, :4], expected.boxes_cxcywh_norm, atol=1e-4)
    assert results.pandas().xyxy[1]["name"].tolist() == expected.class_names
    assert "street_1.jpg: " in str(results)
    assert "Speed: " in str(results)
    assert len(results.render()) == len(results.ims) == len(results.xywh) == len(results.xyxyn) == 2
    assert (results.n, results.files) == (2, ["image0.jpg", "street_1.jpg"])
    assert [len(one.xyxy) for one in results.tolist()] == [1, 1]
    assert (results.tolist()[1].xyxy[0] == results.xyxy[1]).all()
    assert results.t == results.times_ms
    folder = results.save(save_dir=tmp_path / "exp")
    assert sorted(path.name for path in folder.glob("*.*g")) == ["image0.jpg", "street_1.jpg"]
    crops = results.crop(save_dir=tmp_path / "crops")
    assert [crop["label"].rsplit(" ", 1)[0] for crop in crops] == expected.class_names[::-1] * 2  # YOLOv5's order
    x1, y1, x2, y2 = map(float, crops[0]["box"])
    width, height = 1.02 * (x2 - x1) + 10, 1.02 * (y2 - y1) + 10  # YOLOv5's margin
    left, top = max(int((x1 + x2 - width) / 2), 0), max(int((y1 + y2 - height) / 2), 0)
    wanted = rgb[top : int((y1 + y2 + height) / 2), left : int((x1 + x2 + width) / 2), ::-1]
    assert (crops[0]["im"] == wanted).all()
    written = {path.relative_to(tmp_path / "crops" / "crops") for path in (tmp_path / "crops").rglob("*.jpg")}
    assert len(written) == len(crops)
    assert Path(expected.class_names[0], "street_1.jpg") in written
    assert len(results.crop(save=False)) == len(crops)
    raw = hub(torch.zeros(1, 3, 64, 64))
    assert raw.shape == (1, 252, 5 + len(hub.names))


def test_torch_hub_stock_models(root):
    model = torch.hub.load(str(root), "yolov5n", source="local", pretrained=False, classes=3)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 252, 8)
    plain = torch.hub.load(str(root), "yolov5n", source="local", pretrained=False, classes=3, autoshape=False)
    assert (plain.nc, plain.training) == (3, False)
    with pytest.raises(ValueError, match="unknown option 'autoshap'"):
        torch.hub.load(str(root), "yolov5n", source="local", pretrained=False, autoshap=True)
