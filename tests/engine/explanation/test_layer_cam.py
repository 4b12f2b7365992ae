"""LayerCAM of single boxes, against the paper's equations written slowly."""

import numpy as np
import pytest
import torch
import yaml

from engine.explanation.layer_cam import cam_rows, layer_cam, layer_cams, merge_levels
from models import build_model, insert, load_spec
from tests.support.model_layouts import layout


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = build_model(insert(load_spec("yolov5n.yaml", nc=3), "CoordAtt@neck.P3,neck.P5")).eval()
    with torch.no_grad():  # fresh weights say nothing: every class the same, every map flat
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


def slow_cam(activation, gradient):
    """Equations 4 to 6, position by position."""
    channels, height, width = activation.shape
    cam = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            cam[i, j] = max(0.0, sum(max(0.0, gradient[k, i, j]) * activation[k, i, j] for k in range(channels)))
    return cam


def test_equations_4_to_6():
    generator = np.random.default_rng(0)
    a, g = generator.normal(size=(2, 5, 4, 3))
    ours = layer_cam(torch.from_numpy(a)[None], torch.from_numpy(g)[None])
    np.testing.assert_allclose(ours.numpy(), slow_cam(a, g), rtol=1e-6)
    assert (slow_cam(a, g) == 0).any()
    assert (slow_cam(a, g) > 0).any()


def test_levels_are_scaled_by_the_largest_of_all_and_merged_by_the_maximum():
    fine = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    coarse = torch.tensor([[0.5]])
    scaled = np.maximum(np.tanh(2 * fine.numpy() / 4), np.tanh(2 * 0.5 / 4))
    np.testing.assert_allclose(merge_levels([fine, coarse], (2, 2)).numpy(), scaled / scaled.max(), rtol=1e-6)
    assert merge_levels([torch.zeros(2, 2)], (4, 4)).eq(0).all()


def test_the_maps_are_those_where_the_neck_begins(model):
    assert cam_rows(model) == [4, 6, 9]  # backbone.P3, backbone.P4, the pooling
    assert cam_rows(build_model(load_spec("yolov5n.yaml", nc=1))) == [4, 6, 9]


@pytest.mark.parametrize(("name", "rows"), [("p2", [2, 4, 6, 9]), ("p34", [4, 6, 9]), ("fpn", [4, 6, 9])])
def test_the_maps_of_other_graphs(name, rows, tmp_path):
    file = tmp_path / "layout.yaml"
    file.write_text(yaml.safe_dump(layout(name, 1)))
    assert cam_rows(build_model(load_spec(file))) == rows


def test_the_heat_of_a_box_is_that_of_its_own_confidence(model):
    """The gradient by finite differences at a few places of one map, the rest by the slow equations."""
    torch.manual_seed(1)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        predictions = model(images)[0]
    chosen = int((predictions[:, 4] * predictions[:, 6]).argmax())
    centre, half = predictions[chosen, :2], predictions[chosen, 2:4] / 2
    box = torch.cat((centre - half, centre + half)).clamp(0, 32)
    ours = layer_cams(model, images, box[None], torch.tensor([1]))[0]

    double = build_model(model.spec).double().eval()
    double.load_state_dict(model.state_dict())
    maps: dict[int, torch.Tensor] = {}
    hooks = [
        double.model[row].register_forward_hook(lambda _, __, y, row=row: maps.setdefault(row, y)) for row in (4, 6, 9)
    ]
    with torch.no_grad():
        double(images.double())
    for hook in hooks:
        hook.remove()
    cams = [torch.from_numpy(slow_cam(maps[row][0].numpy(), finite(double, images, row, maps, chosen))) for row in maps]
    expected = merge_levels([cam.float() for cam in cams], (4, 4))
    assert expected.max() == 1
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=2e-3)


def finite(model, images, row, maps, chosen, step=1e-4):
    """d confidence / d map, by central differences, where the others of the three maps follow as in the network."""
    count = maps[row].numel()
    moves = step * torch.eye(count, dtype=torch.float64).view(count, *maps[row].shape[1:])
    slopes = []
    for some in moves.split(128):
        ahead, behind = (confidences(model, images, row, maps[row] + sign * some, chosen) for sign in (1, -1))
        slopes.append((ahead - behind) / (2 * step))
    return torch.cat(slopes).view(maps[row].shape[1:]).numpy()


def confidences(model, images, row, instead, chosen):
    """Of one prediction, with other maps (B, C, h, w) in place of a row's."""
    hook = model.model[row].register_forward_hook(lambda *_: instead)
    with torch.no_grad():
        predictions = model(images.double().expand(len(instead), -1, -1, -1))[:, chosen]
    hook.remove()
    return predictions[:, 4] * predictions[:, 6]


def test_the_model_is_left_as_it_was(model):
    model.model[0].conv.weight.requires_grad_(False)
    before = [(name, one.requires_grad) for name, one in model.named_parameters()]
    layer_cams(model, torch.rand(1, 3, 64, 64), torch.tensor([[1.0, 2, 30, 40]]), torch.tensor([0]))
    assert [(name, one.requires_grad) for name, one in model.named_parameters()] == before
    assert all(not module._forward_hooks for module in model.modules())
    assert all(one.grad is None for one in model.parameters())
    model.model[0].conv.weight.requires_grad_(True)


def test_no_detections_no_heat(model):
    assert (
        layer_cams(model, torch.rand(1, 3, 64, 64), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).shape[0] == 0
    )
