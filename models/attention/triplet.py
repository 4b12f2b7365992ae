"""Triplet attention: three gates, each from the maximum and the mean over one axis, averaged.

Misra et al. 2021, "Rotate to Attend: Convolutional Triplet Attention Module", arXiv:2010.03045.
Same values as the widely used release. Deviations: the map is never rotated, only the pooled maps are; a single 1x1
map in training falls back to running statistics.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, BatchNorm2d, check_flag, zero
from models.attention.parts.reductions import (
    add_at,
    mean_channels,
    mean_height,
    mean_width,
    sum_channels,
    sum_height,
    sum_width,
)
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format
from models.blocks.tensor_traits import is_traced, records_graph


class PooledConv(nn.Module):
    """7x7 convolution without bias and batch normalisation, two maps to one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = BatchNorm2d(1, momentum=0.01)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, 2, R, S) to logits (B, 1, R, S)."""
        return self.bn(self.conv(pooled))


class AxisGate(nn.Module):
    """Gate from the maximum and the mean over one axis of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = PooledConv()

    def forward(self, largest: Tensor, mean: Tensor, axis: int) -> Tensor:
        """Both pools, of length 1 along `axis` of (B, C, H, W), to the gate of the same shape."""
        pooled = torch.cat([largest.unsqueeze(1), mean.unsqueeze(1)], 1).squeeze(axis + 1)  # (B, 2, R, S)
        if axis == 3:
            pooled = pooled.transpose(2, 3)  # the release rotates C behind H here
        if not is_traced():
            # The backward of a convolution this narrow is four times as fast with the channels innermost.
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        gate = self.conv(pooled).sigmoid().squeeze(1).to(largest.dtype)
        return (gate.transpose(1, 2) if axis == 3 else gate).unsqueeze(axis)


@register("TripletAttention")
class TripletAttention(Attention):
    """x * (g_w + g_h + g_s) / 3, with g_w (B, C, 1, W), g_h (B, C, H, 1) and g_s (B, 1, H, W).

    Each gate is s(BN(conv7x7([max; mean] over the missing axis))). The gates column, row and spatial are averaged,
    not multiplied.

    Identity start: the normalisations' weights are zero (their biases are) and each gate is 2 s(z) before the average,
    which is then exactly 1; only the gates are rescaled. The normalisations learn from the first step, the
    convolutions from the second.

    Args:
        channels: Number of channels C.
        no_spatial: Leave g_s out and average the two others.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Rotate to Attend: Convolutional Triplet Attention Module, arXiv:2010.03045"
    YEAR = 2021
    GATES = ("column", "row", "spatial")
    POSITIONAL = ("no_spatial",)

    def __init__(self, channels: int, *, no_spatial: bool = False, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_flag("no_spatial", no_spatial)
        self.cw = AxisGate()
        self.hc = AxisGate()
        self.hw = None if no_spatial else AxisGate()
        if self.identity:
            for module in filter(None, (self.cw, self.hc, self.hw)):
                zero(module.conv.bn)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        modules = {2: self.cw, 3: self.hc} | ({} if self.hw is None else {1: self.hw})
        work: list[Tensor] = []
        if records_graph():
            x, *pools = _Pools.apply(like_format(x, x), tuple(modules), work)
        else:
            pools = [pool for axis in modules for pool in (_largest(x, axis), _mean(x, axis))]
        factor = 2 if self.identity else 1
        gates = [
            factor * module(largest, mean, axis)
            for (axis, module), largest, mean in zip(modules.items(), pools[::2], pools[1::2], strict=True)
        ]
        self._report(**dict(zip(self.GATES, gates, strict=False)))
        shares = [like_format(gate / len(gates), x) for gate in gates]
        return _Gate.apply(x, work, *shares) if records_graph() else x * _total(shares)


def _largest(x: Tensor, axis: int) -> Tensor:
    # amax is faster, but shares the gradient among equal values, where the release gives it to one.
    return x.max(axis, keepdim=True).values if torch.is_grad_enabled() else x.amax(axis, keepdim=True)


def _mean(x: Tensor, axis: int) -> Tensor:
    return {1: mean_channels, 2: mean_height, 3: mean_width}[axis](x)


def _total(shares: Sequence[Tensor]) -> Tensor:
    """Sum of gates: (B, C, H, W)."""
    gate = shares[0] + shares[1]
    return gate if len(shares) == 2 else gate + shares[2]


# As in `coordinate.py`, the gradient for x is put together in one place: the gate hands the incoming gradient on as it
# is, and the pools, whose backward runs last, apply the gate and add their own shares.


class _Pools(torch.autograd.Function):
    """Hands out x, and its largest value and its mean along each of the axes."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, axes: tuple[int, ...], work: list[Tensor]) -> tuple[Tensor, ...]:
        ctx.axes, ctx.work = axes, work
        pools, indices = [], []
        for axis in axes:
            largest, index = x.max(axis, keepdim=True)
            pools += [largest, _mean(x, axis)]
            indices.append(index)
        ctx.save_for_backward(*indices)
        return x.view_as(x), *pools

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *for_pools: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        shape = gradient.shape
        for_means = [
            like_format(mean / shape[axis], gradient) for axis, mean in zip(ctx.axes, for_pools[1::2], strict=True)
        ]
        result = torch.addcmul(for_means[0], gradient, ctx.work.pop(), out=torch.empty_like(gradient))
        for mean in for_means[1:]:
            result.add_(mean)
        for axis, index, largest in zip(ctx.axes, ctx.saved_tensors, for_pools[::2], strict=True):
            if axis == 2:
                index = index * shape[3] + torch.arange(shape[3], device=index.device)
            elif axis == 3:
                index = index + torch.arange(shape[2], device=index.device)[:, None] * shape[3]
            add_at(result, 1 if axis == 1 else 2, index.flatten(2), largest.flatten(2))
        return result, None, None


class _Gate(torch.autograd.Function):
    """X times the sum of the gates; its gradient for x is handed on without them, which `_Pools` applies."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, work: list[Tensor], *shares: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.count = len(shares)
        work.append(_total(shares))
        return x * work[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        gradient = like_format(gradient, x)
        product = gradient * x
        shares = [sum_height(product), sum_width(product)]
        if ctx.count == 3:
            shares.append(sum_channels(product.flatten(2)).view(len(x), 1, *x.shape[2:]))
        return gradient, None, *shares
