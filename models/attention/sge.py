"""SGE: per group of channels, a spatial gate from the likeness of each position to the group's mean.

Li, Hu, Yang 2019, "Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
arXiv:1905.09646. As the widely used release (bias starts at 0; the authors' starts at 1). Deviation: on a map of one
position the normalised likeness is 0, where the release returns NaN.
"""

import torch
from torch import Tensor, nn

from models.attention.base import Attention, at_least, check_divisible, check_integer, float32
from models.attention.registry import register

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
        grouped = x.unflatten(1, (self.groups, -1))  # (B, G, C/G, H, W)
        gate = self._gate(grouped)
        self._report(full=lambda: gate.unsqueeze(2).expand_as(grouped).flatten(1, 2))
        return (grouped * gate.unsqueeze(2)).flatten(1, 2)

    def _gate(self, x: Tensor) -> Tensor:
        """(B, G, C/G, H, W) to (B, G, H, W)."""
        wide = float32(x)
        likeness = (wide * wide.mean((3, 4), keepdim=True)).sum(2)
        deviation = likeness - likeness.mean((2, 3), keepdim=True)
        count = x.shape[3] * x.shape[4]
        spread = torch.linalg.vector_norm(deviation, dim=(2, 3), keepdim=True) / at_least(count - 1, 1) ** 0.5
        z = deviation / (spread + EPS) * self.weight + self.bias
        gate = z.sigmoid().to(x.dtype)
        return 2 * gate if self.identity else gate
