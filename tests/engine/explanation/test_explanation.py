"""Explanations of an image: gates by the modules' formulas, heat in the image's own pixels, files and page."""

import re
from urllib.parse import unquote

import numpy as np
import pytest
import torch

from data.images import letterbox, read_image
from engine import load_model
from engine.explanation import KINDS, Explainer, Explanation, usual_kinds
from engine.explanation.explainer import MOST_BOXES
from engine.explanation.gate_maps import gate_maps
from engine.explanation.gates import read_gates
from engine.inference.predictor import Detections, Prepared
from models import build_model, insert, load_spec
from models.attention import create_attention

NAMES = {0: "with_mask", 1: "戴口罩", 2: "a/b"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = build_model(insert(load_spec("yolov5n.yaml", nc=3), ["SE@neck.P4", "CoordAtt@neck.P5"])).eval()
    with torch.no_grad():  # fresh weights make gates that are the same everywhere
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)


def detections(count=2):
    boxes = np.tile(np.array([[10, 5, 60, 50], [40, 20, 90, 55]], np.float32), (count, 1))[:count]
    return Detections(boxes, np.linspace(0.9, 0.5, count, dtype=np.float32), np.arange(count) % 3)


def prepare(picture):
    return Prepared(letterbox(picture, 128, auto=True), picture.shape[:2])


def test_arrays(model, picture):
    explanation = Explainer(model, NAMES, KINDS)(prepare(picture), picture, detections(), "x.jpg")
    assert isinstance(explanation, Explanation)
    assert explanation.cams.shape == (2, 12, 16)  # 96x128 px at stride 8
    assert explanation.cam(0).shape == explanation.class_cam(1).shape == picture.shape[:2]
    assert 0 <= explanation.cams.min() <= explanation.cams.max() <= 1
    assert [(one.module, one.kind) for one in explanation.gates] == [
        ("SE", "channel"),
        ("CoordAtt", "row"),
        ("CoordAtt", "column"),
    ]
    assert set(explanation.features) >= {"00_Conv", "09_SPPF", "24_C3"}
    with pytest.raises(ValueError, match="no detection of class 2"):
        explanation.class_cam(2)


def test_a_channel_gate_is_that_of_the_formula(model, picture):
    """SE: sigmoid(W2 relu(W1 mean)) of the map that the layer read."""
    read = {}
    row = next(row for row, module in enumerate(model.model) if type(module).__name__ == "SE")
    hook = model.model[row].register_forward_pre_hook(lambda _, inputs: read.update(x=inputs[0]))
    explanation = Explainer(model, NAMES, ["gates"])(prepare(picture), picture, detections())
    hook.remove()
    gate = explanation.gates[0]
    mean = read["x"][0].mean((1, 2)).double()
    weights = [one.detach().double().flatten(1) for one in model.model[row].parameters() if one.ndim > 1]
    expected = torch.sigmoid(weights[1] @ torch.relu(weights[0] @ mean))
    np.testing.assert_allclose(gate.values, expected.numpy(), rtol=1e-4)
    order = np.argsort(gate.values, kind="stable")
    assert gate.channels == (*order[:4], *order[-4:])
    np.testing.assert_allclose(gate.channel_maps, read["x"][0][list(gate.channels)].numpy(), rtol=1e-5)


def test_an_affinity_is_asked_for_at_the_centre_of_each_detection(picture):
    torch.manual_seed(0)
    model = build_model(insert(load_spec("yolov5n.yaml", nc=3), "MHSA@neck.P5")).eval()
    with torch.no_grad():  # fresh weights make maps so flat that every position looks alike
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    explanation = Explainer(model, NAMES, ["gates"])(prepare(picture), picture, detections())
    assert [one.detection for one in explanation.gates] == [0, 1]
    first, second = (one.values for one in explanation.gates)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose([first.sum(), second.sum()], 1, rtol=1e-4)  # a softmax over positions


def test_heat_lies_in_the_pixels_of_the_image():
    """One hot cell of the network's input, found again at its place in an image that was padded and shrunk."""
    picture = np.zeros((400, 800, 3), np.uint8)
    pixels, ratio, (pad_x, pad_y) = letterbox(picture, 320)  # 160 px high between borders of 80
    heat = np.zeros((40, 40), np.float32)
    heat[20, 30] = 1  # the cell of the input's pixels 160-168 down, 240-248 right
    width, height = pixels.shape[1], pixels.shape[0]
    content = pad_x / width, pad_y / height, (pad_x + 800 * ratio) / width, (pad_y + 400 * ratio) / height
    explanation = Explanation(picture, detections(), NAMES, cams=heat[None], content_xyxy=content)
    y, x = np.unravel_index(explanation.cam(0).argmax(), (400, 800))
    assert abs(y - (164 - 80) / 0.4) <= 2
    assert abs(x - 244 / 0.4) <= 2


def test_files_and_a_page_that_names_them_all_and_nothing_else(model, picture, tmp_path):
    explanation = Explainer(model, NAMES, KINDS)(prepare(picture), picture, detections(), "a<b>.jpg")
    files = explanation.save(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    shown = set(re.findall(r'src="\./?([^"]+)"|src="([^"]+)"', page))
    names = {(one or other).removeprefix("./") for one, other in shown}
    assert {unquote(name) for name in names} <= {file.name for file in files}
    assert {"image.png", "boxes.png", "heat_00_with_mask.png", "heat_01_戴口罩.png"} <= {unquote(n) for n in names}
    assert "http" not in page.replace("http-equiv", "")
    assert "a&lt;b&gt;.jpg" in page
    assert read_image(tmp_path / "cam_00_with_mask.png").shape == picture.shape
    assert explanation.plot().shape[2] == 3


def test_image_boxes_heat_and_gates_stand_side_by_side(model, picture, tmp_path):
    """Columns of the page in this order; every heat with the box it explains, where that lies in the image."""
    explanation = Explainer(model, NAMES, usual_kinds(model))(prepare(picture), picture, detections(), "x.jpg")
    explanation.save(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    row = page[page.index('<div class="row">') : page.index("<details")]
    heads = re.findall(r"<figure>(?:<figcaption>(.*?)</figcaption>|<select[^>]*>(.*?)</select>)", row)
    options = [re.findall(r"<option>(.*?)</option>", lists) for _, lists in heads]
    assert [name for name, _ in heads[:2]] == ["image", "detections"]
    assert options[2] == ["all of with_mask", "all of 戴口罩", "with_mask 0.90", "戴口罩 0.50"]
    assert [one.split(":")[0] for one in options[3]] == ["model.21 SE", "model.25 CoordAtt"]
    layers = re.findall(r'<a class="layer (\w+)"(.*?)</a>', row)
    assert [kind for kind, _ in layers] == ["heat"] * 4 + ["bars", "heat"]
    assert [" hidden>" in text for _, text in layers] == [False, True, True, True, False, True]
    boxes = [[float(side) for side in re.findall(r'="([\d.]+)%"', text)] for _, text in layers]
    first, second = [10, 100 * 5 / 60, 50, 75], [40, 100 * 20 / 60, 50, 100 * 35 / 60]  # of 100 x 60 px
    for ours, expected in zip(boxes, [first, second, first, second, [], []], strict=True):
        np.testing.assert_allclose(ours, expected, atol=0.01)


@pytest.mark.parametrize("name", ["TripletAttention", "CoordAtt", "ELA", "ParallelPolarizedSelfAttention"])
def test_gates_together_are_drawn_as_they_act(name):
    """What is drawn first is the mean over channels of output / input, whatever the module does with its gates."""
    torch.manual_seed(0)
    layer = create_attention(name, 16).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        x = torch.rand(1, 16, 6, 9) + 0.5
        acted = (layer(x) / x)[0].mean(0)
    gates = read_gates(torch.nn.Sequential(layer), x, ())
    shown = gate_maps(Explanation(np.zeros((6, 9, 3), np.uint8), detections(0), NAMES), gates)[0]
    assert shown.values.std() > 1e-3
    np.testing.assert_allclose(shown.values, acted.numpy(), rtol=1e-4)


def test_attention_without_a_gate_is_named(picture, tmp_path):
    pytest.importorskip("timm")
    spec = load_spec("yolov5n.yaml", nc=3)
    silent = build_model(insert(spec, "Timm(layer='nl')@neck.P5"))
    with pytest.raises(ValueError, match=r"model.24 \(Timm-nl\): this attention .* has no gate to show; ask for cam"):
        Explainer(silent, NAMES, ["gates"])
    Explainer(silent, NAMES, usual_kinds(silent))(prepare(picture), picture, detections()).save(tmp_path)
    assert "No gates: model.24 (Timm-nl), which hands out none" in (tmp_path / "index.html").read_text("utf-8")
    told = build_model(insert(spec, "Timm(layer='eca')@neck.P5"))
    (gate,) = Explainer(told, NAMES, ["gates"])(prepare(picture), picture, detections()).gates
    assert (gate.module, gate.kind) == ("Timm-eca", "channel")


def test_classes_whose_names_are_alike_have_a_picture_each(model, picture, tmp_path):
    alike = {0: "a b", 1: "a/b", 2: "红" * 200}
    explanation = Explainer(model, alike)(prepare(picture), picture, detections(3))
    files = explanation.save(tmp_path)
    assert len(files) == len(set(files))
    for class_id, name in ((0, "0_a_b"), (1, "1_a_b")):
        layer = read_image(tmp_path / f"heat_class_{name}.png", 4)[..., 3]
        expected = np.rint(255 * explanation.class_cam(class_id))
        assert np.abs(layer - expected).max() <= 1


def test_a_page_without_heat_has_no_slider(model, picture, tmp_path):
    one = detections(1)
    for kind, there in (("cam", True), ("gates", True), ("features", False)):
        Explainer(model, NAMES, [kind])(prepare(picture), picture, one).save(tmp_path / kind)
        page = (tmp_path / kind / "index.html").read_text(encoding="utf-8")
        assert ("range" in page) == ("<script>" in page) == there
        assert "<p>1 detection</p>" in page


def test_many_detections_are_cut_and_it_is_said(model, picture, tmp_path):
    explanation = Explainer(model, NAMES)(prepare(picture), picture, detections(MOST_BOXES + 3))
    assert len(explanation.cams) == MOST_BOXES
    explanation.save(tmp_path)
    assert f"{MOST_BOXES + 3} detections, the {MOST_BOXES} most confident" in (tmp_path / "index.html").read_text()


def test_what_cannot_be_explained_is_refused(model):
    plain = build_model(load_spec("yolov5n.yaml", nc=3))
    with pytest.raises(ValueError, match="--attention CoordAtt@neck"):
        Explainer(plain, NAMES, ["gates"])
    with pytest.raises(ValueError, match="cam, gates, features but got 'heat'"):
        Explainer(model, NAMES, ["heat"])


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_from_python(precision, root):
    detector = load_model(root / "weights" / "yolov5n_ca_mask.pt", "cpu", precision=precision)
    detector.conf = 0.1
    image = read_image(root / "data" / "images" / "stop_sign.jpg")
    explanation = detector.explain(image[..., ::-1], imgsz=160)
    found = detector.predict(image[..., ::-1], imgsz=160)[0]
    np.testing.assert_array_equal(explanation.found.boxes_xyxy_px, found.boxes_xyxy_px[:MOST_BOXES])
    assert {one.module for one in explanation.gates} == {"CoordAtt"}
    with pytest.raises(ValueError, match="one image but got 2"):
        detector.explain([image, image])
