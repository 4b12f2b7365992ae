"""S2 attention: parts of the channels shifted by one position in four directions, mixed by a softmax over three copies.

Yu et al. 2021, "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision", arXiv:2108.01072.
Deviations from the widely used release, which is broken: it shifts in place over overlapping memory, which smears
border values over two of four quarters of the channels, and its split attention is fixed to 512 channels. Here every
quarter is shifted by exactly one position, the border keeping its value, and the channels are free.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.base import Attention, float32, zero
from models.attention.registry import register
from models.attention.tensors import like_format, outside_autocast, pointwise

COPIES = 3


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
        first, second, third = pointwise(x, self.mlp1).chunk(COPIES, 1)
        copies = (
            shift(first, ((2, 1), (2, -1), (3, 1), (3, -1))),
            shift(second, ((3, 1), (3, -1), (2, 1), (2, -1))),
            third,
        )
        total = sum(float32(copy).sum((2, 3)) for copy in copies)  # (B, C)
        weights = self.split_attention(total).to(x.dtype)[..., None, None]  # (B, 3, C, 1, 1)
        self._report(channel=weights[:, -1])
        mixed = copies[0] * weights[:, 0]
        for index in (1, 2):
            mixed = torch.addcmul(mixed, copies[index].to(mixed.dtype), weights[:, index].to(mixed.dtype))
        output = pointwise(mixed, self.mlp2).to(x.dtype)
        return like_format(x + output if self.identity else output, x)


def shift(x: Tensor, moves: tuple[tuple[int, int], ...]) -> Tensor:
    """Move each quarter of the channels by one position, the border keeping its value.

    Args:
        x: (B, C, H, W).
        moves: For each quarter the axis, 2 or 3, and the direction, 1 or -1.
    """
    channels = x.shape[1]
    bounds = [channels * quarter // 4 for quarter in range(5)]
    parts = []
    for (axis, direction), low, high in zip(moves, bounds[:-1], bounds[1:], strict=True):
        part = x[:, low:high]
        length = part.shape[axis]
        kept = part.narrow(axis, 0 if direction > 0 else length - 1, 1)
        moved = part.narrow(axis, 0 if direction > 0 else 1, length - 1)
        parts.append(torch.cat([kept, moved] if direction > 0 else [moved, kept], axis))
    return torch.cat(parts, 1)
