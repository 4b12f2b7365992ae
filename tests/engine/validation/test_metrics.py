import contextlib
import io
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from engine.validation.metrics import (
    IOU_THRESHOLDS,
    average_precision,
    box_iou,
    confusion_counts,
    detection_metrics,
    match_detections,
    smooth,
)


def _random_boxes(rng, n, extent=100):
    corner = rng.uniform(0, extent, (n, 2))
    return np.concatenate((corner, corner + rng.uniform(5, 40, (n, 2))), 1)


def _random_image(rng, labels=6, detections=30, classes=3):
    """Labels, and detections of which most are disturbed labels."""
    label_boxes, label_classes = _random_boxes(rng, labels), rng.integers(0, classes, labels)
    source = rng.integers(0, labels, detections)
    boxes = label_boxes[source] + rng.normal(0, 3, (detections, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    detected = np.where(rng.uniform(size=detections) < 0.8, label_classes[source], rng.integers(0, classes, detections))
    confidence = np.sort(rng.uniform(0.01, 1, detections))[::-1]
    return boxes, confidence, detected, label_boxes, label_classes


def _slow_match(boxes, classes, label_boxes, label_classes):
    correct = np.zeros((len(boxes), 10), dtype=bool)
    overlap = [[float(box_iou(b[None], g[None])[0, 0]) for g in label_boxes] for b in boxes]
    for t, threshold in enumerate(IOU_THRESHOLDS):
        taken = set()
        for d in range(len(boxes)):
            same = [g for g in range(len(label_boxes)) if label_classes[g] == classes[d]]
            if not same:
                continue
            best = max(same, key=lambda g: overlap[d][g])
            if overlap[d][best] >= threshold and best not in taken:
                taken.add(best)
                correct[d, t] = True
    return correct


def _slow_ap(correct, confidence, instances):
    """Area under the interpolated envelope of one class and threshold, from the definition."""
    points, hits = [(0.0, 1.0)], 0
    for rank, i in enumerate(sorted(range(len(confidence)), key=lambda i: -confidence[i]), 1):
        hits += bool(correct[i])
        points.append((hits / instances, hits / rank))
    points.append((1.0, 0.0))
    envelope = [(r, max(p for _, p in points[k:])) for k, (r, _) in enumerate(points)]
    values = []
    for step in range(101):
        x = step / 100
        k = max(j for j, (r, _) in enumerate(envelope) if r <= x + 1e-12)
        if k == len(envelope) - 1:
            values.append(envelope[k][1])
            continue
        (r0, p0), (r1, p1) = envelope[k], envelope[k + 1]
        values.append(p0 + (p1 - p0) * (x - r0) / (r1 - r0))
    return sum((a + b) / 2 * 0.01 for a, b in itertools.pairwise(values))


def test_iou_by_hand():
    # 10 x 10 against the same shifted by 5: 50 / 150; against one inside of 5 x 4: 20 / 100; apart: 0; empty: 0.
    a = np.array([[0, 0, 10, 10.0]])
    b = np.array([[5, 0, 15, 10], [2, 2, 7, 6], [20, 20, 30, 30], [3, 3, 3, 3.0]])
    assert_allclose(box_iou(a, b), [[1 / 3, 0.2, 0, 0]])
    assert box_iou(b[3:], b[3:]) == 0
    assert box_iou(np.zeros((0, 4)), b).shape == (0, 4)


@pytest.mark.parametrize("seed", range(20))
def test_matching_equals_loops(seed):
    boxes, _, classes, label_boxes, label_classes = _random_image(np.random.default_rng(seed))
    found = match_detections(boxes, classes, label_boxes, label_classes)
    np.testing.assert_array_equal(found, _slow_match(boxes, classes, label_boxes, label_classes))
    assert found.any()


def test_matching_by_hand():
    labels = np.array([[0, 0, 10, 10], [0, 0, 10, 8.0]])
    # IoU with label 0 / 1: 1 / 0.8, then 0.9 / 0.89 (72 / 90 -> 0.8), then 0.8 / 1
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8.0]])
    found = match_detections(boxes, np.zeros(3), labels, np.zeros(2))
    assert found[0].all()
    assert not found[1].any()  # its best label is taken by a more confident detection at every threshold
    assert found[2].all()
    second_first = match_detections(boxes[[1, 0, 2]], np.zeros(3), labels, np.zeros(2))
    # IoU 0.9 of the now most confident one holds the label up to 0.9; at 0.95 the exact box takes it
    np.testing.assert_array_equal(second_first[0], IOU_THRESHOLDS < 0.92)
    np.testing.assert_array_equal(second_first[1], IOU_THRESHOLDS > 0.92)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(1, 8), detections=st.integers(1, 40))
def test_matching_invariants(seed, labels, detections):
    rng = np.random.default_rng(seed)
    boxes, _, classes, label_boxes, label_classes = _random_image(rng, labels, detections)
    found = match_detections(boxes, classes, label_boxes, label_classes)
    assert (found.sum(0) <= len(label_boxes)).all()  # a label is found once at most
    assert (np.diff(found.sum(0)) <= 0).all()  # a stricter threshold finds no more
    for c in range(3):
        assert (found[classes == c].sum(0) <= (label_classes == c).sum()).all()
    order = rng.permutation(labels)
    np.testing.assert_array_equal(match_detections(boxes, classes, label_boxes[order], label_classes[order]), found)
    head = match_detections(boxes[: detections // 2], classes[: detections // 2], label_boxes, label_classes)
    np.testing.assert_array_equal(head, found[: detections // 2])  # less confident detections take nothing away


def test_matching_without_labels_or_detections():
    none, one = np.zeros((0, 4)), np.array([[0, 0, 1, 1.0]])
    assert match_detections(none, np.zeros(0), one, np.zeros(1)).shape == (0, 10)
    assert not match_detections(one, np.zeros(1), none, np.zeros(0)).any()


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_definition(seed):
    rng = np.random.default_rng(seed)
    n, instances = 40, 25
    correct = rng.uniform(size=(n, 2)) < (0.6, 0.3)
    confidence = np.sort(rng.uniform(size=n))[::-1]
    correct[:, 0] &= correct[:, 0].cumsum() <= instances
    hits = correct.cumsum(0)
    ap, _, _ = average_precision(hits / instances, hits / np.arange(1, n + 1)[:, None])
    assert_allclose(ap, [_slow_ap(correct[:, t], confidence, instances) for t in range(2)], atol=1e-9)


def test_average_precision_by_hand():
    # Every label found without a mistake: precision 1 up to recall 1, where the closing point (1, 0) costs half a step.
    ap, _, _ = average_precision(np.array([[0.5], [1.0]]), np.array([[1.0], [1.0]]))
    assert_allclose(ap, 1 - 0.5 * 0.01)
    # One of two found: 1 up to 0.5, then a straight line to (1, 0): 0.5 + 0.25.
    ap, _, _ = average_precision(np.array([[0.5]]), np.array([[1.0]]))
    assert_allclose(ap, 0.75)


def test_smooth_by_hand():
    assert_allclose(smooth(np.array([0, 0, 3, 0, 0, 0, 0, 0, 0, 0.0]), 0.2), [0, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert_allclose(smooth(np.ones(1000)), 1)


def test_metrics_by_hand():
    # Class 0: two labels, three detections 0.9 right, 0.8 wrong, 0.7 right; class 5: one label, nothing detected;
    # class 3 is only predicted.
    correct = np.array([[True], [False], [True], [False]])
    found = detection_metrics(correct, np.array([0.9, 0.8, 0.7, 0.99]), np.array([0, 0, 0, 3]), np.array([0, 0, 5]))
    np.testing.assert_array_equal(found.classes, [0, 5])
    np.testing.assert_array_equal(found.instances, [2, 1])
    # Best F1 is that of all three detections: P = 2/3, R = 1 for confidences below 0.7.
    assert found.confidence < 0.7
    assert_allclose(found.precision, [2 / 3, 0])
    assert_allclose(found.recall, [1, 0])
    # Envelope 1 to recall 0.5, there 2/3 and flat to 1, where the closing zero costs half a step; the interval
    # 0.50..0.51 starts from the last point at recall 0.5, which is 2/3.
    first = 49 * 0.01 + (1 + 2 / 3) / 2 * 0.01
    second = 49 * 0.01 * 2 / 3 + (2 / 3) / 2 * 0.01
    assert_allclose(found.ap[:, 0], [first + second, 0])
    assert_allclose(found.means(), [1 / 3, 0.5, (first + second) / 2, (first + second) / 2])
    assert found.curves.f1.shape == (2, 1000)


def test_metrics_do_not_depend_on_the_order_of_detections():
    rng = np.random.default_rng(0)
    correct, confidence = rng.uniform(size=(200, 10)) < 0.5, rng.uniform(size=200)
    predicted, true = rng.integers(0, 4, 200), rng.integers(0, 4, 300)
    order = rng.permutation(200)
    one = detection_metrics(correct, confidence, predicted, true)
    other = detection_metrics(correct[order], confidence[order], predicted[order], true[::-1])
    assert_allclose(one.ap, other.ap)
    assert_allclose(one.precision, other.precision)


@pytest.mark.parametrize(("detections", "labels"), [(0, 0), (0, 5), (5, 0)])
def test_metrics_of_nothing(detections, labels):
    found = detection_metrics(
        np.zeros((detections, 10), dtype=bool), np.linspace(0.1, 1, detections), np.zeros(detections), np.zeros(labels)
    )
    assert found.means() == (0, 0, 0, 0)
    assert len(found.classes) == min(labels, 1)


def _coco_and_ours(images):
    """AP (classes, T) by pycocotools and by this module, and the same matches integrated by COCO's rule."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found, stats = {"images": [], "annotations": [], "categories": [{"id": c} for c in range(3)]}, [], []
    for image, (boxes, confidence, classes, label_boxes, label_classes) in enumerate(images, 1):
        truth["images"].append({"id": image})
        for box, c in zip(label_boxes, label_classes, strict=True):
            annotation = {"image_id": image, "category_id": int(c), "bbox": _xywh(box), "iscrowd": 0, "area": 100}
            truth["annotations"].append({"id": len(truth["annotations"]) + 1, **annotation})
        for box, score, c in zip(boxes, confidence, classes, strict=True):
            found.append({"image_id": image, "category_id": int(c), "bbox": _xywh(box), "score": float(score)})
        stats.append((match_detections(boxes, classes, label_boxes, label_classes), confidence, classes, label_classes))
    correct, confidence, predicted, true = (np.concatenate(column) for column in zip(*stats, strict=True))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.maxDets = [300]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    theirs = evaluation.eval["precision"][:, :, :, 0, 0].mean(1).T
    stepped = np.zeros_like(theirs)
    for c in range(3):
        order = np.flatnonzero(predicted == c)[np.argsort(-confidence[predicted == c], kind="stable")]
        hits = correct[order].cumsum(0)
        recall, precision = hits / (true == c).sum(), hits / np.arange(1, len(order) + 1)[:, None]
        for t in range(10):
            reached = [precision[recall[:, t] >= r, t] for r in np.linspace(0, 1, 101)]
            stepped[c, t] = np.mean([p.max() if len(p) else 0 for p in reached])
    return theirs, detection_metrics(correct, confidence, predicted, true).ap, stepped


def test_equals_coco_where_labels_are_apart_but_for_the_interpolation():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(60):
        _, confidence, _, _, label_classes = _random_image(rng)
        corner = np.array([[x, y] for x in (0, 100, 200) for y in (0, 100)], dtype=float)
        label_boxes = np.concatenate((corner, corner + rng.uniform(20, 60, (6, 2))), 1)
        source = rng.integers(0, 6, 30)
        boxes = label_boxes[source] + rng.normal(0, 3, (30, 4))
        images.append((boxes, confidence, label_classes[source], label_boxes, label_classes))
    theirs, ours, stepped = _coco_and_ours(images)
    assert 0.1 < theirs.mean() < 0.9
    assert_allclose(stepped, theirs, atol=1e-6)
    assert_allclose(ours, theirs, atol=0.03)


def test_close_to_coco_where_labels_overlap():
    """Apart from the interpolation, COCO gives a detection whose best label is taken a second chance."""
    rng = np.random.default_rng(0)
    theirs, ours, stepped = _coco_and_ours([_random_image(rng) for _ in range(60)])
    assert_allclose(stepped, theirs, atol=0.01)
    assert_allclose(ours, theirs, atol=0.04)


def _xywh(box):
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def test_confusion_by_hand():
    labels = np.array([[0, 0, 0, 10, 10], [1, 50, 50, 60, 60], [1, 80, 80, 90, 90.0]])
    detections = np.array(
        [
            [0, 0, 10, 10, 0.9, 0],  # right
            [50, 50, 60, 61, 0.8, 0],  # class 1 taken for 0
            [50, 50, 60, 65, 0.7, 1],  # second on the same label: background
            [20, 20, 30, 30, 0.6, 1],  # background
            [80, 80, 90, 90, 0.2, 1],  # not confident enough: its label is missed
        ]
    )
    np.testing.assert_array_equal(confusion_counts(detections, labels, 2), [[1, 1, 0], [0, 0, 2], [0, 1, 0]])
    np.testing.assert_array_equal(confusion_counts(detections, labels[:0], 2), [[0, 0, 2], [0, 0, 2], [0, 0, 0]])
    np.testing.assert_array_equal(confusion_counts(detections[:0], labels, 2), [[0, 0, 0], [0, 0, 0], [1, 2, 0]])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(1, 8), detections=st.integers(1, 40))
def test_confusion_counts_everything_once(seed, labels, detections):
    boxes, confidence, classes, label_boxes, label_classes = _random_image(
        np.random.default_rng(seed), labels, detections
    )
    counts = confusion_counts(
        np.column_stack((boxes, confidence, classes)), np.column_stack((label_classes, label_boxes)), 3
    )
    np.testing.assert_array_equal(counts.sum(0)[:3], np.bincount(label_classes, minlength=3))
    np.testing.assert_array_equal(counts.sum(1)[:3], np.bincount(classes[confidence > 0.25], minlength=3))


def test_five_thousand_images_within_seconds():
    rng = np.random.default_rng(0)
    images = [_random_image(rng, 10, 100, 20) for _ in range(50)]
    start = time.perf_counter()
    stats = [
        (match_detections(boxes, classes, label_boxes, label_classes), confidence, classes, label_classes)
        for boxes, confidence, classes, label_boxes, label_classes in images * 100
    ]
    detection_metrics(*(np.concatenate(column) for column in zip(*stats, strict=True)))
    assert time.perf_counter() - start < 5
