"""Decoded predictions -> detections: confidence filter and non-maximum suppression, as YOLOv5 defines them.

The confidence of a class is objectness x class score; with `multi_label` every class of a box above the threshold
becomes a detection, otherwise only its best one; suppression works within a class unless `agnostic`; of the
candidates of an image the 30,000 most confident take part and the `max_det` most confident survivors are returned.

Deviations from YOLOv5: there is no time limit, so no detection is ever dropped because a machine is slow; classes are
kept apart exactly (in double precision), where an offset in single precision moves the boxes of high class numbers by
hundredths of a pixel; equal confidences keep the order of the predictions.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

MAX_CANDIDATES = 30_000
_FIRST_PASS = 1_024


def non_max_suppression(
    predictions: Tensor,
    *,
    conf_thres: float = 0.25,
    iou_thres: float = 0.45,
    classes: Iterable[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
    max_det: int = 300,
    labels: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Suppress overlapping detections of each image.

    Args:
        predictions: (B, N, 5 + nc): cx, cy, w, h in pixels, objectness, class scores after the sigmoid.
        conf_thres: Detections must be more confident than this, in [0, 1].
        iou_thres: Of two detections that overlap more than this the less confident goes, in [0, 1].
        classes: Keep only these class numbers; None keeps all.
        agnostic: Let detections of different classes suppress each other.
        multi_label: Every class above the threshold gives a detection, not only the best one.
        max_det: Detections returned per image at most.
        labels: Known objects of each image, (n, 5) with class, cx, cy, w, h in pixels; they join the predictions
            with confidence 1 (hybrid labels).

    Returns:
        For each image (n, 6) float32: x1, y1, x2, y2 in pixels, confidence, class; most confident first.

    Raises:
        ValueError: On a threshold outside [0, 1], `max_det` below 1 or predictions of another shape.
    """
    _check(predictions, conf_thres, iou_thres, max_det)
    home = predictions.device
    if home.type == "mps":  # no double precision there
        predictions = predictions.cpu()
    wanted = None if classes is None else torch.tensor(sorted(set(classes)), device=predictions.device)
    detections = []
    with _one_thread() if predictions.device.type == "cpu" else nullcontext():
        for i, rows in enumerate(predictions):
            rows = rows[rows[:, 4] > conf_thres].float()  # (n, 5 + nc)
            if labels is not None:
                rows = torch.cat((rows, _labels_as_predictions(labels[i].to(rows), rows.shape[1])))
            found = _candidates(rows, conf_thres, multi_label)
            if wanted is not None:
                found = found[torch.isin(found[:, 5].long(), wanted)]
            order = found[:, 4].argsort(descending=True, stable=True)[:MAX_CANDIDATES]
            found = found[order]
            detections.append(found[_suppress(found, iou_thres, agnostic, max_det)].to(home))
    return detections


def _check(predictions: Tensor, conf_thres: float, iou_thres: float, max_det: int) -> None:
    """Refuse arguments that would give an empty or meaningless result."""
    if predictions.ndim != 3 or predictions.shape[2] < 6:
        raise ValueError(
            f"Expected predictions of shape (batch, boxes, 5 + classes) but got {tuple(predictions.shape)}"
        )
    for name, value in (("conf_thres", conf_thres), ("iou_thres", iou_thres)):
        if not 0 <= value <= 1:
            raise ValueError(f"Expected {name} from 0 to 1 but got {value}")
    if max_det < 1:
        raise ValueError(f"Expected max_det of at least 1 but got {max_det}")


def _labels_as_predictions(labels: Tensor, width: int) -> Tensor:
    """(n, 5) class, cx, cy, w, h -> (n, 5 + nc) predictions of confidence 1."""
    rows = labels.new_zeros((len(labels), width))
    rows[:, :4] = labels[:, 1:5]
    rows[:, 4] = 1
    rows[torch.arange(len(labels), device=labels.device), labels[:, 0].long() + 5] = 1
    return rows


def _candidates(rows: Tensor, conf_thres: float, multi_label: bool) -> Tensor:
    """(n, 5 + nc) predictions of one image -> (m, 6) x1, y1, x2, y2, confidence, class, unsorted."""
    confidence = rows[:, 5:] * rows[:, 4:5]  # (n, nc)
    if multi_label and confidence.shape[1] > 1:
        row, class_id = (confidence > conf_thres).nonzero(as_tuple=True)
        confidence = confidence[row, class_id]
    else:
        confidence, class_id = confidence.max(1)
        row = (confidence > conf_thres).nonzero(as_tuple=True)[0]
        confidence, class_id = confidence[row], class_id[row]
    centre, half_size = rows[row, :2], rows[row, 2:4] / 2
    return torch.cat((centre - half_size, centre + half_size, confidence[:, None], class_id[:, None].float()), 1)


def _suppress(found: Tensor, iou_thres: float, agnostic: bool, max_det: int) -> Tensor:
    """Indices of the survivors among detections (n, 6) sorted by descending confidence, at most `max_det`.

    Whether a detection survives depends only on more confident ones, so the survivors of the first k detections are
    the beginning of the survivors of all. The suppression therefore runs on a growing prefix and stops at `max_det`.
    """
    nms = _nms_operator()
    boxes = found[:, :4].double()
    if not agnostic and len(boxes):
        extent = boxes.max() - boxes.min() + 1
        boxes = boxes + found[:, 5:6] * extent
    take = max(_FIRST_PASS, 2 * max_det)
    while True:
        kept = nms(boxes[:take], found[:take, 4].double(), iou_thres)[:max_det]
        if len(kept) == max_det or take >= len(boxes):
            return kept
        take *= 4


@contextmanager
def _one_thread() -> Iterator[None]:
    """These steps are too small to share: threads cost more than they save, on a busy machine ten times as much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _nms_operator() -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return torchvision's compiled `nms`.

    Its library is loaded without importing the package, which takes almost as long as importing torch and would
    double the start of every short command; where that is not possible the package is imported.
    """
    package = importlib.util.find_spec("torchvision")
    folders = package.submodule_search_locations if package is not None else None
    for library in [path for folder in folders or () for path in sorted(Path(folder).glob("_C*.*"))]:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        if hasattr(torch.ops.torchvision, "nms"):
            return torch.ops.torchvision.nms
    from torchvision.ops import nms

    return nms
