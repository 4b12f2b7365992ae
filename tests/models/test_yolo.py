"""The builder and the head: YOLOv5's figures, every layout, decoding, fusing, modes."""

import hashlib
import math

import pytest
import torch
from torch import nn

from models import build_model, load_spec
from models.blocks.convolutions import Conv
from models.graph.checked import checked_spec
from models.yolo import Detect, DetectionModel
from tests.support.model_layouts import ANCHORS_PX, FACTS, VARIANTS, Facts, layout, variant

PARAMETERS = {"n": 1_872_157, "s": 7_235_389, "m": 21_190_557, "l": 46_563_709, "x": 86_749_405}


def lively(model: DetectionModel) -> DetectionModel:
    """The model in eval mode with normalisations that do something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return model.eval()


def tiny(nc: int = 3, **keys: object) -> DetectionModel:
    """YOLOv5n with few classes."""
    return build_model(checked_spec({**layout("yolov5", nc), **keys}))


@pytest.mark.parametrize("size", PARAMETERS)
def test_stock_models_have_the_originals_parameters(size: str) -> None:
    with torch.device("meta"):
        model = build_model(load_spec(f"yolov5{size}.yaml"))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size]
    assert len(model.model) == 25


@pytest.mark.parametrize("name", [*FACTS, *VARIANTS])
def test_layouts_have_the_originals_tensors_and_run(name: str) -> None:
    data = layout(name) if name in FACTS else variant(name)
    model = build_model(checked_spec(data, f"{name}.yaml"))
    keys = [f"{key} {list(tensor.shape)}" for key, tensor in model.state_dict().items()]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    strides = tuple(int(s) for s in model.stride)
    assert Facts(sum(p.numel() for p in model.parameters()), len(keys), digest, strides) == {**FACTS, **VARIANTS}[name]
    assert model.stride_px == max(32, strides[-1])
    height, width = 2 * model.stride_px, model.stride_px
    images = torch.rand(1, 3, height, width)
    raw = model.eval().raw(images)
    assert [tuple(y.shape) for y in raw] == [(1, 3, height // s, width // s, 85) for s in strides]
    boxes = model(images)
    assert boxes.shape == (1, sum(3 * (height // s) * (width // s) for s in strides), 85)
    assert boxes.isfinite().all()


def test_decode_agrees_with_a_loop() -> None:
    detect = Detect(2, [[10, 13, 16, 30], [30, 61, 62, 45]], [4, 8], [8, 16])
    raw = [torch.randn(2, 2, 3, 5, 7), torch.randn(2, 2, 2, 3, 7)]
    expected = []
    for image in range(2):
        rows = []
        for level, (stride, anchors) in enumerate(((8, [(10, 13), (16, 30)]), (16, [(30, 61), (62, 45)]))):
            for a, (anchor_w, anchor_h) in enumerate(anchors):
                for y in range(raw[level].shape[2]):
                    for x in range(raw[level].shape[3]):
                        s = [1 / (1 + math.exp(-t)) for t in raw[level][image, a, y, x].tolist()]
                        cx, cy = (2 * s[0] - 0.5 + x) * stride, (2 * s[1] - 0.5 + y) * stride
                        rows.append([cx, cy, (2 * s[2]) ** 2 * anchor_w, (2 * s[3]) ** 2 * anchor_h, *s[4:]])
        expected.append(rows)
    torch.testing.assert_close(detect.decode(raw), torch.tensor(expected), rtol=1e-5, atol=1e-4)


def test_decode_of_zeros_by_hand() -> None:
    detect = Detect(1, [[10, 13]], [4], [8])
    # sigmoid(0) = 0.5: the centre of the cell, the anchor's size, even odds.
    assert detect.decode([torch.zeros(1, 1, 1, 2, 6)]).tolist() == [
        [[4.0, 4.0, 10.0, 13.0, 0.5, 0.5], [12.0, 4.0, 10.0, 13.0, 0.5, 0.5]]
    ]


def test_decode_is_fp32_whatever_the_maps() -> None:
    detect = Detect(1, [[10, 13]], [4], [8])
    assert detect.decode([torch.zeros(1, 1, 1, 2, 6, dtype=torch.bfloat16)]).dtype is torch.float32
    assert detect.decode([torch.zeros(1, 1, 1, 2, 6, dtype=torch.float64)]).dtype is torch.float64


def test_head_starts_with_rare_objects() -> None:
    detect = build_model(checked_spec(layout("yolov5", 20))).detect
    for conv, stride in zip(detect.m, (8, 16, 32), strict=True):
        bias = conv.bias.view(3, 25)
        spread = 1 / math.sqrt(conv.in_channels)  # of the convolution's own start
        assert (bias[:, 4] - math.log(8 / (640 / stride) ** 2)).abs().max() <= spread
        assert (bias[:, 5:] - math.log(0.6 / (20 - 0.99999))).abs().max() <= spread
        assert bias[:, :4].abs().max() <= spread


def test_anchors_are_in_cells() -> None:
    detect = tiny().detect
    expected = torch.tensor(ANCHORS_PX).view(3, 3, 2) / torch.tensor([8.0, 16.0, 32.0]).view(3, 1, 1)
    torch.testing.assert_close(detect.anchors, expected)
    assert "model.24.anchors" in tiny().state_dict()
    assert "model.24.stride" not in tiny().state_dict()


def test_training_gives_raw_maps_and_eval_gives_boxes() -> None:
    model, images = tiny(), torch.rand(2, 3, 64, 96)
    assert model.training
    maps = model(images)
    assert [tuple(y.shape) for y in maps] == [(2, 3, 8, 12, 8), (2, 3, 4, 6, 8), (2, 3, 2, 3, 8)]
    model.eval()
    boxes = model(images)
    torch.testing.assert_close(boxes, model.detect.decode(model.raw(images)), rtol=0, atol=0)
    assert boxes.shape == (2, 3 * (96 + 24 + 6), 8)
    assert boxes[..., 4:].ge(0).all()
    assert boxes[..., 4:].le(1).all()


def test_batched_equals_single() -> None:
    model, images = lively(tiny()), torch.rand(3, 3, 64, 64)
    singles = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), singles, rtol=1e-4, atol=1e-4)


def test_fused_gives_the_same() -> None:
    model, images = lively(tiny()), torch.rand(1, 3, 64, 64)
    expected = model(images)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert not model.is_fused
    assert model.fuse() is model
    assert model.is_fused
    assert norms > 50
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(model.fuse()(images), expected, rtol=1e-4, atol=1e-3)  # a second time changes nothing


def test_fuse_needs_eval_mode() -> None:
    with pytest.raises(ValueError, match=r"fuse\(\) needs eval mode"):
        tiny().fuse()


def test_building_leaves_the_model_as_new() -> None:
    model = tiny()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(not m.running_mean.any() and m.num_batches_tracked == 0 for m in norms)
    assert all(m.training and m.eps == 1e-3 and m.momentum == 0.03 for m in norms)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_norms_kept_in_eval_stay_there() -> None:
    model = tiny()
    norm = model.model[0].bn
    model.keep_in_eval([norm])
    assert not norm.training
    assert model.train().training
    assert not norm.training
    assert model.model[1].bn.training
    model.keep_in_eval([])
    assert norm.training
    assert model.eval().train(False).training is False


def test_activation_of_the_file_reaches_every_conv() -> None:
    model = tiny(activation="nn.LeakyReLU(0.1)")
    acts = [m.act for m in model.modules() if isinstance(m, Conv)]
    assert all(isinstance(act, nn.LeakyReLU) and act.negative_slope == 0.1 and act.inplace for act in acts)
    assert len({id(act) for act in acts}) == len(acts)
    assert all(isinstance(m.act, nn.SiLU) for m in tiny().modules() if isinstance(m, Conv))


def test_multiples_and_input_channels() -> None:
    model = tiny(width_multiple=0.3, channel_multiple=4, depth_multiple=0.67, ch=1)
    assert model.model[0].conv.in_channels == 1
    assert model.model[0].conv.out_channels == 20  # 64 * 0.3 = 19.2, up to a multiple of 4
    assert [len(model.model[i].m) for i in (2, 4, 6, 8)] == [2, 4, 6, 2]  # 3, 6, 9, 3 times 0.67, rounded
    assert model.eval()(torch.rand(1, 1, 64, 64)).shape == (1, 252, 8)


def test_a_row_as_wide_as_the_outputs_is_not_scaled() -> None:
    data = layout("yolov5", 80)
    data["head"][-2][3] = [255, False]  # 3 anchors * (80 + 5)
    assert build_model(checked_spec(data)).detect.m[2].in_channels == 255


def test_one_row_concat() -> None:
    data = layout("yolov5")
    data["head"][0] = [[-1], 1, "Concat", [1]]
    model = build_model(checked_spec(data)).eval()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 252, 85)


def test_one_detection_level() -> None:
    data = {
        "nc": 1,
        "anchors": [[10, 13]],
        "backbone": [[-1, 1, "Conv", [16, 3, 2]]],
        "head": [[[-1], 1, "Detect", ["nc", "anchors"]]],
    }
    assert build_model(checked_spec(data)).eval()(torch.rand(1, 3, 8, 8)).shape == (1, 16, 6)


def test_class_names() -> None:
    model = tiny(2)
    assert model.names == {0: "0", 1: "1"}
    model.set_names(["停车", "让行"])
    assert model.names == {0: "停车", 1: "让行"}
    model.set_names({1: "b", 0: "a"})
    assert model.names == {0: "a", 1: "b"}
    with pytest.raises(ValueError, match="expected names for the classes 0 to 1 but got"):
        model.set_names(["one"])


@pytest.mark.parametrize(
    ("row", "module", "args", "message"),
    [
        (4, "Conv", [256, 4, 1], "row 4 .*makes 9x9 cells|cannot run on"),  # an even kernel grows the map
        (5, "Conv", [512, 3, 2, 0], "cannot run on"),  # without padding the map is one cell short
        (2, "GhostBottleneck", [256, 3, 1], "row 2 .*cannot run on 32x16x16"),  # its shortcut needs equal channels
        (9, "SPPF", [1024, 4], r"row 9 \(SPPF\): \[-1, 1, SPPF, \[1024, 4\]\] cannot run on"),
        (11, "nn.Upsample", ["None", 2, "sharp"], "row 11 .*cannot run on"),
        (2, "Conv", [128, 3, 1, None, 7], "row 2 .*cannot be built: in_channels must be divisible by groups"),
    ],
)
def test_what_cannot_run_is_refused_by_its_row(row: int, module: str, args: list, message: str) -> None:
    data = layout("yolov5")
    part, index = ("backbone", row) if row < 10 else ("head", row - 10)
    data[part][index][1:] = [1, module, args]
    with pytest.raises(ValueError, match=message):
        build_model(checked_spec(data, "x.yaml"))


def test_a_block_says_which_channels_it_needs() -> None:
    data = {**layout("transformer"), "channel_multiple": 2}
    data["backbone"][8][3] = [1000]  # 250 channels, 125 inside
    with pytest.raises(
        ValueError, match=r"row 8 .*cannot be built: Expected channels divisible by the 4 heads but got 125"
    ):
        build_model(checked_spec(data))


def test_a_level_of_another_size_than_its_stride_is_refused() -> None:
    data = layout("yolov5")
    data["head"][-2] = [-1, 1, "Conv", [1024, 4, 1]]
    with pytest.raises(ValueError, match=r"row 23 .*read by Detect at stride 32, but makes 3x3 cells of 64x64 px"):
        build_model(checked_spec(data))
