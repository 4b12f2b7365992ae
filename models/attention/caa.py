"""CAA: a gate for every value from a smoothed map and long horizontal and vertical strips.

Cai et al. 2024, "Poly Kernel Inception Network for Remote Sensing Detection", arXiv:2403.06258 (context anchor
attention).
Same values as the widely used release. Deviations: odd strips only, since even ones change the map's size; a single 1x1
map in training falls back to running statistics.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, BatchNorm2d, check_odd, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import gate_map, gate_values


class PointwiseNormAct(nn.Module):
    """1x1 convolution without bias, batch normalisation, SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to itself."""
        return F.silu(self.bn(self.conv(x)))


@register("CAA")
class CAA(Attention):
    """x * s(conv2(v(h(conv1(mean over 7x7))))), h and v depthwise strips; conv1 and conv2 are 1x1, BN, SiLU.

    Identity start: the last normalisation is zero and the map is multiplied by 1 + tanh in place of the sigmoid,
    exactly 1. That normalisation learns from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        h_kernel_size: Odd length of the horizontal strip.
        v_kernel_size: Odd length of the vertical strip.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Poly Kernel Inception Network for Remote Sensing Detection, arXiv:2403.06258"
    YEAR = 2024
    GATES = ("full",)
    POSITIONAL = ("h_kernel_size", "v_kernel_size")

    def __init__(
        self, channels: int, *, h_kernel_size: int = 11, v_kernel_size: int = 11, start: str = "paper"
    ) -> None:
        super().__init__(channels, start=start)
        check_odd("h_kernel_size", h_kernel_size)
        check_odd("v_kernel_size", v_kernel_size)
        self.conv1 = PointwiseNormAct(channels)
        self.h_conv = nn.Conv2d(
            channels, channels, (1, h_kernel_size), padding=(0, h_kernel_size // 2), groups=channels
        )
        self.v_conv = nn.Conv2d(
            channels, channels, (v_kernel_size, 1), padding=(v_kernel_size // 2, 0), groups=channels
        )
        self.conv2 = PointwiseNormAct(channels)
        if self.identity:
            zero(self.conv2.bn)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        smooth = F.avg_pool2d(x, 7, stride=1, padding=3)
        logits = self.conv2(self.v_conv(self.h_conv(self.conv1(smooth))))
        self._report(full=lambda: gate_values(logits, identity=self.identity))
        return gate_map(x, logits, identity=self.identity)
