"""Coordinate attention: gates along the rows and along the columns from directional means.

Hou, Zhou, Feng 2021, "Coordinate Attention for Efficient Mobile Network Design", arXiv:2103.02907.
Same values as the widely used release and as the authors' code. Deviation: the directional means are plain means;
adaptive pooling is not deterministic on CUDA and exports to ONNX wrongly for dynamic sizes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import OUT_CHANNELS, Attention, BatchNorm2d, check_integer, zero
from models.attention.parts.registry import register
from models.attention.parts.strips import gate_strips


@register("CoordAtt")
class CoordAtt(Attention):
    """x * a_h * a_w, with a_h (B, C, H, 1) and a_w (B, C, 1, W).

    y = hardswish(BN(conv1(means over W and over H))), split into its H and its W part; a_h = s(conv_h(y_h)),
    a_w = s(conv_w(y_w)), s the sigmoid. The hidden width is max(8, channels // reduction).

    Identity start: conv_h and conv_w are zero and both gates are 2 s(z), so each is exactly 1; the factor 2 touches
    the gates only. conv_h and conv_w learn from the first step, what lies before them from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the hidden width.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Coordinate Attention for Efficient Mobile Network Design, arXiv:2103.02907"
    YEAR = 2021
    GATES = ("row", "column")
    POSITIONAL = (OUT_CHANNELS, "reduction")

    def __init__(self, channels: int, *, reduction: int = 32, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("reduction", reduction)
        hidden = max(8, channels // reduction)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)
        if self.identity:
            zero(self.conv_h, self.conv_w)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        return gate_strips(x, self._gates_of)

    def _gates_of(self, means_w: Tensor, means_h: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, C, H, 1) and (B, C, 1, W) to gates of the same shapes."""
        height, width = means_w.shape[2], means_h.shape[3]
        means = torch.cat([means_w, means_h.transpose(2, 3)], 2)  # (B, C, H + W, 1)
        hidden = F.hardswish(self.bn1(self.conv1(means)))
        hidden_h, hidden_w = hidden.split([height, width], 2)
        row = self.conv_h(hidden_h).sigmoid()  # (B, C, H, 1)
        column = self.conv_w(hidden_w.transpose(2, 3)).sigmoid()  # (B, C, 1, W)
        if self.identity:
            row, column = 2 * row, 2 * column
        self._report(row=row, column=column)
        return row, column
