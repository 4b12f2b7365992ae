"""CBAM: a channel gate, then a spatial gate, each from the maximum and the mean.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", arXiv:1807.06521.
The default is the widely used release, mended: 7x7 instead of 49x49, at least one hidden channel, odd kernels only.
The release adds the residual inside the module; the paper leaves it to the surrounding block (`residual=False`).
`variant="authors"` is the authors' code: a bottleneck with biases, a spatial convolution without bias but with batch
normalisation whose weight starts at 0, no residual; its tensors have the authors' names.
"""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, BatchNorm2d, check_choice, check_flag, check_odd, hidden_width, zero
from models.attention.parts.reductions import (
    add_at,
    is_traced,
    mean_channels,
    mean_positions,
    sum_positions,
)
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format
from models.blocks.tensor_traits import records_graph


@register("CBAM")
class CBAM(Attention):
    """y = x * c, out = y * m (+ x), with c (B, C, 1, 1) and m (B, 1, H, W).

    c = s(M(max over H, W) + M(mean over H, W)), M a two-layer bottleneck, s the sigmoid;
    m = s(conv([max over C of y; mean over C of y])).

    Identity start: with the residual, m is 2 s(z) - 1 and the last spatial layer zero, so the gate c * m is exactly 0;
    without it, c and m are 2 s(z) and the last layers of both zero, so both are exactly 1. Only gates are rescaled.
    The zero layers learn from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the bottleneck's width.
        kernel_size: Odd size of the spatial convolution.
        residual: Add the input to the gated map; None: True for the release, False for the authors' variant.
        variant: "release" or "authors".
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "CBAM: Convolutional Block Attention Module, arXiv:1807.06521"
    YEAR = 2018
    GATES = ("channel", "spatial")
    POSITIONAL = ("reduction", "kernel_size")

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        residual: bool | None = None,
        variant: str = "release",
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_odd("kernel_size", kernel_size)
        check_choice("variant", variant, ("release", "authors"))
        self.authors = variant == "authors"
        self.residual = not self.authors if residual is None else residual
        check_flag("residual", self.residual)
        hidden = hidden_width(channels, reduction)
        if self.authors:
            self.ChannelGate = nn.ModuleDict({"mlp": _authors_bottleneck(channels, hidden)})
            self.SpatialGate = nn.ModuleDict({"spatial": _authors_convolution(kernel_size)})
        else:
            self.ca = nn.ModuleDict({"se": _bottleneck(channels, hidden)})
            self.sa = nn.ModuleDict({"conv": nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)})
        if self.identity:
            _, second, convolution = self._layers()
            zero(convolution[-1] if self.authors else convolution)
            if not self.residual:
                zero(second)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        if not records_graph():
            y = x * self._channel_gate(x.amax((2, 3)), mean_positions(x), x)[..., None, None]
            spatial = self._spatial_gate(y.amax(1, keepdim=True), mean_channels(y))
            return torch.addcmul(x, y, spatial) if self.residual else y * spatial
        work = _Work(self.residual)
        x, largest, mean = _PoolPositions.apply(x, work)
        channel = self._channel_gate(largest, mean, x)
        spatial = self._spatial_gate(*_PoolChannels.apply(x, channel, work))
        return _Apply.apply(x, channel, spatial, work)

    def _channel_gate(self, largest: Tensor, mean: Tensor, x: Tensor) -> Tensor:
        """(B, C), from two of the same shape."""
        first, second, _ = self._layers()
        channel = _channel_logit(torch.stack([largest, mean], 1), first, second).sigmoid().to(x.dtype)
        if self.identity and not self.residual:
            channel = 2 * channel
        self._report(channel=channel[..., None, None])
        return channel

    def _spatial_gate(self, largest: Tensor, mean: Tensor) -> Tensor:
        """(B, 1, H, W), from two of the same shape."""
        _, _, convolution = self._layers()
        pooled = torch.cat([largest, mean], 1)
        if not is_traced():
            # The backward of a convolution this narrow is four times as fast with the channels innermost.
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        spatial = convolution(pooled).sigmoid().to(largest.dtype)
        if self.identity:
            spatial = 2 * spatial - 1 if self.residual else 2 * spatial
        self._report(spatial=spatial)
        return spatial

    def _layers(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Both layers of the bottleneck, and the spatial convolution."""
        if self.authors:
            bottleneck, convolution = self.ChannelGate["mlp"], self.SpatialGate["spatial"]
            return bottleneck[1], bottleneck[3], convolution
        return self.ca["se"][0], self.ca["se"][2], self.sa["conv"]


def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
    )


def _authors_bottleneck(channels: int, hidden: int) -> nn.Sequential:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
    nn.init.zeros_(layers[1].bias)
    nn.init.zeros_(layers[3].bias)
    return layers


def _authors_convolution(kernel_size: int) -> nn.Sequential:
    convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    norm = BatchNorm2d(1, eps=1e-5, momentum=0.01)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(OrderedDict(conv=convolution, bn=norm))


def _channel_logit(pooled: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    """Sum of the bottleneck over the pooled vectors (B, 2, C); its linear second layer is applied once, to the sum."""
    hidden = F.linear(pooled, first.weight.flatten(1), first.bias).relu().sum(1)  # (B, h)
    logit = F.linear(hidden, second.weight.flatten(1))
    return logit if second.bias is None else logit + 2 * second.bias


# The pools and the two products share one gradient for x. `_Apply` hands the incoming gradient on as it is,
# `_PoolChannels` turns it into the gradient for y in place of autograd's three, and `_PoolPositions`, whose backward
# runs last, carries that to x. Maxima send their gradient to the first largest value, as the release's pooling does.


class _Work:
    """What the functions of one forward pass leave for one another."""

    def __init__(self, residual: bool) -> None:
        self.residual = residual
        self.y: Tensor | None = None
        self.gates: tuple[Tensor, ...] = ()
        self.gradient: Tensor | None = None
        self.for_y: Tensor | None = None


class _PoolPositions(torch.autograd.Function):
    """Hands out x, its largest value and its mean over the positions, (B, C) each."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, work: _Work) -> tuple[Tensor, Tensor, Tensor]:
        largest, indices = F.adaptive_max_pool2d(x, 1, return_indices=True)
        ctx.work = work
        ctx.save_for_backward(indices.flatten(2))  # (B, C, 1)
        return x.view_as(x), largest.flatten(1), mean_positions(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, for_largest: Tensor, for_mean: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (indices,) = ctx.saved_tensors
        work = ctx.work
        (channel, _), result, work.for_y = work.gates, work.for_y, None
        if work.residual:
            torch.addcmul(gradient, result, channel, out=result)
        else:
            result.mul_(channel)
        result.add_(for_mean[..., None, None] / (gradient.shape[2] * gradient.shape[3]))
        add_at(result, 2, indices, for_largest.unsqueeze(2))
        return result, None


class _PoolChannels(torch.autograd.Function):
    """Largest value and mean of y = x * channel over the channels, (B, 1, H, W) each; y itself goes to `_Apply`."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, channel: Tensor, work: _Work) -> tuple[Tensor, Tensor]:
        ctx.work = work
        work.y = x * channel[..., None, None]
        largest, indices = work.y.max(1, keepdim=True)
        ctx.save_for_backward(x, indices)
        return largest, mean_channels(work.y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_largest: Tensor, for_mean: Tensor) -> tuple[None, Tensor, None]:  # noqa: ANN401
        x, indices = ctx.saved_tensors
        work = ctx.work
        gradient, work.gradient = work.gradient, None
        work.for_y = torch.mul(gradient, work.gates[1]).add_(for_mean / x.shape[1])
        add_at(work.for_y, 1, indices.flatten(2), for_largest.flatten(2))
        return None, sum_positions((work.for_y * x).flatten(2)), None


class _Apply(torch.autograd.Function):
    """Y * spatial (+ x), written over y."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, channel: Tensor, spatial: Tensor, work: _Work) -> Tensor:
        ctx.work = work
        # Detached: with their graph the record would keep itself, and every map of the step, alive.
        work.gates = channel.detach()[..., None, None], spatial.detach()
        ctx.save_for_backward(x, channel)
        result, work.y = work.y.mul_(spatial), None
        return result.add_(x) if work.residual else result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, channel = ctx.saved_tensors
        gradient = ctx.work.gradient = like_format(gradient, x)
        product = like_format(gradient * x, x).flatten(2)
        for_spatial = torch.bmm(channel.unsqueeze(1), product)  # (B, 1, N)
        return gradient, None, for_spatial.view(len(x), 1, *x.shape[2:]), None
