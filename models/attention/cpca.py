"""CPCA: a channel gate, then a spatial factor for every channel from depthwise strips of several lengths.

Huang et al. 2024, "Channel prior convolutional attention for medical image segmentation", arXiv:2306.05196.
Same values as the authors' code, which uses one 1x1 convolution three times. Deviations: pooling by mean and maximum
instead of adaptive pooling; at least one hidden channel; what follows the first convolution is taken in float32 where
float16 is in use, since the output grows with the square of the input.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, hidden_width, zero
from models.attention.parts.reductions import max_positions, mean_positions
from models.attention.parts.registry import register
from models.attention.parts.tensors import outside_autocast, saturate

STRIPS = (7, 11, 21)


@register("CPCA")
class CPCA(Attention):
    """conv(z * conv(d5(z) + sum of strips of d5(z))), with z = y * c and y = GELU(conv(x)); conv is one and the same.

    c = s(M(mean of y)) + s(M(max of y)), (B, C, 1, 1) in 0..2, M a bottleneck; d5 is a depthwise 5x5 convolution, a
    strip a depthwise 1xk and then a kx1 convolution, k = 7, 11, 21. The reported channel gate is c; the spatial factor,
    which no sigmoid bounds, is reported as full. As published, the input is not added.

    Identity start: d5, the biases of the strips and the bias of conv are zero and the input is added (one addition more
    than published): the spatial factor is 0, and so is what is added. d5 and the biases learn from the first step, the
    others from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the bottleneck's width.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Channel prior convolutional attention for medical image segmentation, arXiv:2306.05196"
    YEAR = 2023
    GATES = ("channel", "full")
    POSITIONAL = ("reduction",)

    def __init__(self, channels: int, *, reduction: int = 4, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        hidden = hidden_width(channels, reduction)
        self.ca = nn.ModuleDict({"fc1": nn.Conv2d(channels, hidden, 1), "fc2": nn.Conv2d(hidden, channels, 1)})
        self.dconv5_5 = _depthwise(channels, 5, 5)
        self.dconv1_7, self.dconv7_1 = _depthwise(channels, 1, 7), _depthwise(channels, 7, 1)
        self.dconv1_11, self.dconv11_1 = _depthwise(channels, 1, 11), _depthwise(channels, 11, 1)
        self.dconv1_21, self.dconv21_1 = _depthwise(channels, 1, 21), _depthwise(channels, 21, 1)
        self.conv = nn.Conv2d(channels, channels, 1)
        if self.identity:
            zero(self.dconv5_5)
            for layer in (self.conv, *(strip for pair in self._strips() for strip in pair)):
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Refine a map (B, C, H, W)."""
        y = self.conv(x)
        if y.dtype == torch.float16:
            with outside_autocast(y):
                output = self._refine(y.float())
        else:
            output = self._refine(y)
        return saturate(x + output if self.identity else output, x.dtype)

    def _refine(self, y: Tensor) -> Tensor:
        y = F.gelu(y)
        channel = self._channel_gate(y)
        y = y * channel
        local = _apply(self.dconv5_5, y)
        spread = local
        for horizontal, vertical in self._strips():
            spread = spread + _apply(vertical, _apply(horizontal, local))
        factor = _apply(self.conv, spread)
        self._report(channel=channel, full=factor)
        return _apply(self.conv, factor * y)

    def _channel_gate(self, y: Tensor) -> Tensor:
        total = 0
        for pooled in (mean_positions(y), max_positions(y)):
            hidden = _apply(self.ca["fc1"], pooled[..., None, None]).relu()
            total = total + _apply(self.ca["fc2"], hidden).sigmoid().to(y.dtype)
        return total

    def _strips(self) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
        return [(getattr(self, f"dconv1_{size}"), getattr(self, f"dconv{size}_1")) for size in STRIPS]


def _depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, (height, width), padding=(height // 2, width // 2), groups=channels)


def _apply(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The layer on x, also where x has more precision than float16 weights."""
    if x.dtype == torch.float32 and layer.weight.dtype == torch.float16:
        return F.conv2d(x, layer.weight.float(), layer.bias.float(), padding=layer.padding, groups=layer.groups)
    return layer(x)
