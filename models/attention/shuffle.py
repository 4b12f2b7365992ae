"""Shuffle attention: per group of channels, half get a channel gate and half a spatial gate; then a channel shuffle.

Zhang, Yang 2021, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", arXiv:2102.00240.
As the widely used release (8 groups; the authors' default is 64). Deviation: a channel count that 2 * groups does not
divide is an error; the release computes some of those silently wrong.
"""

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, check_divisible, check_integer, float32
from models.attention.parts.reductions import mean_positions, sum_positions
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format, outside_autocast
from models.blocks.tensor_traits import is_channels_last, is_traced


@register("ShuffleAttention")
class ShuffleAttention(Attention):
    """In each of G groups of 2k channels: x0 * s(cw mean(x0) + cb) and x1 * s(sw norm(x1) + sb), then a shuffle.

    x0 and x1 are the halves of the group, norm is a group normalisation with one channel per group, s the sigmoid.
    The shuffle makes channel i * C/2 + j of the result the channel 2 j + i. The parameters are shared by all groups.

    Identity start: cw, cb, sw and sb are zero and the gates are 2 s(z), so each is exactly 1; the factor is part of the
    channel gate and of the multiplication with the spatial gate. The result is written in the order of the input,
    without the shuffle. The normalisation's affine learns from the second step, the rest from the first.

    Args:
        channels: Number of channels C, a multiple of 2 * groups.
        groups: Number of groups G.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range, or 2 * groups does not divide the channels.
    """

    PAPER = "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks, arXiv:2102.00240"
    YEAR = 2021
    GATES = ("full",)

    def __init__(self, channels: int, *, groups: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("groups", groups)
        check_divisible(channels, 2 * groups, "2 * groups")
        self.groups = groups
        half = channels // (2 * groups)
        shape = (1, half, 1, 1)
        bias = torch.zeros if self.identity else torch.ones
        self.gn = nn.GroupNorm(half, half)
        self.cweight = nn.Parameter(torch.zeros(shape))
        self.cbias = nn.Parameter(bias(shape))
        self.sweight = nn.Parameter(torch.zeros(shape))
        self.sbias = nn.Parameter(bias(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        with outside_autocast(x):
            x = like_format(x, x)
            if is_traced():
                return self._traced(x)
            layout = _Layout(x, self.groups, self.identity)
            shared, mean, variance = _Statistics.apply(x, layout)
            slope, bias = self._logit(mean, variance)
            self._report(full=lambda: layout.scale * _logits(x, mean, slope, bias).sigmoid())
            return _Gate.apply(shared, slope, bias, mean.detach(), layout)

    def _logit(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and bias (B, C) of every gate's logit, slope * (x - mean) + bias; a channel gate's slope is 0."""
        shape = mean.shape
        half = self.channels // (2 * self.groups)
        mean, variance = (v.reshape(shape[0], self.groups, 2, half) for v in (mean, variance))
        channel = mean[:, :, 0] * self.cweight.flatten() + self.cbias.flatten()
        slope = self.sweight.flatten() * self.gn.weight * torch.rsqrt(variance[:, :, 1] + self.gn.eps)
        none = torch.zeros_like(slope)
        spatial = none + (self.sweight.flatten() * self.gn.bias + self.sbias.flatten())
        slopes = torch.stack([none, slope], 2)
        return slopes.reshape(shape), torch.stack([channel, spatial], 2).reshape(shape)

    def _traced(self, x: Tensor) -> Tensor:
        """The same in plain operations, for compilers and exporters."""
        batch, channels, height, width = x.shape
        mean = float32(x).mean((2, 3))
        variance = (float32(x) - mean[..., None, None]).square().mean((2, 3))
        y = x * _logits(x, mean, *self._logit(mean, variance)).sigmoid()
        if self.identity:
            return 2 * y
        return y.reshape(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


def _logits(x: Tensor, mean: Tensor, slope: Tensor, bias: Tensor) -> Tensor:
    mean, slope, bias = (v.to(x.dtype)[..., None, None] for v in (mean, slope, bias))
    return (x - mean) * slope + bias


# The gates need the mean of x and the variance of its second halves. Both, and the gated map, are one node's worth of
# gradient; `_Gate` hands the incoming gradient on as it is, and `_Statistics`, whose backward runs last, assembles.


class _Layout:
    """How the halves of the groups, and their places in the result, are reached; and what backward hands over.

    In the contiguous format the halves are views, and each is written to its shuffled place. With the channels
    innermost slices of a few channels are slow: there every channel is treated alike, with a slope of 0 for the
    channel gates, and the result is shuffled afterwards. So it is where views cannot express the shuffle (G odd).
    """

    def __init__(self, x: Tensor, groups: int, identity: bool) -> None:
        self.groups, self.size = groups, x.shape[1] // (2 * groups)
        self.scale, self.shuffled = (2 if identity else 1), not identity
        self.split = not is_channels_last(x) and (identity or groups % 2 == 0)
        self.deviation: Tensor | None = None
        self.shares: _Shares | None = None

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Views of a map (B, C, H, W) or of values (B, C), by half: each (B, S, G/S, k, N)."""
        sides = 2 if self.shuffled else 1
        first, second = x.view(len(x), sides, self.groups // sides, 2, self.size, prod(x.shape[2:])).unbind(3)
        return first, second

    def places(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where the halves go in the result (B, C, H, W): views as those of `halves`."""
        if not self.shuffled:
            return self.halves(y)
        blocks = y.view(len(y), self.groups // 2, 2, self.size, 2, prod(y.shape[2:]))  # (B, G/2, half, k, S, N)
        first, second = blocks.permute(2, 0, 4, 1, 3, 5)
        return first, second


class _Shares(NamedTuple):
    """What the backward of the gates hands to that of the statistics, in the shapes of the layout."""

    channel: Tensor | None  # gate of the first halves
    spatial: Tensor  # gate of the second halves (of all channels, where not split), without the scale
    slope: Tensor
    for_logit: Tensor
    for_logit_sum: Tensor


class _Statistics(torch.autograd.Function):
    """Hands out x, its means, and the variances of the second halves (of all channels, where not split)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, layout: _Layout) -> tuple[Tensor, Tensor, Tensor]:
        ctx.layout = layout
        count = prod(x.shape[2:])
        mean = mean_positions(x)
        if layout.split:
            layout.deviation = layout.halves(x)[1] - layout.halves(mean)[1]
            variance = torch.zeros_like(float32(mean))
            layout.halves(variance)[1].copy_(_squares(layout.deviation) / count)
        else:
            layout.deviation = x.flatten(2) - mean.unsqueeze(2)
            variance = _squares(layout.deviation).squeeze(2) / count
        ctx.save_for_backward(x, mean)
        return x.view_as(x), float32(mean), variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, for_mean: Tensor, for_variance: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        layout, (x, mean) = ctx.layout, ctx.saved_tensors
        shares, layout.shares = layout.shares, None
        count = prod(x.shape[2:])
        linear = for_variance * (2 / count)
        constant = for_mean / count - linear * mean
        if not layout.split:
            linear, constant = linear.unsqueeze(2), constant.unsqueeze(2)
            result = _assemble(x.flatten(2), gradient.flatten(2), shares, linear, constant, layout.scale)
            return result.view(x.shape) if result.is_contiguous() else result.unflatten(2, x.shape[2:]), None
        result = torch.empty_like(x)
        first, second = layout.halves(result)
        for_first, for_second = layout.places(gradient)
        constants = layout.halves(constant.to(x.dtype))
        torch.mul(for_first, shares.channel, out=first).add_(constants[0])
        args = (layout.halves(x)[1], for_second, shares, layout.halves(linear)[1], layout.halves(constant)[1])
        _assemble(*args, layout.scale, out=second)
        return result, None


def _assemble(
    x: Tensor,
    gradient: Tensor,
    shares: _Shares,
    linear: Tensor,
    constant: Tensor,
    scale: int,
    out: Tensor | None = None,
) -> Tensor:
    """Gradient for x * spatial through the product, the logit, and the statistics behind the logit."""
    slope = scale * shares.slope
    constant = constant - slope * shares.for_logit_sum / x.shape[-1]  # the logit's own mean
    result = torch.mul(x, linear.to(x.dtype), out=out).add_(constant.to(x.dtype))
    result.addcmul_(gradient, shares.spatial, value=scale)
    return result.add_(shares.for_logit.mul_(slope.to(x.dtype)))


class _Gate(torch.autograd.Function):
    """Gated and shuffled x. Hands the incoming gradient on as it is (unshuffled, where the layout is not split)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, slope: Tensor, bias: Tensor, mean: Tensor, layout: _Layout) -> Tensor:
        ctx.layout = layout
        deviation, layout.deviation = layout.deviation, None
        slope, bias = slope.to(x.dtype), bias.to(x.dtype)
        if layout.split:
            (first, second), (first_bias, bias) = layout.halves(x), layout.halves(bias)
            slope, mean = layout.halves(slope)[1], layout.halves(mean)[1]
            channel = layout.scale * first_bias.sigmoid()
            y = torch.empty_like(x)
            first_place, second_place = layout.places(y)
            torch.mul(first, channel, out=first_place)
            spatial = deviation.mul_(slope).add_(bias).sigmoid_()
            _multiply(second, spatial, layout.scale, out=second_place)
        else:
            channel, slope, mean = None, slope.unsqueeze(2), mean.unsqueeze(2)
            spatial = deviation.mul_(slope).add_(bias.unsqueeze(2)).sigmoid_()
            y = _multiply(x.flatten(2), spatial, layout.scale).unflatten(2, x.shape[2:])
            if layout.shuffled:
                y = torch.native_channel_shuffle(y, 2)
        ctx.save_for_backward(x, slope, mean, channel, spatial)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        layout, (x, slope, mean, channel, spatial) = ctx.layout, ctx.saved_tensors
        gradient = like_format(gradient, x)
        if layout.split:
            (first, second), (for_first, for_second) = layout.halves(x), layout.places(gradient)
            for_channel = (for_first * first).sum(-1, keepdim=True)
        else:
            if layout.shuffled:
                gradient = torch.native_channel_shuffle(gradient, x.shape[1] // 2)
            second, for_second = x.flatten(2), gradient.flatten(2)
        for_logit = torch.ops.aten.sigmoid_backward(for_second * second, spatial)
        total = _sum(for_logit)
        for_slope = layout.scale * (_sum(for_logit * second) - mean * total)
        for_bias = layout.scale * total
        layout.shares = _Shares(channel, spatial, slope, for_logit, total)
        if not layout.split:
            return gradient, for_slope.squeeze(2), for_bias.squeeze(2), None, None
        for_channel = for_channel * channel * (1 - channel / layout.scale)
        for_slope = torch.stack([torch.zeros_like(for_slope), for_slope], 3).reshape(x.shape[:2])
        return gradient, for_slope, torch.stack([for_channel, for_bias], 3).reshape(x.shape[:2]), None, None


def _multiply(x: Tensor, gate: Tensor, scale: int, out: Tensor | None = None) -> Tensor:
    """X * gate * scale in one pass."""
    if scale == 1:
        return torch.mul(x, gate, out=out)
    return torch.addcmul(x.new_zeros(()), x, gate, value=scale, out=out)


def _sum(x: Tensor) -> Tensor:
    """Sum over the last dimension, kept; in float32 where x has less precision."""
    return float32(sum_positions(x).unsqueeze(2) if x.dim() == 3 else x.sum(-1, keepdim=True))


def _squares(x: Tensor) -> Tensor:
    """Sum of squares over the last dimension, kept; in float32 where x has less precision."""
    if x.dtype is torch.float16 or (x.dim() > 3 and x.dtype is not torch.bfloat16):
        return torch.linalg.vector_norm(float32(x), dim=-1, keepdim=True).square()
    return _sum(x.square())
