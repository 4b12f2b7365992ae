"""GAM: a factor per value from a bottleneck along the channels, then a gate per value from two 7x7 convolutions.

Liu, Shao, Hoffmann 2021, "Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
arXiv:2112.05561. As the widely used release, which leaves out the sigmoid of the paper's channel branch
(`sigmoid=True` restores it). Without it the result is quadratic in x and unbounded; under float16 autocast the module
therefore computes in float32 and clips its result to the range of float16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import (
    OUT_CHANNELS,
    Attention,
    BatchNorm2d,
    check_flag,
    check_integer,
    hidden_width,
    nearest_channels,
    zero,
)
from models.attention.parts.registry import register


@register("GAM")
class GAM(Attention):
    """y = x * A, out = y * s(M), with A and M (B, C, H, W) and s the sigmoid.

    A = W2 relu(W1 x + b1) + b2 at each position (with a sigmoid where asked), M = BN(conv7(relu(BN(conv7(y))))).

    Identity start: the last normalisation has weight and bias 0, so s(M) is 0.5, and W2 is 0 with b2 = 2, so A is 2
    and the product exactly 1. With `sigmoid`, b2 is 0, A is 0.5, and the missing factor 4 is part of the last
    multiplication (`addcmul`), no pass of its own. These layers learn from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        rate: Divisor of the hidden width.
        sigmoid: Apply the paper's sigmoid to A.
        groups: Groups of both 7x7 convolutions; divides the channels and the hidden width.
        shuffle: Shuffle the channels of s(M) between the groups.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range, `groups` divides no width, or `shuffle` is set without groups.
    """

    PAPER = "Global Attention Mechanism, arXiv:2112.05561"
    YEAR = 2021
    GATES = ("full",)
    POSITIONAL = (OUT_CHANNELS, "rate")

    def __init__(
        self,
        channels: int,
        *,
        rate: int = 4,
        sigmoid: bool = False,
        groups: int = 1,
        shuffle: bool = False,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_integer("rate", rate)
        check_integer("groups", groups)
        check_flag("sigmoid", sigmoid)
        check_flag("shuffle", shuffle)
        if shuffle and groups == 1:
            raise ValueError("Expected `groups` of at least 2 with `shuffle` but got 1; there is nothing to shuffle")
        _check_groups(channels, rate, groups)
        self.sigmoid, self.groups, self.shuffle = sigmoid, groups, shuffle
        hidden = hidden_width(channels, rate)
        self.channel_attention = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3, groups=groups),
            BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 7, padding=3, groups=groups),
            BatchNorm2d(channels),
        )
        if self.identity:
            zero(self.channel_attention[2], self.spatial_attention[4])
            nn.init.constant_(self.channel_attention[2].bias, 0.0 if sigmoid else 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        device = x.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.float16:
            with torch.autocast(device, enabled=False):
                limit = torch.finfo(x.dtype).max
                return self._apply_gates(x.float()).clamp(-limit, limit).to(x.dtype)
        return self._apply_gates(x)

    def _apply_gates(self, x: Tensor) -> Tensor:
        factor = self._channel_factor(x)
        y = x * factor
        gate = self.spatial_attention(y).sigmoid().to(x.dtype)
        if self.shuffle:
            gate = gate.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        scale = 4 if self.sigmoid and self.identity else 1
        self._report(full=lambda: scale * factor * gate)
        return y * gate if scale == 1 else torch.addcmul(y.new_zeros(()), y, gate, value=scale)

    def _channel_factor(self, x: Tensor) -> Tensor:
        # A linear layer at each position is a 1x1 convolution; this keeps the memory format of the map.
        first, relu, second = self.channel_attention
        hidden = relu(F.conv2d(x, first.weight[..., None, None], first.bias))
        factor = F.conv2d(hidden, second.weight[..., None, None], second.bias)
        return (factor.sigmoid() if self.sigmoid else factor).to(x.dtype)


def _check_groups(channels: int, rate: int, groups: int) -> None:
    def works(count: int) -> bool:
        return count % groups == 0 and hidden_width(count, rate) % groups == 0

    if not works(channels):
        raise ValueError(
            f"Expected `groups` = {groups} to divide `channels` and channels // rate but got {channels} and "
            f"{hidden_width(channels, rate)}; the nearest channels that work are {nearest_channels(channels, works)}"
        )
