"""EMA: a spatial gate per group of channels, from a directional branch and a 3x3 branch that weigh each other.

Ouyang et al. 2023, "Efficient Multi-Scale Attention Module with Cross-Spatial Learning", arXiv:2305.13563.
Same values as the widely used release. Deviations: directional means instead of adaptive pooling, which exports to
ONNX wrongly; the mean of the normalised branch, which is the bias of the normalisation, is not computed again.
The authors use 32 groups (`factor`), YOLO forks 8.
"""

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_divisible, check_integer, float32, zero
from models.attention.parts.reductions import mean_height, mean_positions, mean_width
from models.attention.parts.registry import register
from models.attention.parts.tensors import group_norm, like_format


@register("EMA")
class EMA(Attention):
    """x * s(m), with m (B * factor, 1, H, W), one map for each of `factor` groups of C / factor channels.

    Per group, a_h and a_w are the sigmoids of one 1x1 convolution of the means over W and over H;
    u = GN(x * a_h * a_w), one group per channel; v = conv3x3(x);
    m = softmax(mean of u) . v + softmax(mean of v) . u, softmax and product over the channels of the group.

    Identity start: the 3x3 convolution and the normalisation's weight and bias are zero, so m = 0, and the gate is
    2 s(m), exactly 1; the factor 2 touches the gate only. Those layers learn from the first step, the 1x1
    convolution from the second.

    Args:
        channels: Number of channels C, a multiple of `factor`.
        factor: Number of groups.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Efficient Multi-Scale Attention Module with Cross-Spatial Learning, arXiv:2305.13563"
    YEAR = 2023
    GATES = ("full",)
    POSITIONAL = ("factor",)

    def __init__(self, channels: int, *, factor: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("factor", factor)
        check_divisible(channels, factor, "factor")
        self.groups = factor
        width = channels // factor
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)
        if self.identity:
            zero(self.gn, self.conv3x3)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        batch, channels, height, width = x.shape
        part = x.contiguous().reshape(batch * self.groups, channels // self.groups, height, width)  # (BG, K, H, W)
        gate = self._logits(part).sigmoid().to(x.dtype)  # (BG, 1, H, W)
        if self.identity:
            gate = 2 * gate
        self._report(full=lambda: gate.repeat_interleave(part.shape[1], 1).reshape(x.shape))
        # Left only here, the contiguous format spares products of two formats, which are many times slower.
        return like_format((part * gate).reshape(x.shape), x)

    def _logits(self, part: Tensor) -> Tensor:
        groups, width = part.shape[:2]
        height, columns = part.shape[2:]
        means = torch.cat([mean_width(part), mean_height(part).transpose(2, 3)], 2)
        row, column = self.conv1x1(means).sigmoid().to(part.dtype).split([height, columns], 2)
        column = column.transpose(2, 3)
        u = group_norm(part * row * column, self.gn)  # (BG, K, H, W)
        v = self.conv3x3(part)
        weight_v = float32(self.gn.bias).softmax(0).expand(groups, 1, width)  # the mean of u is the bias
        weight_u = float32(mean_positions(v)).softmax(1).unsqueeze(1)  # (BG, 1, K)
        logits = weight_v.to(v.dtype) @ v.flatten(2) + weight_u.to(u.dtype) @ u.flatten(2)  # (BG, 1, HW)
        return logits.reshape(groups, 1, height, columns)
