"""CBAM: a channel gate, then a spatial gate, each from the maximum and the mean.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", arXiv:1807.06521.
The default is the widely used release, mended: 7x7 instead of 49x49, at least one hidden channel, odd kernels only. It
adds the residual inside the module; the paper leaves it to the surrounding block (`residual=False`).
`variant="authors"` is the authors' code: a bottleneck with biases, a spatial convolution without bias but with batch
normalisation whose weight starts at 0, no residual; its tensors have the authors' names.
"""

import torch
from torch import Tensor, nn

from models.attention.parts import CHANNELS, POSITIONS, PooledConv, PooledConvNorm, SharedMap, authors_gates, register
from models.attention.parts.base import Attention, check_choice, check_flag, check_odd, hidden_width, zero


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
            bottleneck, convolution = authors_gates(channels, hidden, kernel_size)
            self.ChannelGate = nn.ModuleDict({"mlp": bottleneck})
            self.SpatialGate = nn.ModuleDict({"spatial": convolution})
        else:
            layers = nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
            bottleneck, convolution = nn.Sequential(*layers), PooledConv(kernel_size)
            self.ca, self.sa = nn.ModuleDict({"se": bottleneck}), nn.ModuleDict({"conv": convolution})
        if self.identity:
            zero(convolution.bn if isinstance(convolution, PooledConvNorm) else convolution)
            zero(*([] if self.residual else [bottleneck[-1]]))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        bottleneck = self.ChannelGate["mlp"] if self.authors else self.ca["se"]
        convolution = self.SpatialGate["spatial"] if self.authors else self.sa["conv"]
        y = SharedMap(x)
        pooled = y.maximum_and_mean(POSITIONS)  # (B, C, 1, 1) each
        channel = bottleneck(torch.cat(pooled)).view(2, *pooled[0].shape).sum(0).sigmoid()
        channel = 2 * channel if self.identity and not self.residual else channel
        y = SharedMap(y.gate(channel))
        spatial = convolution(torch.cat(y.maximum_and_mean(CHANNELS), 1)).sigmoid()  # (B, 1, H, W)
        spatial = 2 * spatial - int(self.residual) if self.identity else spatial
        self._report(channel=channel, spatial=spatial)
        return y.gate(spatial) + x if self.residual else y.gate(spatial)
