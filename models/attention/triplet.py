"""Triplet attention: three gates, each from the maximum and the mean over one axis, averaged.

Misra et al. 2021, "Rotate to Attend: Convolutional Triplet Attention Module", arXiv:2010.03045.
Same values as the widely used release. Deviations: the map is never rotated, only the pooled maps are; a single 1x1
map in training falls back to running statistics.
"""

import torch
from torch import Tensor, nn

from models.attention.parts import CHANNELS, HEIGHT, WIDTH, PooledConvNorm, SharedMap, register
from models.attention.parts.base import Attention, check_flag, zero
from models.attention.parts.tensors import like_format


class AxisGate(nn.Module):
    """Gate from the maximum and the mean over one axis of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = PooledConvNorm(7)

    def forward(self, largest: Tensor, mean: Tensor, axis: int) -> Tensor:
        """Both pools, of length 1 along `axis` of (B, C, H, W), to the gate of the same shape."""
        pooled = torch.cat([largest.unsqueeze(1), mean.unsqueeze(1)], 1).squeeze(axis + 1)  # (B, 2, R, S)
        if axis == 3:
            pooled = pooled.transpose(2, 3)  # the release rotates C behind H here
        gate = self.conv(pooled).sigmoid().squeeze(1)
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
    TOGETHER = "mean"
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
        shared = SharedMap(like_format(x, x))
        over = {"column": (HEIGHT, self.cw), "row": (WIDTH, self.hc), "spatial": (CHANNELS, self.hw)}
        gates = {
            kind: gate_of(*shared.maximum_and_mean(axes), axes[0])
            for kind, (axes, gate_of) in over.items()
            if gate_of is not None
        }
        if self.identity:
            gates = {kind: 2 * gate for kind, gate in gates.items()}
        self._report(**gates)
        return shared.gate(*(gate / len(gates) for gate in gates.values()), added=True)
