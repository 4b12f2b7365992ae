"""S2 attention: parts of the channels shifted by one position in four directions, mixed by a softmax over three copies.

Yu et al. 2021, "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision", arXiv:2108.01072.
Deviations from the widely used release, which is broken: it shifts in place over overlapping memory, which smears
border values over two of four quarters of the channels, and its split attention is fixed to 512 channels. Here every
quarter is shifted by exactly one position, the border keeping its value, and the channels are free.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, float32, zero
from models.attention.parts.reductions import sum_positions
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format, outside_autocast, pointwise
from models.blocks.tensor_traits import is_traced

COPIES = 3
# How each quarter of the first and of the second copy moves: axis, 2 or 3, and direction, 1 or -1.
MOVES = (((2, 1), (2, -1), (3, 1), (3, -1)), ((3, 1), (3, -1), (2, 1), (2, -1)))


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
        y = pointwise(x, self.mlp1)
        mixed = self._mix_copies(y, x.dtype) if is_traced() else self._mix_in_place(y)
        output = pointwise(mixed, self.mlp2).to(x.dtype)
        return like_format(x + output if self.identity else output, x)

    def _weights(self, total: Tensor, dtype: torch.dtype) -> Tensor:
        weights = self.split_attention(total).to(dtype)[..., None, None]  # (B, 3, C, 1, 1)
        self._report(channel=weights[:, -1])
        return weights

    def _mix_copies(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """The formula, for compilers and exporters."""
        *parts, third = y.chunk(COPIES, 1)
        copies = (*(shift(part, moves) for part, moves in zip(parts, MOVES, strict=True)), third)
        total = sum(float32(copy).sum((2, 3)) for copy in copies)  # (B, C)
        weights = self._weights(total, dtype)
        mixed = copies[0] * weights[:, 0]
        for index in (1, 2):
            mixed = torch.addcmul(mixed, copies[index].to(mixed.dtype), weights[:, index].to(mixed.dtype))
        return mixed

    def _mix_in_place(self, y: Tensor) -> Tensor:
        """The same without a shifted copy, forward or backward."""
        y, total = _Total.apply(y)
        return _Mix.apply(y, self._weights(total, y.dtype))


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


class _Total(torch.autograd.Function):
    """The sum of all copies, shifted, over all positions, (B, C) in float32; and y itself, so that gradients meet here.

    A shift repeats the line that stays and loses the one that leaves the map.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor) -> tuple[Tensor, Tensor]:
        total = float32(y).sum((2, 3)).unflatten(1, (COPIES, -1)).sum(1)
        for quarter in _quarters(y.shape[1] // COPIES):
            total[:, quarter.part] += float32(quarter.stays(y)).sum((2, 3)) - float32(quarter.leaves(y)).sum((2, 3))
        return y, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_y: Tensor, for_total: Tensor) -> Tensor:  # noqa: ANN401
        share = for_total.to(for_y.dtype)[..., None, None]
        result = for_y + share.repeat(1, COPIES, 1, 1)
        for quarter in _quarters(share.shape[1]):
            quarter.stays(result).add_(share[:, quarter.part])
            quarter.leaves(result).sub_(share[:, quarter.part])
        return result


class _Mix(torch.autograd.Function):
    """Sum over the copies, shifted, of weight (B, 3, C, 1, 1) times copy, each value read where it was before."""

    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(y, weights)
        channels = weights.shape[2]
        mixed = y[:, 2 * channels :] * weights[:, 2]
        for quarter in _quarters(channels):
            for target, source in quarter.places(mixed, y):
                target.addcmul_(source, quarter.weight(weights))
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        y, weights = ctx.saved_tensors
        channels = weights.shape[2]
        for_y, for_weights = torch.empty_like(y), torch.zeros_like(weights)
        torch.mul(gradient, weights[:, 2], out=for_y[:, 2 * channels :])
        for_weights[:, 2] = _dot(gradient, y[:, 2 * channels :])
        for quarter in _quarters(channels):
            weight = quarter.weight(weights)
            (moved, source), (kept, stays) = quarter.places(gradient, for_y)
            torch.mul(moved, weight, out=source)
            quarter.leaves(for_y).zero_()
            stays.addcmul_(kept, weight)
            for target, source in quarter.places(gradient, y):
                quarter.weight(for_weights).add_(_dot(target, source))
        return for_y, for_weights


class _Quarter(NamedTuple):
    """A quarter of the channels of one of the copies, and how it moves."""

    copy: int
    channels: int
    part: slice  # of the channels of a copy
    axis: int
    direction: int

    def weight(self, weights: Tensor) -> Tensor:
        """Of (B, 3, C, 1, 1)."""
        return weights[:, self.copy, self.part]

    def places(self, after: Tensor, before: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Views of a map (B, C, H, W) and of y (B, 3C, H, W), where the former has what was in the latter.

        First what moved, then the line at the border that was kept.
        """
        after, before = after[:, self.part], self._of(before)
        length, first = after.shape[self.axis], int(self.direction > 0)
        moved = after.narrow(self.axis, first, length - 1), before.narrow(self.axis, 1 - first, length - 1)
        return moved, (self._line(after, -self.direction), self._line(before, -self.direction))

    def stays(self, y: Tensor) -> Tensor:
        """The line of y that the shift leaves where it is, and repeats."""
        return self._line(self._of(y), -self.direction)

    def leaves(self, y: Tensor) -> Tensor:
        """The line of y that the shift pushes out of the map."""
        return self._line(self._of(y), self.direction)

    def _of(self, y: Tensor) -> Tensor:
        start = self.copy * self.channels
        return y[:, start + self.part.start : start + self.part.stop]

    def _line(self, x: Tensor, end: int) -> Tensor:
        return x.narrow(self.axis, x.shape[self.axis] - 1 if end > 0 else 0, 1)


def _quarters(channels: int) -> Iterator[_Quarter]:
    for copy, moves in enumerate(MOVES):
        for quarter, (axis, direction) in enumerate(moves):
            part = slice(channels * quarter // 4, channels * (quarter + 1) // 4)
            yield _Quarter(copy, channels, part, axis, direction)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum over the positions of a * b: (B, C, 1, 1)."""
    return sum_positions((a * b).flatten(2))[..., None, None]
