"""Three copies of a map, two of them shifted by a position, summed and mixed without a shifted copy.

A map y (B, 3 C, H, W) holds the copies. Of the first two every quarter of the channels moves by one position in a
direction of its own: the line at one border is repeated, the line at the other leaves the map.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.attention.parts.base import Context, float32, once_differentiable
from models.attention.parts.reductions import POSITIONS, total

COPIES = 3
# How each quarter of the first and of the second copy moves: axis, 2 or 3, and direction, 1 or -1.
MOVES = (((2, 1), (2, -1), (3, 1), (3, -1)), ((3, 1), (3, -1), (2, 1), (2, -1)))


def shifted_copies(y: Tensor) -> tuple[Tensor, ...]:
    """The three copies, (B, C, H, W) each, made: the plain form, for compilers and exporters."""
    copies = y.chunk(COPIES, 1)
    return (*(_shift(copy, moves) for copy, moves in zip(copies, MOVES, strict=False)), copies[-1])


def sum_copies(y: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all copies over all positions, (B, C) in float32 at least, behind y for `mix_copies`."""
    return _Sum.apply(y)


def mix_copies(y: Tensor, weights: Tensor) -> Tensor:
    """Sum over the copies of weight times copy.

    Args:
        y: The map, as `sum_copies` hands it on.
        weights: (B, 3, C, 1, 1) in the dtype of y.

    Returns:
        (B, C, H, W).
    """
    return _Mix.apply(y, weights)


def _shift(x: Tensor, moves: tuple[tuple[int, int], ...]) -> Tensor:
    parts = []
    for part, (axis, direction) in zip(_quarters(x.shape[1]), moves, strict=True):
        lines = _Lines.of(x[:, part], axis, direction)
        parts.append(torch.cat([lines.kept, lines.source] if direction > 0 else [lines.source, lines.kept], axis))
    return torch.cat(parts, 1)


def _quarters(channels: int) -> list[slice]:
    bounds = [channels * quarter // 4 for quarter in range(5)]
    return [slice(low, high) for low, high in itertools.pairwise(bounds)]


def _moving(channels: int) -> Iterator[tuple[int, slice, int, int]]:
    """Each quarter that moves: its copy, its channels within the copy, axis and direction."""
    for copy, moves in enumerate(MOVES):
        for part, (axis, direction) in zip(_quarters(channels), moves, strict=True):
            yield copy, part, axis, direction


class _Lines(NamedTuple):
    """Views of the part of a map that moves along an axis."""

    source: Tensor  # all lines but the one that leaves
    target: Tensor  # where those go
    kept: Tensor  # the line that stays where it is, and is repeated
    leaving: Tensor

    @classmethod
    def of(cls, x: Tensor, axis: int, direction: int) -> "_Lines":
        last, forth = x.shape[axis] - 1, direction > 0
        first, second = (x.narrow(axis, start, last) for start in (0, 1))
        begin, end = (x.narrow(axis, start, 1) for start in (0, last))
        return cls(first, second, begin, end) if forth else cls(second, first, end, begin)


def _of_copy(y: Tensor, copy: int, part: slice) -> Tensor:
    start = copy * (y.shape[1] // COPIES)
    return y[:, start + part.start : start + part.stop]


class _Sum(torch.autograd.Function):
    """Hands y out, too, so that both gradients meet here."""

    @staticmethod
    def forward(ctx: Context, y: Tensor) -> tuple[Tensor, Tensor]:
        summed = float32(y).sum((2, 3)).unflatten(1, (COPIES, -1)).sum(1)
        for copy, part, axis, direction in _moving(summed.shape[1]):
            lines = _Lines.of(_of_copy(y, copy, part), axis, direction)
            summed[:, part] += float32(lines.kept).sum((2, 3)) - float32(lines.leaving).sum((2, 3))
        return y.view_as(y), summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        for_y, for_sum = gradients
        share = for_sum.to(for_y.dtype)[..., None, None]
        result = for_y + share.repeat(1, COPIES, 1, 1)
        for copy, part, axis, direction in _moving(share.shape[1]):
            lines = _Lines.of(_of_copy(result, copy, part), axis, direction)
            lines.kept.add_(share[:, part])
            lines.leaving.sub_(share[:, part])
        return result


class _Mix(torch.autograd.Function):
    """Each value is read where it was before the shift."""

    @staticmethod
    def forward(ctx: Context, y: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(y, weights)
        channels = weights.shape[2]
        mixed = y[:, 2 * channels :] * weights[:, 2]
        for copy, part, axis, direction in _moving(channels):
            before, after = (_Lines.of(t, axis, direction) for t in (_of_copy(y, copy, part), mixed[:, part]))
            after.target.addcmul_(before.source, weights[:, copy, part])
            after.kept.addcmul_(before.kept, weights[:, copy, part])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        y, weights = ctx.saved_tensors
        channels = weights.shape[2]
        for_y, for_weights = torch.empty_like(y), torch.zeros_like(weights)
        torch.mul(gradient, weights[:, 2], out=for_y[:, 2 * channels :])
        for_weights[:, 2] = total(gradient * y[:, 2 * channels :], POSITIONS)
        for copy, part, axis, direction in _moving(channels):
            weight = weights[:, copy, part]
            incoming, result, before = (
                _Lines.of(t, axis, direction)
                for t in (gradient[:, part], _of_copy(for_y, copy, part), _of_copy(y, copy, part))
            )
            torch.mul(incoming.target, weight, out=result.source)
            result.leaving.zero_()
            result.kept.addcmul_(incoming.kept, weight)
            for to, source in ((incoming.target, before.source), (incoming.kept, before.kept)):
                for_weights[:, copy, part] += total(to * source, POSITIONS)
        return for_y, for_weights
