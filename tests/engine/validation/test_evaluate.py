from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.testing import assert_close

from engine.inference.network import Ensemble, PlainNetwork
from engine.runtime.device import Precision
from engine.validation.evaluate import evaluate
from engine.validation.tally import Tally

CPU = torch.device("cpu")
FP32 = Precision(torch.float32, False, "test")
NAMES = {0: "stop", 1: "yield", 2: "never"}


class Shape(NamedTuple):
    original_hw: tuple
    ratio: float
    pad_xy: tuple


class Batch(NamedTuple):
    images: torch.Tensor
    targets: torch.Tensor
    paths: tuple
    shapes: tuple


class Loss(NamedTuple):
    total: torch.Tensor
    box: torch.Tensor
    obj: torch.Tensor
    cls: torch.Tensor


class Head:
    """The raw maps are already decoded."""

    def decode(self, raw):
        return raw[0]


class Scripted(nn.Module):
    """Answers image i, known by its first pixel, with the rows prepared for it."""

    stride_px, channels = 32, 3

    def __init__(self, answers, nc=3):
        super().__init__()
        self.nc = nc
        self.names = dict.fromkeys(range(nc), "")
        self.detect = Head()
        self.answers = answers
        self.width = max([len(rows) for rows in answers] + [1])
        self.modes = []

    def raw(self, images):
        self.modes.append(self.training)
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
        out = torch.zeros(len(images), self.width, 5 + self.nc)
        for i, image in enumerate(images):
            rows = self.answers[round(image[0, 0, 0].item() * 255)]
            out[i, : len(rows)] = torch.as_tensor(rows, dtype=torch.float32).reshape(-1, 5 + self.nc)
        return [out]


def _rows(*objects, nc=3):
    """(class, confidence, cx, cy, w, h in px) -> prediction rows."""
    rows = torch.zeros(len(objects), 5 + nc)
    for row, (c, confidence, *box) in zip(rows, objects, strict=True):
        row[:4] = torch.tensor(box, dtype=torch.float32)
        row[4], row[5 + c] = confidence, 1
    return rows


def _loader(labels, batch_size=2, size=100, shape=None):
    """`labels` per image: (class, cx, cy, w, h in px of the square letterboxed image)."""
    shape = shape or Shape((size, size), 1.0, (0.0, 0.0))
    batches = []
    for start in range(0, len(labels), batch_size):
        part = labels[start : start + batch_size]
        images = torch.zeros(len(part), 3, size, size, dtype=torch.uint8)
        images += torch.arange(start, start + len(part), dtype=torch.uint8)[:, None, None, None]
        targets = [(i, c, *(v / size for v in box)) for i, rows in enumerate(part) for c, *box in rows]
        targets = torch.tensor(targets, dtype=torch.float32).reshape(-1, 6)
        paths = tuple(f"image{start + i}.jpg" for i in range(len(part)))
        batches.append(Batch(images, targets, paths, (shape,) * len(part)))
    return batches


def _network(answers, nc=3):
    return PlainNetwork(Scripted(answers, nc), CPU, FP32)


def _run(answers, labels, *, batch_size=2, shape=None, names=NAMES, **options):
    return evaluate(_network(answers, len(names)), _loader(labels, batch_size, shape=shape), names=names, **options)


A = (0, 20, 20, 10, 10)
B = (1, 60, 60, 20, 20)
LABELS = [[A, B], [], [B], [A]]
ANSWERS = [
    _rows((0, 0.9, 20, 20, 10, 10), (1, 0.8, 60, 60, 20, 20)),  # both right
    _rows((0, 0.7, 50, 50, 10, 10)),  # on an image without objects
    _rows(),  # a missed object
    _rows((0, 0.6, 20, 20, 10, 10), (2, 0.95, 60, 60, 20, 20)),  # right, and a class without instances
]


def test_by_hand():
    result = _run(ANSWERS, LABELS)
    assert (result.images, result.instances) == (4, 4)
    assert [(row.name, row.instances) for row in result.per_class] == [("stop", 2), ("yield", 2)]
    # stop: 0.9 right, 0.7 wrong, 0.6 right of 2 -> envelope 1 to recall 0.5, then 2/3 to 1 (see test_metrics)
    stop = 49 * 0.01 + (1 + 2 / 3) / 2 * 0.01 + 49 * 0.01 * 2 / 3 + (2 / 3) / 2 * 0.01
    # yield: one of two found -> 1 to recall 0.5, then a straight line to (1, 0)
    assert_allclose([row.map50 for row in result.per_class], [stop, 0.75])
    assert_allclose([row.map50_95 for row in result.per_class], [stop, 0.75])
    assert_allclose(result.map50, (stop + 0.75) / 2)
    assert_allclose(result.fitness, result.map50)
    assert_allclose([(row.precision, row.recall) for row in result.per_class], [(2 / 3, 1), (1, 0.5)])
    # background column: the box on the empty image and the class without instances; one missed `yield`
    np.testing.assert_array_equal(result.confusion, [[2, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]])


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_does_not_depend_on_the_batch_size(batch_size):
    one, other = _run(ANSWERS, LABELS), _run(ANSWERS, LABELS, batch_size=batch_size)
    assert one.per_class == other.per_class
    np.testing.assert_array_equal(one.confusion, other.confusion)


def test_the_shares_of_several_processes_make_the_whole():
    def loss(raw, targets):
        return Loss(*[raw[0].sum() + len(targets)] * 4)

    options = {"names": NAMES, "loss": loss}
    model, batches, handed_in = _network(ANSWERS), _loader(LABELS[:3], 1), []
    for rank in range(2):  # 2 images and 1
        evaluate(model, batches[rank::2], gather=lambda value: handed_in.append(value) or [value], **options)
    whole = evaluate(model, batches, **options)
    result = evaluate(model, [], gather=lambda value: handed_in, **options)
    assert result.per_class == whole.per_class
    assert (result.images, result.instances) == (3, 3)
    assert_allclose(result.loss, whole.loss)
    np.testing.assert_array_equal(result.confusion, whole.confusion)
    joined = Tally.together([tally for tally, _ in handed_in])
    assert_allclose(np.concatenate(joined.detections)[:, 4], [0.9, 0.8, 0.7])  # in the order of one process


def test_boxes_are_compared_in_the_original_image():
    # 200 x 100 px halved and padded above and below: half of the label lies in the border and is clipped away, and
    # so is the whole difference between detection and label.
    shape = Shape((100, 200), 0.5, (0.0, 25.0))
    label, answer = [(0, 50, 25, 20, 20)], _rows((0, 0.9, 50, 20, 20, 30))
    assert _run([answer], [label]).per_class[0].map50_95 == pytest.approx(0.995 * 0.4)  # IoU 400 / 600 = 0.667
    assert _run([answer], [label], shape=shape).per_class[0].map50_95 == pytest.approx(0.995)


def test_nothing_found_and_nothing_there():
    missed = _run([_rows()] * 4, LABELS)
    assert (missed.precision, missed.recall, missed.map50, missed.map50_95, missed.instances) == (0, 0, 0, 0, 4)
    assert [row.name for row in missed.per_class] == ["stop", "yield"]
    empty = _run(ANSWERS, [[]] * 4)
    assert (empty.map50, empty.instances, empty.per_class) == (0, 0, ())
    assert empty.confusion[:, 3].sum() == 5
    assert empty.table().count("\n") == 1


def test_table_is_yolov5s():
    header, every, stop, _ = _run(ANSWERS, LABELS).table().split("\n")
    assert header.split() == ["Class", "Images", "Instances", "P", "R", "mAP50", "mAP50-95"]
    assert every.split() == ["all", "4", "4", "0.833", "0.75", "0.789", "0.789"]
    assert stop.split()[:5] == ["stop", "4", "2", "0.667", "1"]
    assert {len(header), len(every), len(stop)} == {88}
    assert _run(ANSWERS, LABELS).table(per_class=False).count("\n") == 1


def test_options_reach_the_suppression():
    crowd = [_rows((0, 0.9, 20, 20, 10, 10), (0, 0.8, 21, 20, 10, 10), (1, 0.7, 60, 60, 20, 20))]
    counts = {
        "all": _run(crowd, [[]], iou_thres=0.9),
        "suppressed": _run(crowd, [[]], iou_thres=0.5),
        "two": _run(crowd, [[]], iou_thres=0.9, max_det=1),
        "confident": _run(crowd, [[]], iou_thres=0.9, conf_thres=0.75),
    }
    assert [int(result.confusion.sum()) for result in counts.values()] == [3, 2, 1, 2]


def test_single_class_counts_every_class_as_one():
    answers = [_rows((2, 0.9, 20, 20, 10, 10), (1, 0.8, 20, 20, 10, 10))]
    loader = _loader([[A]])
    result = evaluate(_network(answers), loader, names={0: "item"}, single_cls=True)
    assert result.map50 == pytest.approx(0.995)
    assert result.confusion.tolist() == [[1, 0], [0, 0]]  # the second box was suppressed across classes


def test_hybrid_labels_are_found():
    result = _run([_rows()] * 4, LABELS, hybrid=True)
    assert result.map50 == pytest.approx(0.995)


def test_loss_is_the_mean_over_batches_of_raw_maps_and_targets():
    seen = []

    def loss(raw, targets):
        seen.append((raw[0].shape, targets))
        parts = torch.tensor([1.0, 2.0, 4.0]) * len(seen)
        return Loss(parts.sum(), *parts)

    result = _run(ANSWERS, LABELS, loss=loss)
    assert result.loss == (1.5, 3, 6)
    assert_close(seen[0][1], _loader(LABELS)[0].targets)
    assert _run(ANSWERS, LABELS).loss is None


def test_a_model_is_measured_in_eval_mode():
    model = Scripted(ANSWERS).train()
    evaluate(PlainNetwork(model, CPU, FP32), _loader(LABELS), names=NAMES)
    assert model.modes == [False, False]


def test_a_loss_needs_the_raw_maps():
    with pytest.raises(ValueError, match="Expected a `PlainNetwork` where the loss is wanted"):
        evaluate(Ensemble([_network(ANSWERS)]), [], names=NAMES, loss=lambda raw, targets: None)


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match="Expected a model of 3 classes, those of the data set, but got 2 classes"):
        evaluate(_network(ANSWERS, nc=2), [], names=NAMES)


def test_observers_see_each_batch():
    batches = []
    _run(ANSWERS, LABELS, shape=Shape((50, 50), 2.0, (0.0, 0.0)), observers=[batches.append])
    assert [len(batch.paths) for batch in batches] == [2, 2]
    first = batches[0]
    assert_allclose(first.labels[0], [[0, 15, 15, 25, 25], [1, 50, 50, 70, 70]])
    assert_allclose(first.detections[0][0], [15, 15, 25, 25, 0.9, 0])
    assert_allclose(first.native[0][0], [7.5, 7.5, 12.5, 12.5, 0.9, 0])


def test_plots(tmp_path: Path):
    _run(ANSWERS, LABELS, plots=True, save_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "F1_curve.png",
        "PR_curve.png",
        "P_curve.png",
        "R_curve.png",
        "confusion_matrix.png",
        "val_batch0_labels.jpg",
        "val_batch0_pred.jpg",
        "val_batch1_labels.jpg",
        "val_batch1_pred.jpg",
        "worst.html",
    ]
    assert "image1.jpg: cannot be read" in (tmp_path / "worst.html").read_text()  # the images of this test are no files
    with pytest.raises(ValueError, match="Expected `save_dir`"):
        _run(ANSWERS, LABELS, plots=True)


def test_result_as_plain_data():
    import json

    plain = json.loads(json.dumps(_run(ANSWERS, LABELS).to_dict()))
    assert plain["classes_without_instances"] == ["never"]
    assert plain["per_class"][1]["recall"] == 0.5
    assert set(plain["speeds_ms_per_image"]) == {"preprocess", "inference", "nms"}
