import pytest
import torch
from torch.testing import assert_close
from torchvision.ops import batched_nms, box_convert

from engine.inference import nms as postprocess
from engine.inference.nms import non_max_suppression


def _random_predictions(batch=3, boxes=200, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.rand(batch, boxes, 5 + classes, generator=generator)
    predictions[..., :2] *= 100
    predictions[..., 2:4] = 10 + 40 * predictions[..., 2:4]
    return predictions


def _iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _slow_nms(rows, conf_thres, iou_thres, *, classes=None, agnostic=False, multi_label=False, max_det=300):
    """The definition in loops over plain numbers, for one image."""
    found = []
    for cx, cy, w, h, objectness, *scores in rows.tolist():
        if objectness <= conf_thres:
            continue
        confidences = [objectness * score for score in scores]
        wanted = range(len(scores)) if multi_label else [confidences.index(max(confidences))]
        for c in wanted:
            if confidences[c] > conf_thres and (classes is None or c in classes):
                found.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, confidences[c], c])
    found.sort(key=lambda row: -row[4])
    kept = []
    for row in found:
        if all(_iou(row, other) <= iou_thres or not (agnostic or row[5] == other[5]) for other in kept):
            kept.append(row)
    return torch.tensor(kept[:max_det]).reshape(-1, 6)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("options", [{}, {"classes": [0, 3]}, {"max_det": 5}])
def test_equals_the_definition_in_loops(multi_label, agnostic, options):
    predictions = _random_predictions()
    options = {"multi_label": multi_label, "agnostic": agnostic, **options}
    found = non_max_suppression(predictions, conf_thres=0.2, iou_thres=0.5, **options)
    for rows, image in zip(predictions, found, strict=True):
        assert_close(image, _slow_nms(rows, 0.2, 0.5, **options), atol=1e-4, rtol=1e-5)


def test_equals_torchvision_on_many_boxes():
    predictions = _random_predictions(batch=1, boxes=6000, classes=3)
    predictions[..., :2] *= 30
    found = non_max_suppression(predictions, conf_thres=0.01, iou_thres=0.6, max_det=3000)[0]
    rows = predictions[0]
    confidence, class_id = (rows[:, 5:] * rows[:, 4:5]).max(1)
    chosen = confidence > 0.01
    chosen &= rows[:, 4] > 0.01
    boxes = box_convert(rows[:, :4], "cxcywh", "xyxy")
    kept = batched_nms(boxes[chosen].double(), confidence[chosen].double(), class_id[chosen], 0.6)[:3000]
    assert len(kept) > postprocess._FIRST_PASS
    assert_close(found[:, 4], confidence[chosen][kept])
    assert_close(found[:, :4], boxes[chosen][kept], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("max_det", [1, 7, 60, 400])
def test_growing_prefix_gives_the_beginning_of_the_whole(monkeypatch, max_det):
    predictions = _random_predictions(boxes=500)
    options = {"conf_thres": 0.001, "iou_thres": 0.3, "multi_label": True}
    whole = non_max_suppression(predictions, max_det=10_000, **options)
    monkeypatch.setattr(postprocess, "_FIRST_PASS", 4)
    for image, part in zip(whole, non_max_suppression(predictions, max_det=max_det, **options), strict=True):
        assert_close(part, image[:max_det], rtol=0, atol=0)


def test_only_the_most_confident_candidates_take_part(monkeypatch):
    predictions = _random_predictions(batch=1, boxes=300)
    monkeypatch.setattr(postprocess, "MAX_CANDIDATES", 20)
    few = non_max_suppression(predictions, conf_thres=0.001, iou_thres=1.0)[0]
    assert len(few) == 20
    best = (predictions[0, :, 5:] * predictions[0, :, 4:5]).amax(1).sort(descending=True).values[:20]
    assert_close(few[:, 4], best)


def test_by_hand():
    # Two boxes of 10 x 10 px shifted by 2: IoU = 80 / 120 = 0.667; a third one far away.
    rows = torch.tensor(
        [[[50, 50, 10, 10, 0.8, 0.5, 0.25], [52, 50, 10, 10, 1.0, 0.9, 0.0], [90, 90, 4, 6, 0.5, 0, 1]]]
    )
    assert_close(
        non_max_suppression(rows, conf_thres=0.3, iou_thres=0.6)[0],
        torch.tensor([[47, 45, 57, 55, 0.9, 0], [88, 87, 92, 93, 0.5, 1.0]]),
    )
    assert len(non_max_suppression(rows, conf_thres=0.3, iou_thres=0.7)[0]) == 3
    multi = non_max_suppression(rows, conf_thres=0.1, iou_thres=0.6, multi_label=True)[0]
    assert_close(multi[:, 4:], torch.tensor([[0.9, 0], [0.5, 1], [0.2, 1]]))


def test_images_without_detections_and_images_are_independent():
    predictions = _random_predictions()
    predictions[1, :, 4] = 0
    found = non_max_suppression(predictions)
    assert [tuple(image.shape) for image in found][1] == (0, 6)
    assert found[1].dtype == torch.float32
    for i, image in enumerate(found):
        assert_close(non_max_suppression(predictions[i : i + 1])[0], image, rtol=0, atol=0)
    assert non_max_suppression(torch.zeros(0, 10, 9)) == []
    assert len(non_max_suppression(torch.zeros(1, 0, 9))[0]) == 0


def test_the_argument_is_not_changed_and_half_precision_is_read():
    predictions = _random_predictions()
    copy = predictions.clone()
    non_max_suppression(predictions, multi_label=True)
    assert_close(predictions, copy, rtol=0, atol=0)
    assert non_max_suppression(predictions.half())[0].dtype == torch.float32


def test_not_a_number_is_no_detection():
    predictions = _random_predictions(batch=1)
    predictions[0, :100, 5:] = float("nan")
    assert_close(non_max_suppression(predictions)[0], non_max_suppression(predictions[:, 100:])[0])


def test_labels_join_with_confidence_one():
    predictions = _random_predictions(batch=2)
    label = torch.tensor([[2.0, 300, 300, 20, 30]])
    found = non_max_suppression(predictions, labels=[label, label[:0]])
    assert_close(found[0][0], torch.tensor([290.0, 285, 310, 315, 1, 2]))
    assert_close(found[1], non_max_suppression(predictions)[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conf_thres": 1.5}, "Expected conf_thres from 0 to 1 but got 1.5"),
        ({"iou_thres": -0.1}, "Expected iou_thres from 0 to 1 but got -0.1"),
        ({"max_det": 0}, "Expected max_det of at least 1 but got 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        non_max_suppression(_random_predictions(), **options)


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"Expected predictions of shape .* but got \(3, 200\)"):
        non_max_suppression(torch.zeros(3, 200))
