"""SGE: per group of channels, a spatial gate from the likeness of each position to the group's mean.

Li, Hu, Yang 2019, "Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
arXiv:1905.09646. As the widely used release (bias starts at 0; the authors' starts at 1). Deviation: on a map of one
position the normalised likeness is 0, where the release returns NaN.
"""

import torch
from torch import Tensor, nn

from models.attention.parts import SharedMap, register
from models.attention.parts.base import Attention, at_least, check_divisible, check_integer, float32
from models.attention.parts.tensors import outside_autocast
from models.blocks.tensor_traits import is_channels_last

EPS = 1e-5


@register("SpatialGroupEnhance")
class SpatialGroupEnhance(Attention):
    """x * s(w_g t + b_g): t is the dot product of each position with its group's mean, normalised over positions.

    t = (d - mean(d)) / (std(d) + 1e-5), d = sum over the group's channels of x * mean(x), std with N - 1.

    Identity start: w and b are zero and the gate is 2 s(z), so it is exactly 1; the factor touches the (B, G, H, W)
    gate only. Both parameters learn from the first step.

    Args:
        channels: Number of channels C, a multiple of groups.
        groups: Number of groups G.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range, or groups does not divide the channels.
    """

    PAPER = "Spatial Group-wise Enhance, arXiv:1905.09646"
    YEAR = 2019
    GATES = ("full",)
    POSITIONAL = ("groups",)

    def __init__(self, channels: int, *, groups: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("groups", groups)
        check_divisible(channels, groups, "groups")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        with outside_autocast(x):
            return self._with_channels_innermost(x) if is_channels_last(x) else self._by_group(x)

    def _by_group(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        group = SharedMap(x.reshape(batch * self.groups, channels // self.groups, height, width))
        likeness = group.dot_channels(group.mean().flatten(2).transpose(1, 2))  # (B * G, 1, N)
        gate = self._gate(likeness.reshape(batch, self.groups, height * width), x)
        return group.gate(gate.reshape(batch * self.groups, 1, height, width)).view(x.shape)

    def _with_channels_innermost(self, x: Tensor) -> Tensor:
        """The same; products with block-diagonal matrices spare broadcasting over runs of a few channels."""
        batch, channels, height, width = x.shape
        own = torch.eye(self.groups, dtype=x.dtype, device=x.device).repeat_interleave(channels // self.groups, 1)
        shared = SharedMap(x)
        likeness = shared.dot_channels(own * shared.mean().view(batch, 1, channels))  # (B, G, N)
        gate = self._gate(likeness, x).transpose(1, 2) @ own  # (B, N, C)
        return shared.gate(gate.view(batch, height, width, channels).permute(0, 3, 1, 2))

    def _gate(self, likeness: Tensor, x: Tensor) -> Tensor:
        """Likeness (B, G, N) to the gate of the same shape, in the dtype of x."""
        deviation = float32(likeness)
        deviation = deviation - deviation.mean(2, keepdim=True)
        degrees = at_least(x.shape[2] * x.shape[3] - 1, 1)
        spread = torch.linalg.vector_norm(deviation, dim=2, keepdim=True) / degrees**0.5
        weight, bias = self.weight.flatten(2), self.bias.flatten(2)
        gate = torch.addcmul(bias, deviation, weight / (spread + EPS)).sigmoid().to(x.dtype)
        if self.identity:
            gate = 2 * gate
        self._report(full=lambda: gate.repeat_interleave(self.channels // self.groups, 1).view(x.shape))
        return gate
