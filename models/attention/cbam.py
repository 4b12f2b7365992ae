"""CBAM: a channel gate, then a spatial gate, each from the maximum and the mean.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", arXiv:1807.06521.
The default is the widely used release, mended: 7x7 instead of 49x49, at least one hidden channel, odd kernels only.
The release adds the residual inside the module; the paper leaves it to the surrounding block (`residual=False`).
"""

import torch
from torch import Tensor, nn

from models.attention.base import Attention, check_choice, check_flag, check_odd, hidden_width, zero
from models.attention.registry import register


@register("CBAM")
class CBAM(Attention):
    """y = x * c, out = y * m (+ x), with c (B, C, 1, 1) and m (B, 1, H, W).

    c = s(M(max over H, W) + M(mean over H, W)), M a two-layer bottleneck without bias, s the sigmoid;
    m = s(conv([max over C of y; mean over C of y])).

    Identity start: with the residual, m is 2 s(conv) - 1 with a zero convolution, so the gate c * m is exactly 0;
    without it, c and m are 2 s(z) with zero last layers, so both are exactly 1. Only gates are rescaled. The zero
    layers learn from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the bottleneck's width.
        kernel_size: Odd size of the spatial convolution.
        residual: Add the input to the gated map.
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
        self.residual = (variant == "release") if residual is None else residual
        check_flag("residual", self.residual)
        hidden = hidden_width(channels, reduction)
        mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.ca = nn.ModuleDict({"se": mlp})
        self.sa = nn.ModuleDict({"conv": nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)})
        if self.identity:
            zero(self.sa["conv"])
            if not self.residual:
                zero(mlp[2])

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        first, relu, second = self.ca["se"]
        maximum = x.flatten(2).max(2).values[..., None, None]  # (B, C, 1, 1)
        mean = x.mean((2, 3), keepdim=True)
        channel = second(relu(first(maximum)) + relu(first(mean))).sigmoid().to(x.dtype)
        if self.identity and not self.residual:
            channel = 2 * channel
        y = x * channel
        pooled = torch.cat([y.max(1, keepdim=True).values, y.mean(1, keepdim=True)], 1)  # (B, 2, H, W)
        spatial = self.sa["conv"](pooled).sigmoid().to(x.dtype)
        if self.identity:
            spatial = 2 * spatial - 1 if self.residual else 2 * spatial
        self._report(channel=channel, spatial=spatial)
        return torch.addcmul(x, y, spatial) if self.residual else y * spatial
