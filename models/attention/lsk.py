"""LSK block: two depthwise kernels of growing reach, mixed per position, scale the map.

Li et al. 2023, "Large Selective Kernel Network for Remote Sensing Object Detection", arXiv:2303.09030.
Same values as the widely used release. Deviations: the two halves are never concatenated; a single channel keeps a
hidden width of 1.
"""

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention, zero
from models.attention.parts.reductions import mean_channels
from models.attention.parts.registry import register
from models.attention.parts.tensors import scale_map


@register("LSKBlock")
class LSKBlock(Attention):
    """x * conv(u_1 m_1 + u_2 m_2), with u_1 = conv1(d5(x)), u_2 = conv2(d7(d5(x))) and (m_1, m_2) (B, 2, H, W).

    d5 is a depthwise 5x5, d7 a depthwise 7x7 convolution of dilation 3; m = s(conv_squeeze([mean; max over the channels
    of u_1 and u_2])). The reported gate is the factor of the map, which no sigmoid bounds.

    Identity start: conv is zero and the factor is 1 + conv(...), applied in the same pass. conv learns from the first
    step, the others from the second.

    Args:
        channels: Number of channels C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Large Selective Kernel Network for Remote Sensing Object Detection, arXiv:2303.09030"
    YEAR = 2023
    GATES = ("full",)

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        half = max(1, channels // 2)
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.conv_spatial = nn.Conv2d(channels, channels, 7, padding=9, groups=channels, dilation=3)
        self.conv1 = nn.Conv2d(channels, half, 1)
        self.conv2 = nn.Conv2d(channels, half, 1)
        self.conv_squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.conv = nn.Conv2d(half, channels, 1)
        if self.identity:
            zero(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map (B, C, H, W)."""
        near = self.conv0(x)
        far = self.conv2(self.conv_spatial(near))  # (B, C/2, H, W)
        near = self.conv1(near)
        share = self.conv_squeeze(_pooled(near, far)).sigmoid().to(near.dtype)
        factor = self.conv(torch.addcmul(near * share[:, :1], far, share[:, 1:]))
        self._report(full=lambda: 1 + factor if self.identity else factor)
        return scale_map(x, factor, identity=self.identity)


def _pooled(near: Tensor, far: Tensor) -> Tensor:
    """Mean and largest value over the channels of both maps together, (B, 2, H, W).

    The forms without a graph are faster, but their backward is slower than that of plain means and of maxima by index.
    """
    if torch.is_grad_enabled():
        mean = (near.mean(1, keepdim=True) + far.mean(1, keepdim=True)) / 2
        highest = torch.cat([near.max(1, keepdim=True).values, far.max(1, keepdim=True).values], 1)
        return torch.cat([mean, highest.max(1, keepdim=True).values], 1)
    mean = (mean_channels(near) + mean_channels(far)) / 2
    return torch.cat([mean, torch.maximum(near.amax(1, keepdim=True), far.amax(1, keepdim=True))], 1)
