"""The loss against a reference in plain loops, by hand on a small grid, and at its edges."""

import math
from types import SimpleNamespace

import pytest
import torch
from torchvision.ops import box_convert, complete_box_iou_loss

from data.hyp import LOSSES
from models.loss import DetectionLoss, LossSettings, assign_targets, complete_iou, last_of_equal

HYP = {"box": 0.05, "obj": 1.0, "cls": 0.5, "cls_pw": 1.0, "obj_pw": 1.0, "anchor_t": 4.0, "fl_gamma": 0.0}
ANCHORS_PX = [
    [[10, 13], [16, 30], [33, 23]],
    [[30, 61], [62, 45], [59, 119]],
    [[116, 90], [156, 198], [373, 326]],
    [[400, 300], [300, 500], [600, 600]],
]
STRIDES = [8.0, 16.0, 32.0, 64.0]


def make_head(nc: int, levels: int = 3) -> SimpleNamespace:
    stride = torch.tensor(STRIDES[:levels])
    anchors = torch.tensor(ANCHORS_PX[:levels], dtype=torch.float32) / stride.view(-1, 1, 1)
    return SimpleNamespace(anchors=anchors, stride=stride, nc=nc)


def random_batch(nc: int, levels: int = 3, image_px: int = 128, labels: int = 30) -> tuple[list, torch.Tensor]:
    """Raw maps of 2 images twice as high as wide, and labels from tiny to larger than the image."""
    raw = [torch.randn(2, 3, int(image_px / s), int(image_px / s) // 2, 5 + nc) * 2 for s in STRIDES[:levels]]
    targets = torch.rand(labels, 6)
    targets[:, 0] = (targets[:, 0] * 2).floor()
    targets[:, 1] = (targets[:, 1] * nc).floor()
    targets[:, 4:] = targets[:, 4:] ** 2 + 0.01
    return [level.requires_grad_() for level in raw], targets


def reference_matches(targets, anchors, rows, columns, limit):
    """Rows (image, anchor, row, column, box, class) of one level, one comparison at a time."""
    found = []
    steps = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5)]
    for direction, (dx, dy) in enumerate(steps):
        for a, (anchor_w, anchor_h) in enumerate(anchors.tolist()):
            for image, cls, x, y, w, h in targets.tolist():
                x, y, w, h = x * columns, y * rows, w * columns, h * rows
                if max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h) >= limit:
                    continue
                allowed = (
                    True,
                    x % 1 < 0.5 and x > 1,
                    y % 1 < 0.5 and y > 1,
                    (columns - x) % 1 < 0.5 and columns - x > 1,
                    (rows - y) % 1 < 0.5 and rows - y > 1,
                )[direction]
                if not allowed:
                    continue
                column = min(max(int(x - dx), 0), columns - 1)
                row = min(max(int(y - dy), 0), rows - 1)
                found.append((int(image), a, row, column, (x - column, y - row, w, h), int(cls)))
    return found


def reference_ciou(first, second, eps=1e-7):
    """CIoU of two boxes cx, cy, w, h; the weight of the aspect term is a constant."""
    (x, y, w, h), (u, v, p, q) = first, second
    corner = lambda c, s: (c - s / 2, c + s / 2)  # noqa: E731
    (l1, r1), (t1, b1), (l2, r2), (t2, b2) = corner(x, w), corner(y, h), corner(u, p), corner(v, q)
    overlap = (torch.minimum(r1, r2) - torch.maximum(l1, l2)).clamp(0) * (
        torch.minimum(b1, b2) - torch.maximum(t1, t2)
    ).clamp(0)
    iou = overlap / (w * h + p * q - overlap + eps)
    hull = (torch.maximum(r1, r2) - torch.minimum(l1, l2)) ** 2 + (torch.maximum(b1, b2) - torch.minimum(t1, t2)) ** 2
    aspect = 4 / math.pi**2 * (torch.atan(p / q) - torch.atan(w / h)) ** 2
    weight = (aspect / (aspect - iou + 1 + eps)).detach()
    return iou - ((u - x) ** 2 + (v - y) ** 2) / (hull + eps) - weight * aspect


def reference_bce(logit, target, positive_weight, gamma):
    probability = torch.sigmoid(logit)
    loss = -positive_weight * target * torch.log(probability) - (1 - target) * torch.log(1 - probability)
    if gamma > 0:
        of_target = target * probability + (1 - target) * (1 - probability)
        loss = loss * (target * 0.25 + (1 - target) * 0.75) * (1 - of_target) ** gamma
    return loss


def reference_loss(raw, targets, head, hyp, image_px, smoothing):
    """The batch's total, level by level and match by match, in float64."""
    levels, nc = len(raw), head.nc
    balance = [4.0, 1.0, 0.4] if levels == 3 else [4.0, 1.0, 0.25, 0.06, 0.02]
    box = obj = cls = torch.zeros((), dtype=torch.float64)
    for i, level in enumerate(raw):
        rows, columns = level.shape[2:4]
        matches = reference_matches(targets, head.anchors[i], rows, columns, hyp["anchor_t"])
        wanted = torch.zeros(level.shape[:4], dtype=torch.float64)
        for image, a, row, column, target_box, label in matches:
            cell = level[image, a, row, column].double()
            s = cell[:4].sigmoid() * 2
            w, h = s[2] ** 2 * head.anchors[i, a, 0].double(), s[3] ** 2 * head.anchors[i, a, 1].double()
            ciou = reference_ciou((s[0] - 0.5, s[1] - 0.5, w, h), torch.tensor(target_box, dtype=torch.float64))
            box = box + (1 - ciou) / len(matches)
            wanted[image, a, row, column] = ciou.detach().clamp(0)  # a later match of the cell replaces it
            if nc > 1:
                for k in range(nc):
                    truth = 1 - smoothing / 2 if k == label else smoothing / 2
                    truth = torch.tensor(truth, dtype=torch.float64)
                    loss = reference_bce(cell[5 + k], truth, hyp["cls_pw"], hyp["fl_gamma"])
                    cls = cls + loss / nc / len(matches)
        loss = reference_bce(level[..., 4].double(), wanted, hyp["obj_pw"], hyp["fl_gamma"])
        obj = obj + loss.mean() * balance[i]
    scale = 3 / levels
    box, cls = box * hyp["box"] * scale, cls * hyp["cls"] * scale * nc / 80
    obj = obj * hyp["obj"] * scale * (image_px / 640) ** 2
    return (box + obj + cls) * raw[0].shape[0], box, obj, cls


@pytest.mark.parametrize(
    ("nc", "levels", "changes", "smoothing"),
    [
        (4, 3, {}, 0.0),
        (1, 3, {}, 0.0),
        (3, 4, {}, 0.1),
        (3, 2, {"cls_pw": 1.5, "obj_pw": 0.7}, 0.0),
        (2, 3, {"fl_gamma": 1.5, "anchor_t": 2.5}, 0.1),
    ],
)
def test_loss_and_gradient_equal_the_reference(nc, levels, changes, smoothing):
    hyp, head = {**HYP, **changes}, make_head(nc, levels)
    raw, targets = random_batch(nc, levels)
    got = DetectionLoss(head, hyp, image_px=128, label_smoothing=smoothing)(raw, targets)
    got.total.backward()
    gradients = [level.grad.clone() for level in raw]
    for level in raw:
        level.grad = None
    wanted = reference_loss(raw, targets, head, hyp, 128, smoothing)
    wanted[0].backward()
    for value, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-6)
    for gradient, level in zip(gradients, raw, strict=True):
        torch.testing.assert_close(gradient, level.grad, rtol=1e-4, atol=1e-6)


def test_assignment_equals_the_reference_in_order_too():
    head = make_head(4)
    _, targets = random_batch(4, labels=60)
    targets[0, 2:4] = torch.tensor([0.0, 1.0])  # on the border
    grids = [(16, 8), (8, 4), (4, 2)]
    for level, (rows, columns) in enumerate(grids):
        got = assign_targets(targets, head.anchors, grids, 4.0)[level]
        wanted = reference_matches(targets, head.anchors[level], rows, columns, 4.0)
        cells = torch.stack((got.image, got.anchor, got.row, got.column), 1)
        assert cells.tolist() == [list(row[:4]) for row in wanted]
        assert got.classes.tolist() == [row[5] for row in wanted]
        torch.testing.assert_close(got.boxes_cxcywh_grid, torch.tensor([row[4] for row in wanted]))
        torch.testing.assert_close(got.anchors_wh_grid, head.anchors[level][got.anchor])


def test_assignment_on_a_3x3_grid_by_hand():
    """A box of 1 x 1 cells with its centre at (1.4, 1.7) in cells: own cell, left neighbour, lower neighbour."""
    targets = torch.tensor([[0, 2, 1.4 / 3, 1.7 / 3, 1 / 3, 1 / 3]])
    anchors = torch.tensor([[[1.0, 1.0], [3.9, 1.0], [1.0, 4.1]]])  # ratios 1, 3.9 and 4.1: the last is too far off
    (got,) = assign_targets(targets, anchors, [(3, 3)], 4.0)
    cells = list(zip(got.anchor.tolist(), got.row.tolist(), got.column.tolist(), strict=True))
    assert cells == [(0, 1, 1), (1, 1, 1), (0, 1, 0), (1, 1, 0), (0, 2, 1), (1, 2, 1)]
    centres = [[0.4, 0.7], [0.4, 0.7], [1.4, 0.7], [1.4, 0.7], [0.4, -0.3], [0.4, -0.3]]
    torch.testing.assert_close(got.boxes_cxcywh_grid[:, :2], torch.tensor(centres), rtol=0, atol=1e-6)
    assert got.classes.tolist() == [2] * 6


def test_loss_of_one_box_by_hand():
    """One 32 px image, one cell a level: raw zeros give xy 0.5 and w, h equal to the anchor."""
    head = SimpleNamespace(anchors=torch.tensor([[[1.0, 1.0]]]), nc=2, stride=torch.tensor([8.0]))
    loss = DetectionLoss(head, HYP, image_px=640)
    got = loss([torch.zeros(1, 1, 1, 1, 7)], torch.tensor([[0, 1, 0.5, 0.5, 1.0, 1.0]]))
    gain = 3  # one level instead of three
    ln2 = math.log(2)
    torch.testing.assert_close(got.box, torch.tensor(0.0), atol=1e-6, rtol=0)  # the box fits
    torch.testing.assert_close(got.obj, torch.tensor(1.0 * gain * 4.0 * ln2))  # balance 4 of the first level
    torch.testing.assert_close(got.cls, torch.tensor(0.5 * gain * 2 / 80 * ln2))


@pytest.mark.parametrize("nc", [1, 3])
def test_no_targets_is_finite_and_only_objectness(nc):
    raw, _ = random_batch(nc)
    got = DetectionLoss(make_head(nc), HYP, image_px=128)(raw, torch.zeros(0, 6))
    got.total.backward()
    assert got.box == 0
    assert got.cls == 0
    assert got.obj > 0
    assert all(torch.isfinite(level.grad).all() for level in raw)


def test_the_last_of_several_boxes_in_a_cell_sets_the_objectness():
    """Two boxes of the same image, anchor and cell: their order decides, whatever the device does with duplicates."""
    head = SimpleNamespace(anchors=torch.tensor([[[1.0, 1.0]]]), nc=1, stride=torch.tensor([8.0]))
    loss = DetectionLoss(head, HYP, image_px=640)
    exact, wide = [0, 0, 0.5, 0.5, 1.0, 1.0], [0, 0, 0.5, 0.5, 2.0, 1.0]
    logits = torch.zeros(1, 1, 1, 1, 6)
    logits[..., 4] = 3.0  # confident: a higher target is a smaller loss
    exact_last = loss([logits], torch.tensor([wide, exact])).obj
    wide_last = loss([logits], torch.tensor([exact, wide])).obj
    assert exact_last < wide_last
    torch.testing.assert_close(loss([logits], torch.tensor([exact, exact, wide])).obj, wide_last)


def test_last_of_equal():
    keys = torch.tensor([5, 3, 5, 1, 3, 5])
    assert last_of_equal(keys).tolist() == [5, 4, 5, 3, 4, 5]
    assert last_of_equal(keys[:0]).tolist() == []


def test_ciou_equals_torchvision_with_gradient():
    boxes = torch.rand(500, 4, dtype=torch.float64) * 3 + 0.05
    others = torch.rand(500, 4, dtype=torch.float64) * 3 + 0.05
    mine, theirs = boxes.clone().requires_grad_(), boxes.clone().requires_grad_()
    got = complete_iou(mine, others)
    wanted = 1 - complete_box_iou_loss(box_convert(theirs, "cxcywh", "xyxy"), box_convert(others, "cxcywh", "xyxy"))
    torch.testing.assert_close(got, wanted)
    got.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_ciou_gradient_is_finite_for_a_vanishing_side():
    box = torch.tensor([[0.5, 0.5, 1.0, 1e-9]], requires_grad=True)
    complete_iou(box, torch.tensor([[0.5, 0.5, 1.0, 1.0]])).sum().backward()
    assert torch.isfinite(box.grad).all()


def test_gradcheck():
    head = SimpleNamespace(anchors=torch.tensor([[[1.0, 1.5]]]), nc=2, stride=torch.tensor([8.0]))
    loss = DetectionLoss(head, HYP, image_px=640)
    targets = torch.tensor([[0, 1, 0.4, 0.6, 0.5, 0.7]])
    logits = torch.randn(1, 1, 2, 2, 7)
    total = lambda x: loss([x.float()], targets).total  # noqa: E731
    logits.requires_grad_()
    total(logits).backward()
    step = 1e-2
    for index in ((0, 0, 1, 0, 4), (0, 0, 0, 0, 4), (0, 0, 1, 0, 5)):  # entries without the detached CIoU target
        shift = torch.zeros_like(logits)
        shift[index] = step
        numeric = (total(logits.detach() + shift) - total(logits.detach() - shift)) / (2 * step)
        torch.testing.assert_close(logits.grad[index], numeric, rtol=1e-2, atol=1e-5)


def test_bf16_maps_under_autocast_are_computed_in_fp32():
    raw, targets = random_batch(3)
    loss = DetectionLoss(make_head(3), HYP, image_px=128)
    rounded = [level.detach().bfloat16() for level in raw]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(rounded, targets)
    wanted = loss([level.float() for level in rounded], targets)
    assert got.total.dtype is torch.float32
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_gains_scale_with_levels_classes_and_image_size():
    settings = LossSettings.scaled(HYP, nc=20, levels=4, image_px=320)
    assert settings.box == pytest.approx(0.05 * 3 / 4)
    assert settings.cls == pytest.approx(0.5 * 20 / 80 * 3 / 4)
    assert settings.obj == pytest.approx(0.25 * 3 / 4)
    assert LossSettings.scaled(SimpleNamespace(**HYP), nc=20, levels=4, image_px=320) == settings


@pytest.mark.parametrize(
    "change", [{"box": 0.1}, {"obj": 2.0}, {"cls": 1.0}, {"cls_pw": 2.0}, {"obj_pw": 2.0}, {"anchor_t": 2.0}]
)
def test_every_setting_changes_the_loss(change):
    raw, targets = random_batch(3)
    base = DetectionLoss(make_head(3), HYP, image_px=128)(raw, targets).total
    changed = DetectionLoss(make_head(3), {**HYP, **change}, image_px=128)(raw, targets).total
    assert not math.isclose(base.item(), changed.item(), rel_tol=1e-4)


def test_class_weights_weigh_objects_by_their_class():
    raw, targets = random_batch(3)
    head, weights = make_head(3), [0.5, 2.0, 3.0]
    weighed = DetectionLoss(head, HYP, image_px=128, class_weights=weights)(raw, targets)
    plain = DetectionLoss(head, HYP, image_px=128)(raw, targets)
    assert (weighed.box, weighed.obj) == (plain.box, plain.obj)
    grids = [(level.shape[2], level.shape[3]) for level in raw]
    wanted = 0.0
    for level, matches in zip(raw, assign_targets(targets, head.anchors, grids, 4.0), strict=True):
        picked = level[matches.image, matches.anchor, matches.row, matches.column][:, 5:]
        for logits, number in zip(picked.detach(), matches.classes.tolist(), strict=True):
            target = torch.nn.functional.one_hot(torch.tensor(number), 3).float()
            entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
            wanted += weights[number] * entropy.item() / len(picked)
    assert weighed.cls.item() == pytest.approx(wanted * 0.5 * 3 / 80, rel=1e-5)


def test_too_many_levels():
    head = SimpleNamespace(anchors=torch.ones(6, 1, 2), nc=1, stride=torch.ones(6))
    with pytest.raises(ValueError, match="Expected at most 5 detection levels but got 6"):
        DetectionLoss(head, HYP, image_px=640)


@pytest.mark.parametrize(("key", "name"), [(k, n) for k, names in LOSSES.items() for n in names])
def test_each_named_loss_changes_its_part_alone(key, name):
    """The objectness target stays CIoU whatever the box loss, and a batch without labels is finite."""
    raw, targets = random_batch(3)
    loss = DetectionLoss(make_head(3), {**HYP, key: name}, image_px=128)
    base, got = DetectionLoss(make_head(3), HYP, image_px=128)(raw, targets), loss(raw, targets)
    part, default = key.removesuffix("_loss"), name in ("ciou", "bce")
    for field in ("box", "obj", "cls"):
        same = torch.equal(getattr(base, field), getattr(got, field))
        assert same == (default or field != part)
    got.total.backward()
    assert all(level.grad.isfinite().all() for level in raw)
    assert loss(raw, torch.zeros(0, 6)).total.isfinite()
