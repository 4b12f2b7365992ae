"""ParNet attention: a 1x1 branch, a 3x3 branch and a squeeze-excited shortcut, summed.

Goyal et al. 2021, "Non-deep Networks", arXiv:2110.07641 (its block with skip-squeeze-excitation).
Same values as the widely used release. Deviation: a single 1x1 map in training falls back to running statistics.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, BatchNorm2d, zero
from models.attention.parts.registry import register


@register("ParNetAttention")
class ParNetAttention(Attention):
    """SiLU(BN(conv1x1(x)) + BN(conv3x3(x)) + x * s(fc(mean of x))).

    Identity start: both normalisations and fc are zero, the gate is 2 s(z), and x times the gate, exactly x, is added
    after the SiLU instead of before. Normalisations and fc learn from the first step, the convolutions from the second.

    Args:
        channels: Number of channels C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Non-deep Networks, arXiv:2110.07641"
    YEAR = 2021
    GATES = ("channel",)

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.sse = nn.ModuleDict({"1": nn.Conv2d(channels, channels, 1)})  # named as in the release's Sequential
        self.conv1x1 = nn.Sequential(nn.Conv2d(channels, channels, 1), BatchNorm2d(channels))
        self.conv3x3 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), BatchNorm2d(channels))
        if self.identity:
            zero(self.sse["1"], self.conv1x1[1], self.conv3x3[1])

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map (B, C, H, W)."""
        gate = self.sse["1"](x.mean((2, 3), keepdim=True)).sigmoid().to(x.dtype)
        if self.identity:
            gate = 2 * gate
        self._report(channel=gate)
        branches = (self.conv1x1(x) + self.conv3x3(x)).to(x.dtype)
        if self.identity:
            return torch.addcmul(F.silu(branches), x, gate)
        return F.silu(torch.addcmul(branches, x, gate))
