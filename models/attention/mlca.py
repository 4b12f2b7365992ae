"""MLCA: channel gates of the whole map and of a coarse grid of places, mixed.

Wan et al. 2023, "Mixed local channel attention for object detection", Engineering Applications of Artificial
Intelligence 123.
Same values as the authors' code. Deviation: pooling to the grid and spreading from it are matrix products with the
weights of adaptive pooling, whose own backward is not deterministic on CUDA and which exports to ONNX for one size.
As published, the local convolution runs over the grid's places laid end to end, so that it mixes the last channels of a
place with the first of the next; `seams=False` keeps places apart.
"""

import math

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_flag, check_integer, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import check_number


@register("MLCA")
class MLCA(Attention):
    """x * spread((1 - l) s(conv(g)) + l s(conv_local(p))), p the means over a grid of places, g the mean of p.

    The grid has local_size x local_size places, with the windows of adaptive average pooling. Both one-dimensional
    convolutions run over the channels; their size is the odd one at or above (log2 C + b) / gamma, rounded down first.

    Identity start: both convolutions are zero and 2 s(z) - 1 takes the place of s(z) before the spreading; the map is
    multiplied by 1 plus the result, in one pass. The convolutions learn from the first step.

    Args:
        channels: Number of channels C.
        local_size: Places per side of the grid.
        gamma: Divisor in the rule for the kernel size.
        b: Offset in the rule for the kernel size.
        local_weight: Share l of the local gate, 0..1.
        seams: As published, let the local convolution run across the ends of places.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Mixed local channel attention for object detection, Eng. Appl. of AI 123 (2023)"
    YEAR = 2023
    GATES = ("full",)
    POSITIONAL = ("local_size", "gamma", "b", "local_weight")

    def __init__(
        self,
        channels: int,
        *,
        local_size: int = 5,
        gamma: float = 2,
        b: float = 1,
        local_weight: float = 0.5,
        seams: bool = True,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_integer("local_size", local_size)
        check_number("gamma", gamma)
        check_number("b", b, above=-float("inf"))
        check_number("local_weight", local_weight, above=-1e-9, most=1.0)
        check_flag("seams", seams)
        size = int(abs(math.log2(channels) + b) / gamma)
        size += 1 - size % 2
        self.local_size, self.local_weight, self.seams = local_size, local_weight, seams
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        if self.identity:
            zero(self.conv, self.conv_local)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        height, width = x.shape[2:]
        places = _averages(height, self.local_size, x) @ x @ _averages(width, self.local_size, x).T  # (B, C, S, S)
        gate = self._gate(places).to(x.dtype)
        gate = _averages(self.local_size, height, x) @ gate @ _averages(self.local_size, width, x).T  # (B, C, H, W)
        gate = gate.to(x.dtype)
        self._report(full=lambda: 1 + gate if self.identity else gate)
        return torch.addcmul(x, x, gate) if self.identity else x * gate

    def _gate(self, places: Tensor) -> Tensor:
        batch, channels, size, _ = places.shape
        line = places.flatten(2).transpose(1, 2)  # (B, SS, C)
        shape = (batch, 1, size * size * channels) if self.seams else (batch * size * size, 1, channels)
        local = self.conv_local(line.reshape(shape)).reshape(batch, size, size, channels).permute(0, 3, 1, 2)
        overall = self.conv(line.mean(1, keepdim=True)).transpose(1, 2).unsqueeze(3)  # (B, C, 1, 1)
        local, overall = local.sigmoid(), overall.sigmoid()
        if self.identity:
            local, overall = 2 * local - 1, 2 * overall - 1
        return overall * (1 - self.local_weight) + local * self.local_weight


def _averages(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """(outputs, inputs) matrix of adaptive average pooling: row i averages i*I // O up to ceil((i+1)*I / O)."""
    index = torch.arange(outputs, device=like.device)[:, None]
    first, end = index * inputs // outputs, ((index + 1) * inputs + outputs - 1) // outputs
    column = torch.arange(inputs, device=like.device)
    inside = (column >= first) & (column < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)
