"""Sums over parts of a map (B, C, H, W), in the form that is fastest for its dtype, memory format and device.

On the CPU torch sums bfloat16, and channels_last maps along one side, many times slower than it multiplies matrices: a
product with ones, which accumulates in float32, takes 0.3 to 0.6 ms where `mean` takes 4 to 15 ms (8 x 128 x 80 x 80,
one thread). Where there is no such product, a sum and a division still take less than `mean` of bfloat16. Compilers and
exporters get the plain reduction.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.blocks.tensor_traits import is_channels_last, is_traced, records_graph


def sum_positions(x: Tensor) -> Tensor:
    """Sum of (B, C, N) over the positions: (B, C)."""
    if _prefers_matmul(x):
        return torch.bmm(x, x.new_ones(1).expand(x.shape[0], x.shape[2], 1)).squeeze(2)
    return x.sum(2)


def sum_channels(x: Tensor) -> Tensor:
    """Sum of (B, C, N) over the channels: (B, N)."""
    return torch.bmm(x.new_ones(1).expand(x.shape[0], 1, x.shape[1]), x).squeeze(1)


def mean_positions(x: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the positions: (B, C)."""
    if _prefers_matmul(x):
        return sum_positions(x.flatten(2)) / (x.shape[2] * x.shape[3])
    return x.mean((2, 3))


def max_positions(x: Tensor) -> Tensor:
    """Largest value of (B, C, H, W) over the positions: (B, C); the first of equal ones gets the gradient."""
    return _MaxPositions.apply(x) if records_graph() else x.amax((2, 3))


class _MaxPositions(torch.autograd.Function):
    """By the pooling that gives indices, up to ten times as fast as `max`; its own backward is not deterministic."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        largest, indices = F.adaptive_max_pool2d(x, 1, return_indices=True)
        ctx.save_for_backward(x, indices.flatten(2))
        return largest.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        x, indices = ctx.saved_tensors
        result = torch.zeros_like(x)
        add_at(result, 2, indices, gradient.unsqueeze(2))
        return result


def mean_channels(x: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the channels: (B, 1, H, W)."""
    if is_traced() or x.dtype is torch.float16:  # whose sum may be beyond its range
        return x.mean(1, keepdim=True)
    return (sum_channels(x.flatten(2)) / x.shape[1]).view(x.shape[0], 1, *x.shape[2:])


def sum_width(x: Tensor) -> Tensor:
    """Sum of (B, C, H, W) along each row: (B, C, H, 1)."""
    return _width_by_matmul(x, 1) if _prefers_matmul_of_lines(x) else x.sum(3, keepdim=True)


def sum_height(x: Tensor) -> Tensor:
    """Sum of (B, C, H, W) along each column: (B, C, 1, W)."""
    return _height_by_matmul(x, 1) if _prefers_matmul_of_lines(x) else x.sum(2, keepdim=True)


def mean_width(x: Tensor) -> Tensor:
    """Mean of (B, C, H, W) along each row: (B, C, H, 1)."""
    if _prefers_matmul_of_lines(x):
        return _width_by_matmul(x, 1 / x.shape[3])
    return x.sum(3, keepdim=True) / x.shape[3] if _prefers_matmul(x) else x.mean(3, keepdim=True)


def mean_height(x: Tensor) -> Tensor:
    """Mean of (B, C, H, W) along each column: (B, C, 1, W)."""
    if _prefers_matmul_of_lines(x):
        return _height_by_matmul(x, 1 / x.shape[2])
    return x.sum(2, keepdim=True) / x.shape[2] if _prefers_matmul(x) else x.mean(2, keepdim=True)


def _width_by_matmul(x: Tensor, factor: float) -> Tensor:
    batch, channels, height, _ = x.shape
    total = _sum_rows(x.permute(0, 2, 3, 1).flatten(0, 1), factor)  # of (B * H, W, C)
    return total.view(batch, height, 1, channels).permute(0, 3, 1, 2)


def _height_by_matmul(x: Tensor, factor: float) -> Tensor:
    batch, channels, _, width = x.shape
    total = _sum_rows(x.permute(0, 2, 3, 1).flatten(2), factor)  # of (B, H, W * C)
    return total.view(batch, 1, width, channels).permute(0, 3, 1, 2)


def _sum_rows(x: Tensor, factor: float) -> Tensor:
    """Sum of (K, M, N) over M, times factor, which the product applies before it rounds: (K, 1, N)."""
    ones = x.new_ones(x.shape[0], 1, x.shape[1])  # with strides of 0, by expand, the product takes a fifth longer
    return torch.baddbmm(x.new_empty(x.shape[0], 1, x.shape[2]), ones, x, beta=0, alpha=factor)


def _prefers_matmul_of_lines(x: Tensor) -> bool:
    return _prefers_matmul(x) and is_channels_last(x)


def _prefers_matmul(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 and x.device.type == "cpu" and not is_traced()


def add_at(x: Tensor, dim: int, indices: Tensor, values: Tensor) -> None:
    """Add values to (B, C, N) of x (B, C, H, W) at one index per line along dim.

    Unlike `scatter_add_` it is deterministic on every device. Scattering into a strided view copies the whole map, so
    the channels_last format is addressed as what it is, contiguous (B, N, C).
    """
    if is_channels_last(x):
        x, dim = x.permute(0, 2, 3, 1).flatten(1, 2), 3 - dim
        indices, values = indices.transpose(1, 2), values.transpose(1, 2)
    else:
        x = x.flatten(2)
    x.scatter_(dim, indices, x.gather(dim, indices) + values)
