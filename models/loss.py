"""Target assignment and the box, objectness and class losses, equivalent to YOLOv5's.

A box is matched by shape, not by overlap: it goes to every anchor of a level whose sides are within a factor
`anchor_t` of its own, and there to the cell that holds its centre and the two nearest neighbour cells. The box loss is
CIoU (Zheng et al. 2020, arXiv:1911.08287) or another of `models.box_losses`, the objectness target is the CIoU reached,
the rest is binary cross entropy or another of `models.binary_losses`.

Everything is computed in float32, whatever type the maps have and whatever autocast is on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from models.binary_losses import binary_loss
from models.box_losses import BOX_LOSS, BoxPairs, complete_iou

if TYPE_CHECKING:
    from models.yolo import Detect

# How much the objectness loss of a level weighs: small objects' levels have most cells and need most.
LEVEL_BALANCE = {3: (4.0, 1.0, 0.4)}
LEVEL_BALANCE_OTHER = (4.0, 1.0, 0.25, 0.06, 0.02)
# The cell of the centre, then its left, upper, right and lower neighbour; subtracted from the centre, in cells.
NEIGHBOUR_OFFSETS_XY = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))
MARGIN = 0.5  # a neighbour takes part when the centre is nearer than this to it, in cells


class Matches(NamedTuple):
    """The (cell, anchor) pairs of one level that are responsible for a box; M of them, with repetitions.

    `winner` settles cells that are responsible for several boxes: it holds, for each pair, the position of the last
    pair of the same image, anchor and cell, whose overlap becomes the objectness target.
    """

    image: Tensor  # (M,) position in the batch
    anchor: Tensor  # (M,) anchor of the level
    row: Tensor  # (M,) cell y
    column: Tensor  # (M,) cell x
    boxes_cxcywh_grid: Tensor  # (M, 4) in cells; the centre relative to the cell's corner
    anchors_wh_grid: Tensor  # (M, 2) in cells
    classes: Tensor  # (M,)
    winner: Tensor  # (M,) position in this list

    def to(self, device: torch.device) -> Matches:
        """The same matches on another device, without waiting for the copy."""
        return Matches(*(field.to(device, non_blocking=True) for field in self))


class LossParts(NamedTuple):
    """A batch's loss; `total` carries the gradient and is scaled by the batch size, the parts are detached."""

    total: Tensor
    box: Tensor
    obj: Tensor
    cls: Tensor


@dataclass(frozen=True)
class LossSettings:
    """The loss's settings, gains already scaled to the model and the image size."""

    box: float
    obj: float
    cls: float
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    anchor_t: float = 4.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0
    box_loss: str = "ciou"
    obj_loss: str = "bce"
    cls_loss: str = "bce"

    @classmethod
    def scaled(
        cls, hyp: Mapping[str, Any] | object, *, nc: int, levels: int, image_px: int, label_smoothing: float = 0.0
    ) -> LossSettings:
        """Scale the gains of a hyperparameter file as YOLOv5 does.

        Args:
            hyp: A mapping or an object with YOLOv5's names; the gains are those for 3 levels, 80 classes and 640 px.
            nc: Number of classes.
            levels: Number of detection levels.
            image_px: Training image size.
            label_smoothing: Epsilon of the class targets, 0 to 1.
        """

        def value(name: str) -> float:
            return float(hyp[name] if isinstance(hyp, Mapping) else getattr(hyp, name))

        def name(key: str, default: str) -> str:
            return str(hyp.get(key, default) if isinstance(hyp, Mapping) else getattr(hyp, key, default))

        per_level = 3 / levels
        return cls(
            box=value("box") * per_level,
            obj=value("obj") * (image_px / 640) ** 2 * per_level,
            cls=value("cls") * nc / 80 * per_level,
            cls_pw=value("cls_pw"),
            obj_pw=value("obj_pw"),
            anchor_t=value("anchor_t"),
            fl_gamma=value("fl_gamma"),
            label_smoothing=label_smoothing,
            box_loss=name("box_loss", "ciou"),
            obj_loss=name("obj_loss", "bce"),
            cls_loss=name("cls_loss", "bce"),
        )


def assign_targets(
    targets: Tensor, anchors_wh_grid: Tensor, grids: Sequence[tuple[int, int]], anchor_ratio_limit: float
) -> list[Matches]:
    """Say which cells and anchors of each level are responsible for which boxes.

    Args:
        targets: (N, 6) rows of image, class, cx, cy, w, h; the box normalised to the image.
        anchors_wh_grid: (levels, anchors, 2) in cells of the level.
        grids: Per level (rows, columns).
        anchor_ratio_limit: Largest ratio of a side to the anchor's, either way, exclusive.

    Returns:
        One `Matches` per level, on the device of `targets`.
    """
    return [
        _assign_level(targets, anchors, rows, columns, anchor_ratio_limit)
        for anchors, (rows, columns) in zip(anchors_wh_grid, grids, strict=True)
    ]


def _assign_level(targets: Tensor, anchors_wh: Tensor, rows: int, columns: int, ratio_limit: float) -> Matches:
    cells_xy = targets.new_tensor((columns, rows))
    ratio = (targets[:, 4:6] * cells_xy)[None] / anchors_wh[:, None]  # (anchors, N, 2)
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < ratio_limit  # (anchors, N)
    anchor, target = fits.nonzero(as_tuple=True)  # (K,) ordered by anchor, then by target

    centre = targets[target, 2:4] * cells_xy  # (K, 2)
    from_far_edge = cells_xy - centre
    near = torch.cat(((centre % 1 < MARGIN) & (centre > 1), (from_far_edge % 1 < MARGIN) & (from_far_edge > 1)), 1)
    takes_part = torch.cat((near.new_ones(len(near), 1), near), 1).T  # (5, K): own cell, left, up, right, down
    offset, match = takes_part.nonzero(as_tuple=True)  # (M,) ordered by offset, then as above

    anchor, target, centre = anchor[match], target[match], centre[match]
    cell = (centre - targets.new_tensor(NEIGHBOUR_OFFSETS_XY)[offset]).long()  # (M, 2) x, y
    column, row = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
    image, classes = targets[target, 0].long(), targets[target, 1].long()
    size = targets[target, 4:6] * cells_xy
    relative = centre - torch.stack((column, row), 1)
    key = ((image * len(anchors_wh) + anchor) * rows + row) * columns + column
    boxes = torch.cat((relative, size), 1)
    return Matches(image, anchor, row, column, boxes, anchors_wh[anchor], classes, last_of_equal(key))


def last_of_equal(keys: Tensor) -> Tensor:
    """For each position of (M,) integers, the last position that holds the same integer."""
    ordered, order = keys.sort(stable=True)
    return order[torch.searchsorted(ordered, keys, right=True) - 1]


def decode_boxes(logits_xywh: Tensor, anchors_wh_grid: Tensor) -> Tensor:
    """Turn raw outputs (M, 4) into (M, 4) boxes cx, cy, w, h in cells, the centre relative to the cell's corner."""
    scaled = logits_xywh.sigmoid() * 2
    return torch.cat((scaled[:, :2] - 0.5, scaled[:, 2:] ** 2 * anchors_wh_grid), 1)


class DetectionLoss(nn.Module):
    """The training loss of one model at one image size.

    Args:
        detect: The model's `Detect` head: its `anchors` (levels, anchors, 2) in cells and its `nc` are read once, here,
            so anchors that change later need a new loss.
        hyp: A mapping or an object with YOLOv5's names: box, obj, cls, cls_pw, obj_pw, anchor_t, fl_gamma; and
            box_loss, obj_loss, cls_loss, of which one that is left out is YOLOv5's.
        image_px: Training image size, to which the objectness gain is scaled.
        label_smoothing: Epsilon of the class targets.
        class_weights: (nc,) weight of an object in the class loss, by its class; None for 1 each.
    """

    def __init__(
        self,
        detect: Detect,
        hyp: Mapping[str, Any] | object,
        *,
        image_px: int,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        # Targets come from the loader, on the CPU: matched there, a GPU is never waited for.
        self.anchors_wh_grid = detect.anchors.detach().float().cpu()  # (levels, anchors, 2)
        self.strides_px = [float(stride) for stride in detect.stride]
        self.nc = int(detect.nc)
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        levels = len(self.anchors_wh_grid)
        self.balance = LEVEL_BALANCE.get(levels, LEVEL_BALANCE_OTHER)[:levels]
        if len(self.balance) < levels:
            raise ValueError(f"Expected at most {len(LEVEL_BALANCE_OTHER)} detection levels but got {levels}")
        self.settings = LossSettings.scaled(
            hyp, nc=self.nc, levels=levels, image_px=image_px, label_smoothing=label_smoothing
        )

    def forward(
        self,
        raw: Sequence[Tensor],
        targets: Tensor,
        mean_of_processes: Callable[[Sequence[float]], Sequence[float]] | None = None,
    ) -> LossParts:
        """Compute the loss of a batch.

        Args:
            raw: Per level (B, anchors, rows, columns, 5 + nc), the head's raw maps.
            targets: (N, 6) rows of image, class, cx, cy, w, h; the box normalised to the image. Best on the CPU.
            mean_of_processes: Given where several processes have a share each of one batch: returns the mean over them
                of what each hands in. The loss is then divided by the matches and images of the whole batch, so that
                the mean over the processes of each part is the whole batch's, and of `total` the whole batch's divided
                by the number of processes, however unevenly the matches are spread.
        """
        grids = [(level.shape[2], level.shape[3]) for level in raw]
        anchors = self.anchors_wh_grid.to(targets.device)
        matches = assign_targets(targets.float(), anchors, grids, self.settings.anchor_t)
        joint = () if mean_of_processes is None else (mean_of_processes(_sizes(raw, matches)),)
        device = raw[0].device
        with torch.autocast(device.type, enabled=False):
            return self._compute([level.float() for level in raw], [level.to(device) for level in matches], *joint)

    def _compute(
        self, raw: Sequence[Tensor], matches: Sequence[Matches], sizes: Sequence[float] | None = None
    ) -> LossParts:
        """The loss; `sizes` are what sums over a batch are divided by, by default those of `_sizes`."""
        settings = self.settings
        images, *match_counts = _sizes(raw, matches) if sizes is None else sizes
        picked = torch.cat([level[m.image, m.anchor, m.row, m.column] for level, m in zip(raw, matches, strict=True)])
        share = torch.cat(
            [
                m.classes.new_full((len(m.classes),), 1 / (count or 1), dtype=torch.float32)
                for m, count in zip(matches, match_counts, strict=True)
            ]
        )
        boxes = decode_boxes(picked[:, :4], torch.cat([m.anchors_wh_grid for m in matches]))
        labelled = torch.cat([m.boxes_cxcywh_grid for m in matches])
        if settings.box_loss == "ciou":
            reached = complete_iou(boxes, labelled)  # (M,) over all levels
            box_loss, overlap = 1 - reached, reached.detach().clamp(0)
        else:  # the objectness target stays CIoU, so that the box loss alone differs
            box_loss = BOX_LOSS[settings.box_loss](self._pairs(boxes, labelled, raw, matches))
            overlap = complete_iou(boxes.detach(), labelled).clamp(0)
        box = (box_loss * share).sum() * settings.box
        obj = self._objectness(raw, matches, overlap) * (settings.obj * (len(raw[0]) / images))
        cls = self._classes(picked[:, 5:], torch.cat([m.classes for m in matches]), share, overlap) * settings.cls
        return LossParts((box + obj + cls) * images, box.detach(), obj.detach(), cls.detach())

    def _pairs(self, boxes: Tensor, labelled: Tensor, raw: Sequence[Tensor], matches: Sequence[Matches]) -> BoxPairs:
        """The pairs of all levels, with the sizes that some losses scale by."""
        counts = torch.tensor([len(m.classes) for m in matches], device=boxes.device)
        sides = boxes.new_tensor([(level.shape[3], level.shape[2]) for level in raw])
        strides = boxes.new_tensor(self.strides_px)
        return BoxPairs(boxes, labelled, sides.repeat_interleave(counts, 0), strides.repeat_interleave(counts))

    def _objectness(self, raw: Sequence[Tensor], matches: Sequence[Matches], overlap: Tensor) -> Tensor:
        """Sum over levels of balance times the mean over cells; `overlap` is (M,) over all levels."""
        settings, total = self.settings, overlap.new_zeros(())
        values = overlap.split([len(m.classes) for m in matches])
        for level, m, value, balance in zip(raw, matches, values, self.balance, strict=True):
            logits = level[..., 4]
            target = torch.zeros_like(logits)
            target[m.image, m.anchor, m.row, m.column] = value[m.winner]
            loss = binary_loss(
                logits,
                target,
                settings.obj_pw,
                settings.fl_gamma,
                kind=settings.obj_loss,
                overlap=target,
                mean_overlap=_mean(overlap),
            )
            total = total + loss.mean() * balance
        return total

    def _classes(self, logits: Tensor, classes: Tensor, share: Tensor, overlap: Tensor) -> Tensor:
        """Sum over levels of the mean over matches and classes; 0 for a model of one class."""
        if self.nc == 1:
            return logits.sum() * 0
        settings = self.settings
        target = torch.full_like(logits, settings.label_smoothing / 2)
        target[torch.arange(len(classes), device=classes.device), classes] = 1 - settings.label_smoothing / 2
        loss = binary_loss(
            logits,
            target,
            settings.cls_pw,
            settings.fl_gamma,
            kind=settings.cls_loss,
            overlap=overlap[:, None],
            mean_overlap=_mean(overlap),
        )
        if self.class_weights is not None:
            share = share * self.class_weights.to(share.device)[classes]
        return (loss.mean(1) * share).sum()


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing."""
    return values.sum() / max(len(values), 1)


def _sizes(raw: Sequence[Tensor], matches: Sequence[Matches]) -> list[float]:
    """The number of images of a batch, then that of the matches of each level."""
    return [float(len(raw[0])), *(float(len(level.classes)) for level in matches)]
