"""Shuffle attention: per group of channels, half get a channel gate and half a spatial gate; then a channel shuffle.

Zhang, Yang 2021, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", arXiv:2102.00240.
As the widely used release (8 groups; the authors' default is 64). Deviation: a channel count that 2 * groups does not
divide is an error; the release computes some of those silently wrong.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.base import Attention, check_divisible, check_integer, float32
from models.attention.registry import register


@register("ShuffleAttention")
class ShuffleAttention(Attention):
    """In each of G groups of 2k channels: x0 * s(cw mean(x0) + cb) and x1 * s(sw norm(x1) + sb), then a shuffle.

    x0 and x1 are the halves of the group, norm is a group normalisation with one channel per group, s the sigmoid.
    The shuffle makes channel i * C/2 + j of the result the channel 2 j + i. The parameters are shared by all groups.

    Identity start: cw, cb, sw and sb are zero and the gates are 2 s(z), so each is exactly 1 (the spatial gate as
    1 + tanh(z / 2), which is the same without a pass for the factor); the result is written in the order of the input,
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
        halves = x.unflatten(1, (self.groups, 2, -1))  # (B, G, 2, k, H, W)
        first, second = halves.unbind(2)
        channel = self._channel_gate(first)
        spatial = self._spatial_gate(second)
        self._report(full=lambda: torch.stack([channel.expand_as(spatial), spatial], 2).flatten(1, 3))
        gated = torch.stack([first * channel, second * spatial], 2).flatten(1, 3)
        if self.identity:
            return gated
        return gated.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)

    def _channel_gate(self, x: Tensor) -> Tensor:
        """(B, G, k, H, W) to (B, G, k, 1, 1)."""
        z = float32(x.mean((3, 4), keepdim=True)) * self.cweight + self.cbias
        return (2 * z.sigmoid() if self.identity else z.sigmoid()).to(x.dtype)

    def _spatial_gate(self, x: Tensor) -> Tensor:
        """(B, G, k, H, W) to a gate of the same shape."""
        batch, groups, half, height, width = x.shape
        # The outer affine is folded into the normalisation's; a tanh gate needs half of z.
        scale, shift = self.sweight.flatten(), self.sbias.flatten()
        if self.identity:
            scale, shift = scale / 2, shift / 2
        z = F.group_norm(
            x.reshape(batch * groups, half, height, width),
            half,
            (scale * self.gn.weight).to(x.dtype),
            (scale * self.gn.bias + shift).to(x.dtype),
            self.gn.eps,
        ).view(x.shape)
        return (1 + z.tanh() if self.identity else z.sigmoid()).to(x.dtype)
