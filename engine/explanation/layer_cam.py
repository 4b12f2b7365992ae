"""LayerCAM for single boxes of a dense detector.

Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP 30, equations 4
to 7. For a map A of a layer and a score s: M = relu(sum over channels of relu(ds/dA) * A); maps of several layers are
scaled, upsampled and merged by their maximum.

The package grad-cam is not used: its targets are one score of a model's output for an image, it runs the whole network
once for every target, averages layers by fixed weights, and knows no boxes. Here one forward pass serves all boxes of
an image, and the score is the confidence of one box, objectness times class score. What remains is a few lines.

The maps: LayerCAM on the maps that Detect reads says nothing, because behind them comes a 1x1 convolution: the score of
a box depends on one cell of one of them. The same levels are taken where the neck begins, at the last backbone row of
each stride (`backbone.P3` to `backbone.P5` and the pooling). What the neck and its attention gather from there is in
the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.insertion.places import places
from models.yolo import DetectionModel

GAMMA = 2.0  # equation 7's scaling tanh(gamma * M / max M)


def cam_rows(model: DetectionModel) -> list[int]:
    """The rows whose maps are looked at: where the neck takes over from the backbone, one a stride.

    In a graph without such places, the rows that Detect reads.
    """
    known = places(model.spec)
    rows = {name: row for name, row in known.items() if name.startswith("backbone.P")}
    if not rows:
        return sorted(set(model.spec.layers[-1].source))
    strides = {f"backbone.P{level}" for level in (round(s).bit_length() - 1 for s in model.stride.tolist())}
    chosen = {row for name, row in rows.items() if name in strides} or set(rows.values())
    if "backbone.sppf" in known:  # behind the last stage: what the neck reads of it
        chosen = (chosen - {max(rows.values())}) | {known["backbone.sppf"]}
    return sorted(chosen)


def layer_cams(model: DetectionModel, images: Tensor, boxes_xyxy_px: Tensor, class_ids: Tensor) -> Tensor:
    """A heat map for each detection of one image.

    Args:
        model: In eval mode; its parameters get no gradient.
        images: (1, C, H, W) in 0..1.
        boxes_xyxy_px: (n, 4) detections in pixels of `images`, which say whose score is meant.
        class_ids: (n,) their classes.

    Returns:
        (n, h, w) float32 in 0..1, at the size of the largest map looked at; 0 where no class score rises with it.
    """
    if not len(boxes_xyxy_px):
        return images.new_zeros((0, 1, 1))
    with torch.enable_grad(), _maps_of(model, cam_rows(model)) as maps:
        predictions = model.detect.decode(model.raw(images))[0]  # (N, 5 + nc)
        rows = _rows_of(predictions.detach(), boxes_xyxy_px, class_ids, images.shape[-2:])
        scores = predictions[rows, 4] * predictions[rows, 5 + class_ids]
        largest = max((tuple(one.shape[-2:]) for one in maps), key=lambda hw: hw[0] * hw[1])
        # One backward pass a box, from its score to where the neck begins: memory stays that of one.
        cams = [
            merge_levels([layer_cam(a, g) for a, g in zip(maps, grads, strict=True)], largest)
            for grads in (torch.autograd.grad(score, maps, retain_graph=True, allow_unused=True) for score in scores)
        ]
    return torch.stack(cams).detach()


def layer_cam(activation: Tensor, gradient: Tensor | None) -> Tensor:
    """Equations 4 to 6: (1, C, h, w) twice -> (h, w) float32; zeros where the score does not depend on the map."""
    if gradient is None:
        return activation.detach().new_zeros(activation.shape[-2:])
    return (gradient.relu() * activation.detach()).sum(1)[0].relu().float()


def merge_levels(levels: Sequence[Tensor], size_hw: tuple[int, ...]) -> Tensor:
    """Equation 7 and the merge: scaled by tanh, upsampled, then the maximum, in 0..1.

    The paper divides each level by its own maximum; here all are divided by the largest of all, so that a level which
    the score hardly depends on stays dark.
    """
    top = max(float(level.max()) for level in levels)
    merged = levels[0].new_zeros(size_hw)
    for level in levels if top > 0 else ():
        scaled = torch.tanh(GAMMA * level / top)
        up = F.interpolate(scaled[None, None], size=size_hw, mode="bilinear", align_corners=False)[0, 0]
        merged = torch.maximum(merged, up)
    return merged / merged.max() if top > 0 else merged


def _rows_of(predictions: Tensor, boxes_xyxy_px: Tensor, class_ids: Tensor, hw: Sequence[int]) -> Tensor:
    """The prediction that each detection was made of.

    Detections may come from another arithmetic (bf16, fused layers), so that of the nearest corners is taken, in
    pixels; of equally near ones the most confident.
    """
    centre, half = predictions[:, :2], predictions[:, 2:4] / 2
    limit = predictions.new_tensor([hw[1], hw[0], hw[1], hw[0]])
    corners = torch.cat((centre - half, centre + half), 1).clamp(min=0).minimum(limit)
    chosen = []
    for box, class_id in zip(boxes_xyxy_px, class_ids, strict=True):
        confidence = predictions[:, 4] * predictions[:, 5 + class_id]
        chosen.append(((corners - box).abs().amax(1) - confidence).argmin())
    return torch.stack(chosen)


@contextmanager
def _maps_of(model: DetectionModel, rows: Sequence[int]) -> Iterator[list[Tensor]]:
    """Collect the maps of rows during a forward pass; the graph of gradients begins at the first of them."""
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        del module, inputs
        maps.append(output if maps else output.detach().requires_grad_())
        return maps[-1]

    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    hooks = [model.model[row].register_forward_hook(keep) for row in rows]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, before in wanted:
            parameter.requires_grad_(before)
