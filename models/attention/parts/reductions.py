"""Sums, means and maxima of a map (B, C, H, W) over some of its axes, in the form that is fastest where it is stored.

On the CPU torch sums bfloat16, and channels_last maps along one side, many times slower than it multiplies matrices: a
product with ones, which accumulates in float32, takes 0.3 to 0.6 ms where `mean` takes 4 to 15 ms (8 x 128 x 80 x 80,
one thread). Where there is no such product, a sum and a division still take less than `mean` of bfloat16. Compilers and
exporters get the plain reduction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.blocks.tensor_traits import is_channels_last, is_traced

Axes = tuple[int, ...]

CHANNELS: Axes = (1,)
HEIGHT: Axes = (2,)
WIDTH: Axes = (3,)
POSITIONS: Axes = (2, 3)


def total(x: Tensor, axes: Axes) -> Tensor:
    """Sum over the axes, one of the four above; they stay with length 1."""
    batch, channels, height, width = x.shape
    if is_traced():
        return x.sum(axes, keepdim=True)
    if axes == CHANNELS:
        ones = x.new_ones(1).expand(batch, 1, channels)
        return torch.bmm(ones, x.flatten(2)).view(batch, 1, height, width)
    if not _sums_slowly(x):
        return x.sum(axes, keepdim=True)
    if axes == POSITIONS:
        return torch.bmm(x.flatten(2), x.new_ones(1).expand(batch, height * width, 1)).unsqueeze(3)
    if not is_channels_last(x):
        return x.sum(axes, keepdim=True)
    rows = x.permute(0, 2, 3, 1)  # (B, H, W, C), contiguous
    rows = rows.flatten(2) if axes == HEIGHT else rows.flatten(0, 1)  # (B, H, W * C) or (B * H, W, C)
    ones = x.new_ones(len(rows), 1, rows.shape[1])  # with strides of 0, by expand, the product takes a fifth longer
    summed = torch.bmm(ones, rows)
    shape = (batch, 1, width, channels) if axes == HEIGHT else (batch, height, 1, channels)
    return summed.view(shape).permute(0, 3, 1, 2)


def total_to(x: Tensor, shape: torch.Size) -> Tensor:
    """Sum over the axes along which `shape` has length 1 and x has more."""
    axes = tuple(axis for axis in (1, 2, 3) if shape[axis] != x.shape[axis])
    return total(x, axes) if axes else x


def mean(x: Tensor, axes: Axes) -> Tensor:
    """Mean over the axes, one of the four above; they stay with length 1."""
    by_sum = _sums_slowly(x) or (axes == CHANNELS and x.dtype is not torch.float16)  # whose sums may leave its range
    return total(x, axes) / count(x, axes) if by_sum and not is_traced() else x.mean(axes, keepdim=True)


def count(x: Tensor, axes: Axes) -> int:
    """Number of values along the axes."""
    return x.shape[2] * x.shape[3] if axes == POSITIONS else x.shape[axes[0]]


def maximum_and_index(x: Tensor, axes: Axes) -> tuple[Tensor, Tensor]:
    """Largest value over the axes, which stay with length 1, and where it is along them: the first of equal ones."""
    if axes == POSITIONS:  # up to ten times as fast as `max`; its own backward is not deterministic
        return F.adaptive_max_pool2d(x, 1, return_indices=True)
    return x.max(axes[0], keepdim=True)


def add_at(x: Tensor, axes: Axes, index: Tensor, values: Tensor) -> None:
    """Add the values to x in place, each at its index along the axes, as `maximum_and_index` gives it.

    Unlike `scatter_add_` it is deterministic on every device. Scattering into a strided view copies the whole map, so
    the channels_last format is addressed as what it is, contiguous (B, N, C).
    """
    height, width = x.shape[2:]
    if axes == HEIGHT:
        index = index * width + torch.arange(width, device=x.device)
    elif axes == WIDTH:
        index = index + torch.arange(height, device=x.device)[:, None] * width
    index, values, dim = index.flatten(2), values.flatten(2), 1 if axes == CHANNELS else 2
    if is_channels_last(x):
        flat = x.permute(0, 2, 3, 1).flatten(1, 2)
        index, values, dim = index.transpose(1, 2), values.transpose(1, 2), 3 - dim
    else:
        flat = x.flatten(2)
    flat.scatter_(dim, index, flat.gather(dim, index) + values)


def _sums_slowly(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 and x.device.type == "cpu"
