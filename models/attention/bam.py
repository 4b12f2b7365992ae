"""BAM: one gate per value, from a channel branch and a dilated spatial branch.

Park et al. 2018, "BAM: Bottleneck Attention Module", arXiv:1807.06514.
The default is the widely used release, mended: padding equals the dilation (the release pads by 1, which shrinks the
map and works for 7x7 only), at least one hidden channel, and a batch of one trains (see `BatchNorm1d` in base).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.attention.parts.base import (
    Attention,
    BatchNorm1d,
    BatchNorm2d,
    check_choice,
    check_integer,
    hidden_width,
    zero,
)
from models.attention.parts.registry import register


@register("BAM")
class BAM(Attention):
    """x * (1 + s(t + c)), with c (B, C, 1, 1), t (B, 1, H, W), s the sigmoid.

    c is a bottleneck with batch normalisation on the channel means, t a 1x1 convolution, dilated 3x3 convolutions and
    a 1x1 convolution to one channel. The authors' code, `variant="authors"`, multiplies the branches, s(c * t), has
    one hidden layer in c, two dilated convolutions in t and dilation 4; its tensors have the authors' names.

    Identity start: the gate is 2 s(z) in place of 1 + s(z), the same number of passes; the last layers of both branches
    are zero (of the channel branch only where the branches are multiplied), so z is 0 and the gate exactly 1. Those
    layers learn from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the hidden width.
        dilation: Dilation and padding of the 3x3 convolutions; None: 2, or 4 for the authors' variant.
        variant: "release" or "authors".
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "BAM: Bottleneck Attention Module, arXiv:1807.06514"
    YEAR = 2018
    GATES = ("full",)
    POSITIONAL = ("reduction", "dilation")

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        dilation: int | None = None,
        variant: str = "release",
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_choice("variant", variant, ("release", "authors"))
        self.multiplies = variant == "authors"
        if dilation is None:
            dilation = 4 if self.multiplies else 2
        check_integer("dilation", dilation)
        hidden = hidden_width(channels, reduction)
        channel, spatial = _branches(channels, hidden, dilation, authors=self.multiplies)
        if self.multiplies:
            self.channel_att = nn.ModuleDict({"gate_c": channel})
            self.spatial_att = nn.ModuleDict({"gate_s": spatial})
        else:
            self.ca, self.sa = nn.ModuleDict({"ca": channel}), nn.ModuleDict({"sa": spatial})
        if self.identity:
            zero(channel[-1], *(() if self.multiplies else (spatial[-1],)))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        channel_branch = self.channel_att["gate_c"] if self.multiplies else self.ca["ca"]
        spatial_branch = self.spatial_att["gate_s"] if self.multiplies else self.sa["sa"]
        channel = channel_branch(x.mean((2, 3)))[..., None, None].to(x.dtype)  # (B, C, 1, 1)
        spatial = spatial_branch(x).to(x.dtype)  # (B, 1, H, W)
        both = channel * spatial if self.multiplies else channel + spatial
        gate = 2 * both.sigmoid() if self.identity else 1 + both.sigmoid()  # (B, C, H, W)
        self._report(full=gate)
        return x * gate


def _branches(channels: int, hidden: int, dilation: int, *, authors: bool) -> tuple[nn.Sequential, nn.Sequential]:
    """Both branches, with the release's names of layers or the authors'."""

    def dilated() -> nn.Conv2d:
        return nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)

    if authors:
        channel = _branch([("fc_0", "_1", nn.Linear(channels, hidden))], "gate_c_")
        channel.add_module("gate_c_fc_final", nn.Linear(hidden, channels))
        steps = [
            ("conv_reduce0", "_reduce0", nn.Conv2d(channels, hidden, 1)),
            *((f"conv_di_{i}", f"_di_{i}", dilated()) for i in range(2)),
        ]
        spatial = _branch(steps, "gate_s_")
        spatial.add_module("gate_s_conv_final", nn.Conv2d(hidden, 1, 1))
    else:
        channel = _branch([(f"fc{i}", str(i), nn.Linear(hidden if i else channels, hidden)) for i in range(3)])
        channel.add_module("last_fc", nn.Linear(hidden, channels))
        steps = [
            ("conv_reduce1", "_reduce1", nn.Conv2d(channels, hidden, 1)),
            *((f"conv_{i}", f"_{i}", dilated()) for i in range(3)),
        ]
        spatial = _branch(steps)
        spatial.add_module("last_conv", nn.Conv2d(hidden, 1, 1))
    return channel, spatial


def _branch(steps: Sequence[tuple[str, str, nn.Linear | nn.Conv2d]], prefix: str = "") -> nn.Sequential:
    """Each layer by its name, and behind it a normalisation and a ReLU, named by a suffix."""
    layers = nn.Sequential()
    for name, suffix, layer in steps:
        width = layer.weight.shape[0]
        layers.add_module(f"{prefix}{name}", layer)
        layers.add_module(
            f"{prefix}bn{suffix}", BatchNorm1d(width) if isinstance(layer, nn.Linear) else BatchNorm2d(width)
        )
        layers.add_module(f"{prefix}relu{suffix}", nn.ReLU())
    return layers
