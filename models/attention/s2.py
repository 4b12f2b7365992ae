"""S2 attention: parts of the channels shifted by one position in four directions, mixed by a softmax over three copies.

Yu et al. 2021, "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision", arXiv:2108.01072.
Deviations from the widely used release, which is broken: it shifts in place over overlapping memory, which smears
border values over two of four quarters of the channels, and its split attention is fixed to 512 channels. Here every
quarter is shifted by exactly one position, the border keeping its value, and the channels are free.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts import register
from models.attention.parts.base import Attention, float32, zero
from models.attention.parts.shifted_copies import COPIES, mix_copies, shifted_copies, sum_copies
from models.attention.parts.tensors import like_format, outside_autocast, pointwise
from models.blocks.tensor_traits import is_traced


class SplitAttention(nn.Module):
    """Weights of the three copies for every channel, from the sum of all of them over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp1 = nn.Linear(channels, channels, bias=False)
        self.mlp2 = nn.Linear(channels, channels * COPIES, bias=False)

    def forward(self, total: Tensor) -> Tensor:
        """(B, C) sums to weights (B, 3, C); in float32, since sums grow with the map."""
        with outside_autocast(total):
            hidden = F.gelu(F.linear(total, self.mlp1.weight.to(total.dtype)))
            logits = F.linear(hidden, self.mlp2.weight.to(total.dtype))
        return logits.unflatten(1, (COPIES, -1)).softmax(1)


@register("S2Attention")
class S2Attention(Attention):
    """mlp2(sum over k of w_k * y_k), y_1 and y_2 shifted in the four directions in two orders, y_3 not; y = mlp1(x).

    w (B, 3, C) is a softmax over the copies. The first quarter of y_1's channels moves down, then up, right, left;
    y_2's right, left, down, up. The reported channel gate is the weight of the copy that is not shifted. As published,
    the input is not added.

    Identity start: mlp2 is zero and the input is added (one addition more than published). mlp2 learns from the first
    step, the others from the second.

    Args:
        channels: Number of channels C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision, arXiv:2108.01072"
    YEAR = 2021
    GATES = ("channel",)

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.mlp1 = nn.Linear(channels, channels * COPIES)
        self.mlp2 = nn.Linear(channels, channels)
        self.split_attention = SplitAttention(channels)
        if self.identity:
            zero(self.mlp2)

    def forward(self, x: Tensor) -> Tensor:
        """Mix shifted copies of a map (B, C, H, W)."""
        y = pointwise(x, self.mlp1)  # (B, 3 C, H, W)
        if is_traced():
            stacked = torch.stack(shifted_copies(y), 1)  # (B, 3, C, H, W)
            mixed = (stacked * self._weights(float32(stacked).sum((1, 3, 4)), x.dtype)).sum(1)
        else:
            y, summed = sum_copies(y)
            mixed = mix_copies(y, self._weights(summed, y.dtype))
        output = pointwise(mixed, self.mlp2).to(x.dtype)
        return like_format(x + output if self.identity else output, x)

    def _weights(self, summed: Tensor, dtype: torch.dtype) -> Tensor:
        weights = self.split_attention(summed).to(dtype)[..., None, None]  # (B, 3, C, 1, 1)
        self._report(channel=weights[:, -1])
        return weights
