"""Effective squeeze-excitation: a channel gate from one full layer, without a bottleneck.

Lee, Park 2020, "CenterMask: Real-Time Anchor-Free Instance Segmentation", arXiv:1911.06667 (section 3.3).
Same values and names as the widely used release: hard sigmoid, optionally half of the maximum in the pooling.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import OUT_CHANNELS, Attention, check_flag, zero
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap


@register("EffectiveSE")
class EffectiveSE(Attention):
    """x * hardsigmoid(fc(p)), with p (B, C, 1, 1) the mean over H, W (or half mean, half maximum).

    Identity start: the layer is zero and the gate is twice the hard sigmoid, exactly 1; only the (B, C, 1, 1) gate is
    doubled. The layer learns from the first step.

    Args:
        channels: Number of channels C.
        add_maxpool: Pool half of the mean and half of the maximum.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "CenterMask: Real-Time Anchor-Free Instance Segmentation, arXiv:1911.06667"
    YEAR = 2020
    GATES = ("channel",)
    POSITIONAL = (OUT_CHANNELS, "add_maxpool")

    def __init__(self, channels: int, *, add_maxpool: bool = False, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_flag("add_maxpool", add_maxpool)
        self.add_maxpool = add_maxpool
        self.fc = nn.Conv2d(channels, channels, 1)
        if self.identity:
            zero(self.fc)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        if self.add_maxpool:
            gate = self._gate(0.5 * x.mean((2, 3)) + 0.5 * x.amax((2, 3)))
            return x * gate.to(x.dtype)[..., None, None]
        shared = SharedMap(x)
        return shared.gate(channel=self._gate(shared.mean()))

    def _gate(self, pooled: Tensor) -> Tensor:
        """(B, C) of (B, C)."""
        logits = self.fc(pooled[..., None, None]).flatten(1)
        exact = logits.dtype is torch.float64  # for which torch's own has a float32 gradient
        gate = (logits + 3).clamp(0, 6) / 6 if exact else F.hardsigmoid(logits)
        if self.identity:
            gate = 2 * gate
        self._report(channel=gate[..., None, None])
        return gate
