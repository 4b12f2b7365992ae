"""Layers that several attention modules are built of."""

from typing import cast

import torch
from torch import Tensor, nn

from models.attention.parts.base import BatchNorm2d
from models.blocks.tensor_traits import is_traced


def depthwise(channels: int, height: int, width: int | None = None, *, dilation: int = 1) -> nn.Conv2d:
    """Convolution of each channel by itself with an odd kernel (height, width or square), which keeps the size."""
    kernel = (height, height if width is None else width)
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Of a linear or convolutional layer that has both."""
    return cast(Tensor, layer.weight), cast(Tensor, layer.bias)


class PooledConv(nn.Conv2d):
    """Convolution of a maximum and a mean, (B, 2, R, S), to the logits of a gate (B, 1, R, S)."""

    def __init__(self, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(2, 1, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve; the backward of so few channels is four times as fast where they are stored innermost."""
        return super().forward(input if is_traced() else input.contiguous(memory_format=torch.channels_last))


class PooledConvNorm(nn.Module):
    """`PooledConv` without bias and batch normalisation."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = PooledConv(kernel_size, bias=False)
        self.bn = BatchNorm2d(1, momentum=0.01)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, 2, R, S) to logits (B, 1, R, S)."""
        return self.bn(self.conv(pooled))


def authors_gates(channels: int, hidden: int, kernel_size: int) -> tuple[nn.Sequential, PooledConvNorm]:
    """The layers of both gates of CBAM, as its authors build and initialise them.

    Returns:
        The bottleneck, (B, C, 1, 1) to (B, C), and the spatial convolution.
    """
    bottleneck = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
    for layer in (bottleneck[1], bottleneck[3]):
        nn.init.zeros_(weight_and_bias(layer)[1])
    convolution = PooledConvNorm(kernel_size)
    nn.init.kaiming_normal_(convolution.conv.weight, mode="fan_out")
    nn.init.zeros_(convolution.bn.weight)
    return bottleneck, convolution
