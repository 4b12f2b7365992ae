"""Each box loss against its paper's formula in plain floats; gradients; boxes that have no size or lie apart."""

import math

import pytest
import torch
from torchvision.ops import box_convert, distance_box_iou_loss, generalized_box_iou_loss

from data.hyp import BOX_LOSSES
from models.box_losses import BOX_LOSS, BoxPairs

IMAGE = (80.0, 60.0)
STRIDE = 8.0


def pairs_of(boxes: torch.Tensor, others: torch.Tensor) -> BoxPairs:
    return BoxPairs(boxes, others, boxes.new_tensor(IMAGE).repeat(len(boxes), 1), boxes.new_full((len(boxes),), STRIDE))


def some_pairs() -> BoxPairs:
    """24 pairs, most overlapping, in float64."""
    boxes = torch.rand(24, 4, dtype=torch.float64) * 3 + 0.5
    return pairs_of(boxes, boxes + torch.rand(24, 4, dtype=torch.float64) * 1.5 - 0.4)


def written_out(name: str, box: list[float], other: list[float]) -> float:
    """The paper's formula for one pair, other being the label."""
    (x, y, w, h), (gx, gy, gw, gh) = box, other
    x1, y1, x2, y2 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    u1, v1, u2, v2 = gx - gw / 2, gy - gh / 2, gx + gw / 2, gy + gh / 2
    inter = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    iou = inter / (w * h + gw * gh - inter)
    hull_w, hull_h = max(x2, u2) - min(x1, u1), max(y2, v2) - min(y1, v1)
    rho2, c2 = (x - gx) ** 2 + (y - gy) ** 2, hull_w**2 + hull_h**2
    if name == "ciou":
        v = 4 / math.pi**2 * (math.atan(gw / gh) - math.atan(w / h)) ** 2
        return 1 - iou + rho2 / c2 + v / (1 - iou + v) * v
    if name == "eiou":
        return 1 - iou + rho2 / c2 + (w - gw) ** 2 / hull_w**2 + (h - gh) ** 2 / hull_h**2
    if name == "siou":
        angle = 1 - 2 * math.sin(math.asin(abs(gy - y) / math.sqrt(rho2)) - math.pi / 4) ** 2
        gamma = 2 - angle
        distance = sum(1 - math.exp(-gamma * r) for r in (((gx - x) / hull_w) ** 2, ((gy - y) / hull_h) ** 2))
        shape = sum((1 - math.exp(-abs(a - b) / max(a, b))) ** 4 for a, b in ((w, gw), (h, gh)))
        return 1 - iou + (distance + shape) / 2
    if name == "wiou":
        return math.exp(rho2 / c2) * (1 - iou)
    if name == "mpdiou":
        diagonal = IMAGE[0] ** 2 + IMAGE[1] ** 2
        first, second = (x1 - u1) ** 2 + (y1 - v1) ** 2, (x2 - u2) ** 2 + (y2 - v2) ** 2
        return 1 - (iou - first / diagonal - second / diagonal)
    if name == "nwd":
        px = [value * STRIDE for value in (x, y, w / 2, h / 2)]
        label = [value * STRIDE for value in (gx, gy, gw / 2, gh / 2)]
        return 1 - math.exp(-math.dist(px, label) / 12.8)
    assert name == "alphaiou"
    return 1 - iou**3 + rho2**3 / c2**3


def test_every_name_of_the_hyperparameters_is_there():
    assert tuple(BOX_LOSS) == BOX_LOSSES


@pytest.mark.parametrize("name", sorted(set(BOX_LOSSES) - {"giou", "diou"}))
def test_as_the_paper_has_it(name):
    pairs = some_pairs()
    wanted = [written_out(name, *pair) for pair in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)]
    torch.testing.assert_close(BOX_LOSS[name](pairs), torch.tensor(wanted, dtype=torch.float64), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(("name", "function"), [("giou", generalized_box_iou_loss), ("diou", distance_box_iou_loss)])
def test_as_torchvision_has_it(name, function):
    pairs = some_pairs()
    corners = [box_convert(boxes, "cxcywh", "xyxy") for boxes in pairs[:2]]
    torch.testing.assert_close(BOX_LOSS[name](pairs), function(*corners))


# The weights that the papers of CIoU and WIoU hold constant make their gradient differ from the finite difference's.
@pytest.mark.parametrize("name", sorted(set(BOX_LOSSES) - {"ciou", "wiou"}))
def test_gradients(name):
    pairs = some_pairs()
    boxes = pairs.boxes_cxcywh.requires_grad_()
    assert torch.autograd.gradcheck(lambda b: BOX_LOSS[name](pairs._replace(boxes_cxcywh=b)), (boxes,), atol=1e-4)


def test_wiou_gradient_with_the_hull_held_constant():
    pairs = some_pairs()
    boxes = pairs.boxes_cxcywh.requires_grad_()
    (got,) = torch.autograd.grad(BOX_LOSS["wiou"](pairs).sum(), boxes)
    low = torch.minimum(boxes[:, :2] - boxes[:, 2:] / 2, pairs[1][:, :2] - pairs[1][:, 2:] / 2)
    high = torch.maximum(boxes[:, :2] + boxes[:, 2:] / 2, pairs[1][:, :2] + pairs[1][:, 2:] / 2)
    squared = ((high - low) ** 2).sum(1).detach()
    ends = [box_convert(b, "cxcywh", "xyxy") for b in (boxes, pairs[1])]
    size = (torch.minimum(ends[0][:, 2:], ends[1][:, 2:]) - torch.maximum(ends[0][:, :2], ends[1][:, :2])).clamp(0)
    inter = size.prod(1)
    iou = inter / (boxes[:, 2:].prod(1) + pairs[1][:, 2:].prod(1) - inter)
    loss = ((((boxes - pairs[1])[:, :2] ** 2).sum(1) / squared).exp() * (1 - iou)).sum()
    torch.testing.assert_close(got, torch.autograd.grad(loss, boxes)[0], atol=1e-5, rtol=1e-5)


BOXES = {
    "the same": [2.0, 3.0, 1.0, 2.0],
    "far": [70.0, 50.0, 1.0, 1.0],
    "tiny": [2.0, 3.0, 1e-9, 1e-9],
    "vast": [0.0, 0.0, 640.0, 640.0],
    "same centre": [2.0, 3.0, 4.0, 1.0],
    "one line": [5.0, 3.0, 1.0, 2.0],
}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", BOX_LOSSES)
def test_finite_at_the_edges(name, box):
    boxes = torch.tensor([BOXES[box]], requires_grad=True)
    loss = BOX_LOSS[name](pairs_of(boxes, torch.tensor([BOXES["the same"]])))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
    if box == "the same":
        assert loss.item() == pytest.approx(0, abs=1e-5)
    else:
        assert loss.item() > 0.1


@pytest.mark.parametrize("name", sorted(set(BOX_LOSSES) - {"ciou"}))
def test_finite_without_any_size(name):
    """A side of exactly 0; CIoU's angle has no value there, and the head's sides are never 0 but by underflow."""
    boxes = torch.tensor([[2.0, 3.0, 0.0, 0.0]], requires_grad=True)
    for label in (BOXES["the same"], [2.0, 3.0, 0.0, 0.0]):
        loss = BOX_LOSS[name](pairs_of(boxes, torch.tensor([label])))
        (gradient,) = torch.autograd.grad(loss.sum(), boxes)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()
