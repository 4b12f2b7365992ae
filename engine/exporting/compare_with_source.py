"""Compare an exported file with its source on images, and say whether it may be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from engine.inference.network import Network
from engine.inference.nms import non_max_suppression

if TYPE_CHECKING:
    from engine.exporting.traced_network import Suppression

_SEEN = 0.1  # confidence from which a prediction counts as seen
_SURE = 0.05  # above the threshold of a suppression inside a file: rounding carries less across it


class Limits(NamedTuple):
    """What an exported file may differ by."""

    score: float
    box: float
    lost: float


# fp32 is rounding in another order. fp16 carries 11 bits. int8 is judged by what it finds, not by each number; the
# others are not, for one number on the other side of a threshold changes what is found.
LIMITS = {"fp32": Limits(1e-3, 1e-3, 1.0), "fp16": Limits(0.05, 0.02, 1.0), "int8": Limits(1.0, 10.0, 0.3)}
# With the suppression in the file only what it finds can be compared; rounding may let another of two equals win.
FINISHED_LIMITS = {"fp32": Limits(1e-3, 1e-3, 0.02), "fp16": Limits(0.05, 0.05, 0.3), "int8": Limits(1.0, 10.0, 0.3)}


class Difference(NamedTuple):
    """How far an exported file is from its source.

    Attributes:
        score: Largest difference of a confidence (objectness x best class) over all predictions.
        box: Largest difference of a corner over the seen predictions (all, where none is seen), as a share of the
            box's longer side or 32 px, whichever is more.
        seen: Predictions of the source with a confidence of at least 0.1.
        detections: Detections of the source.
        lost: Those without a detection of the same class and IoU of 0.5 or more in the exported file.

    Of files with the suppression inside, `score` and `box` (here a mean) are those of the detections that both have,
    `seen` counts these, and a detection that only the file has counts as lost, too.
    """

    score: float
    box: float
    seen: int
    detections: int
    lost: int

    def problem(self, limits: Limits) -> str | None:
        """What is too large, or None."""
        if not self.score <= limits.score:  # also true of NaN
            return f"confidences differ by up to {self.score:.3g}, more than {limits.score:g}"
        if not self.box <= limits.box:
            return f"boxes differ by up to {self.box:.3g} of their size, more than {limits.box:g}"
        if self.lost > limits.lost * self.detections:
            return f"{self.lost} of {self.detections} detections are lost, more than {limits.lost:.0%}"
        return None

    def __str__(self) -> str:
        """One line for the terminal."""
        return (
            f"confidences within {self.score:.2g}, boxes within {100 * self.box:.2g}% of their size "
            f"({self.seen} seen), {max(self.detections - self.lost, 0)} of {self.detections} detections found again"
        )


def compare(
    source: Network, exported: Network, batches: Sequence[Tensor], suppression: Suppression | None = None
) -> Difference:
    """Run both on the same images.

    Args:
        source: The network that was exported.
        exported: What was written.
        batches: (B, 3, H, W) float32 RGB 0..1 each.
        suppression: What was written into the file.

    Raises:
        ValueError: If the outputs have different shapes.
    """
    total = Difference(0.0, 0.0, 0, 0, 0)
    for images in batches:
        with torch.inference_mode():
            want, got = source(images.to(source.device)).cpu(), exported(images.to(exported.device)).cpu()
        one = _predictions(want, got) if suppression is None else _finished(suppression(want), got, suppression)
        total = Difference(max(total.score, one.score), max(total.box, one.box), *map(sum, zip(total[2:], one[2:])))  # noqa: B905
    return total


def _predictions(want: Tensor, got: Tensor) -> Difference:
    if want.shape != got.shape:
        raise ValueError(f"the exported file gives {tuple(got.shape)} where the source gives {tuple(want.shape)}")
    sure, same = (rows[..., 4] * rows[..., 5:].amax(-1) for rows in (want, got))
    seen = sure >= _SEEN
    count = int(seen.sum())
    chosen = seen if count else torch.ones_like(seen)
    size = want[chosen][:, 2:4].amax(1, keepdim=True).clamp(min=32)
    box = ((want[chosen][:, :4] - got[chosen][:, :4]).abs() / size).max()
    detections, lost = _lost(non_max_suppression(want), non_max_suppression(got))
    return Difference(float((sure - same).abs().max()), float(box), count, detections, lost)


def _finished(want: Tensor, got: Tensor, suppression: Suppression) -> Difference:
    """Rows (B, max_det, 6) of both sides, zeros where there is no detection."""
    sure = suppression.conf_thres + _SURE
    total = Difference(0.0, 0.0, 0, 0, 0)
    for true, found in zip(*([rows[rows[:, 4] > 0] for rows in side] for side in (want, got)), strict=True):
        same = _iou(true[:, :4], found[:, :4]) * (true[:, None, 5] == found[None, :, 5])
        if not same.numel():
            lost = int((true[:, 4] >= sure).sum() + (found[:, 4] >= sure).sum())
            total = Difference(*total[:3], total.detections + len(true), total.lost + lost)
            continue
        overlap, partner = same.max(1)
        both = overlap >= 0.5
        found_only = same.amax(0) < 0.5
        pairs, partners = true[both], found[partner[both]]
        size = (pairs[:, 2:4] - pairs[:, :2]).amax(1, keepdim=True).clamp(min=32)
        score, box = (pairs[:, 4] - partners[:, 4]).abs(), (pairs[:, :4] - partners[:, :4]).abs() / size
        total = Difference(
            max(total.score, float(score.max()) if len(score) else 0.0),
            max(total.box, float(box.mean()) if len(box) else 0.0),
            total.seen + len(pairs),
            total.detections + len(true),
            total.lost + int((~both & (true[:, 4] >= sure)).sum() + (found_only & (found[:, 4] >= sure)).sum()),
        )
    return total


def _lost(want: Sequence[Tensor], got: Sequence[Tensor]) -> tuple[int, int]:
    detections = lost = 0
    for true, found in zip(want, got, strict=True):
        detections += len(true)
        same = _iou(true[:, :4], found[:, :4]) * (true[:, None, 5] == found[None, :, 5])
        lost += int((same.amax(1) < 0.5).sum()) if len(found) else len(true)
    return detections, lost


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """(n, 4), (m, 4) corners -> (n, m)."""
    inner = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    shared = inner.prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None, :] - shared).clamp(min=1e-9)
