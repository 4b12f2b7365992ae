"""CBAM: a channel gate, then a spatial gate, each from the maximum and the mean.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", arXiv:1807.06521.
The default is the widely used release, mended: 7x7 instead of 49x49, at least one hidden channel, odd kernels only.
The release adds the residual inside the module; the paper leaves it to the surrounding block (`residual=False`).
`variant="authors"` is the authors' code: a bottleneck with biases, a spatial convolution without bias but with batch
normalisation whose weight starts at 0, no residual; its tensors have the authors' names.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.base import Attention, BatchNorm2d, check_choice, check_flag, check_odd, hidden_width, zero
from models.attention.registry import register


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
            self.ChannelGate = nn.ModuleDict({"mlp": _authors_bottleneck(channels, hidden)})
            self.SpatialGate = nn.ModuleDict({"spatial": _authors_convolution(kernel_size)})
        else:
            self.ca = nn.ModuleDict({"se": _bottleneck(channels, hidden)})
            self.sa = nn.ModuleDict({"conv": nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)})
        if self.identity:
            _, second, convolution = self._layers()
            zero(convolution[-1] if self.authors else convolution)
            if not self.residual:
                zero(second)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        first, second, convolution = self._layers()
        pooled = torch.stack([x.flatten(2).max(2).values, x.mean((2, 3))], 1)  # (B, 2, C)
        channel = _channel_logit(pooled, first, second).sigmoid().to(x.dtype)[..., None, None]  # (B, C, 1, 1)
        if self.identity and not self.residual:
            channel = 2 * channel
        y = x * channel
        pooled = torch.cat([y.max(1, keepdim=True).values, y.mean(1, keepdim=True)], 1)  # (B, 2, H, W)
        spatial = convolution(pooled).sigmoid().to(x.dtype)  # (B, 1, H, W)
        if self.identity:
            spatial = 2 * spatial - 1 if self.residual else 2 * spatial
        self._report(channel=channel, spatial=spatial)
        return torch.addcmul(x, y, spatial) if self.residual else y * spatial

    def _layers(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Both layers of the bottleneck, and the spatial convolution."""
        if self.authors:
            bottleneck, convolution = self.ChannelGate["mlp"], self.SpatialGate["spatial"]
            return bottleneck[1], bottleneck[3], convolution
        return self.ca["se"][0], self.ca["se"][2], self.sa["conv"]


def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
    )


def _authors_bottleneck(channels: int, hidden: int) -> nn.Sequential:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
    nn.init.zeros_(layers[1].bias)
    nn.init.zeros_(layers[3].bias)
    return layers


def _authors_convolution(kernel_size: int) -> nn.Sequential:
    convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    norm = BatchNorm2d(1, eps=1e-5, momentum=0.01)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(OrderedDict(conv=convolution, bn=norm))


def _channel_logit(pooled: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    """Sum of the bottleneck over the pooled vectors (B, 2, C); its linear second layer is applied once, to the sum."""
    hidden = F.linear(pooled, first.weight.flatten(1), first.bias).relu().sum(1)  # (B, h)
    logit = F.linear(hidden, second.weight.flatten(1))
    return logit if second.bias is None else logit + 2 * second.bias
