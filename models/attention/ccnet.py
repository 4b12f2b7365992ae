"""Criss-cross attention: each position attends to the positions of its row and its column.

Huang et al. 2019, "CCNet: Criss-Cross Attention for Semantic Segmentation", arXiv:1811.11721.
As the widely used PyTorch form. Deviations: at least one query channel; energies and softmax in float32; the position
itself is kept out of the column by a mask that exports and runs on any device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_integer, float32, hidden_width
from models.attention.parts.registry import register


@register("CrissCrossAttention")
class CrissCrossAttention(Attention):
    """gamma * sum_p A_p v_p + x over the H + W - 1 positions p of the row and the column; gamma starts at 0.

    A = softmax over p of q . k_p, unscaled; q, k (channels // 8) and v (channels) are 1x1 convolutions of x. Applied
    `recurrence` times with the same weights; two times let every position reach every other.

    Identity start: the published start already is the identity, since gamma is 0; both starts are the same. gamma
    learns from the first step, the rest from the second.

    The affinity handed out is that of the last application, zero off the cross.

    Args:
        channels: Number of channels C.
        recurrence: How often the module is applied; the paper's head uses 2.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "CCNet: Criss-Cross Attention for Semantic Segmentation, arXiv:1811.11721"
    YEAR = 2019
    GATES = ("affinity",)
    INERT = ("key_conv.bias",)

    def __init__(self, channels: int, *, recurrence: int = 1, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("recurrence", recurrence)
        self.recurrence = recurrence
        hidden = hidden_width(channels, 8)
        self.query_conv = nn.Conv2d(channels, hidden, 1)
        self.key_conv = nn.Conv2d(channels, hidden, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend along the rows and columns of a map (B, C, H, W)."""
        for _ in range(self.recurrence):
            x = self._attend(x)
        return x

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        # gamma A v = A (gamma v): scaled in the weights of the convolution, gamma costs no pass over a map.
        value = F.conv2d(x, self.gamma[:, None, None, None] * self.value_conv.weight, self.gamma * self.value_conv.bias)
        weights = self._weights(self.query_conv(x), self.key_conv(x)).to(value.dtype)
        column, row = weights.split([height, width], 3)  # (B, H, W, H) and (B, H, W, W)
        self._report(affinity=lambda: self._affinity(column, row))
        along_column = torch.einsum("bcgw,bhwg->bchw", value, column).to(x.dtype)
        along_row = torch.einsum("bchv,bhwv->bchw", value, row).to(x.dtype)
        return x + along_column + along_row

    @staticmethod
    def _weights(query: Tensor, key: Tensor) -> Tensor:
        """Softmax over the column, then the row, of each position: (B, H, W, H + W)."""
        height = query.shape[2]
        with torch.autocast(query.device.type, enabled=False):
            query, key = float32(query), float32(key)
            column = torch.einsum("bchw,bcgw->bhwg", query, key)
            row = torch.einsum("bchw,bchv->bhwv", query, key)
        rows = torch.arange(height, device=query.device)
        itself = rows[:, None, None] == rows  # (H, 1, H)
        return torch.cat([column.masked_fill(itself, float("-inf")), row], 3).softmax(3)

    def _affinity(self, column: Tensor, row: Tensor) -> Tensor:
        height, width = column.shape[1:3]
        i, j = self._query_position(height, width)
        cross = column.new_zeros(len(column), 1, height, width)
        cross[:, 0, :, j] = column[:, i, j]
        cross[:, 0, i, :] = row[:, i, j]
        return cross
