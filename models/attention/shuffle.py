"""Shuffle attention: per group of channels, half get a channel gate and half a spatial gate; then a channel shuffle.

Zhang, Yang 2021, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", arXiv:2102.00240.
As the widely used release (8 groups; the authors' default is 64). Deviation: a channel count that 2 * groups does not
divide is an error; the release computes some of those silently wrong.
"""

import torch
from torch import Tensor, nn

from models.attention.parts import register
from models.attention.parts.base import Attention, check_divisible, check_integer
from models.attention.parts.tensors import like_format, outside_autocast


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
        batch, channels, height, width = x.shape
        with outside_autocast(x):
            groups = x.reshape(batch * self.groups, channels // self.groups, height, width)
            first, second = groups.chunk(2, 1)
            mean = first.mean((2, 3), keepdim=True)
            channel = (self.cweight * mean + self.cbias).sigmoid().to(x.dtype)  # (B * G, k, 1, 1)
            spatial = self._logits(second).sigmoid()  # (B * G, k, H, W)
            if self.identity:
                channel = 2 * channel
            self._report(full=lambda: self._full_gate(channel, spatial, x))
            second = (
                torch.addcmul(second.new_zeros(()), second, spatial, value=2) if self.identity else second * spatial
            )
            y = torch.cat([first * channel, second], 1)
            if not self.identity:
                y = y.reshape(batch, 2, channels // 2, height, width).transpose(1, 2)
            return like_format(y.reshape(x.shape), x)

    def _logits(self, x: Tensor) -> Tensor:
        """Logits sw norm(x) + sb; scale and bias are taken into those of the normalisation."""
        weight = self.sweight.flatten() * self.gn.weight
        bias = self.sweight.flatten() * self.gn.bias + self.sbias.flatten()
        return torch.group_norm(x, self.gn.num_groups, weight.to(x.dtype), bias.to(x.dtype), self.gn.eps)

    def _full_gate(self, channel: Tensor, spatial: Tensor, x: Tensor) -> Tensor:
        spatial = 2 * spatial if self.identity else spatial
        return torch.cat([channel.expand_as(spatial), spatial], 1).reshape(x.shape)
