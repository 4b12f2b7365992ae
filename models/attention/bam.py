"""BAM: one gate per value, from a channel branch and a dilated spatial branch.

Park et al. 2018, "BAM: Bottleneck Attention Module", arXiv:1807.06514.
The default is the widely used release, mended: padding equals the dilation (the release pads by 1, which shrinks the
map and works for 7x7 only), at least one hidden channel, and a batch of one trains (see `BatchNorm1d` in base).
"""

from collections import OrderedDict

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
        if self.multiplies:
            self.channel_att = nn.ModuleDict({"gate_c": _authors_channel_branch(channels, hidden)})
            self.spatial_att = nn.ModuleDict({"gate_s": _authors_spatial_branch(channels, hidden, dilation)})
        else:
            self.ca = nn.ModuleDict({"ca": _channel_branch(channels, hidden)})
            self.sa = nn.ModuleDict({"sa": _spatial_branch(channels, hidden, dilation)})
        if self.identity:
            channel, spatial = self._branches()
            zero(channel[-1], *(() if self.multiplies else (spatial[-1],)))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        channel_branch, spatial_branch = self._branches()
        channel = channel_branch(x.mean((2, 3)))[..., None, None].to(x.dtype)  # (B, C, 1, 1)
        spatial = spatial_branch(x).to(x.dtype)  # (B, 1, H, W)
        both = channel * spatial if self.multiplies else channel + spatial
        gate = 2 * both.sigmoid() if self.identity else 1 + both.sigmoid()  # (B, C, H, W)
        self._report(full=gate)
        return x * gate

    def _branches(self) -> tuple[nn.Sequential, nn.Sequential]:
        if self.multiplies:
            return self.channel_att["gate_c"], self.spatial_att["gate_s"]
        return self.ca["ca"], self.sa["sa"]


def _channel_branch(channels: int, hidden: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, width in enumerate((channels, hidden, hidden)):
        layers[f"fc{i}"] = nn.Linear(width, hidden)
        layers[f"bn{i}"] = BatchNorm1d(hidden)
        layers[f"relu{i}"] = nn.ReLU()
    layers["last_fc"] = nn.Linear(hidden, channels)
    return nn.Sequential(layers)


def _spatial_branch(channels: int, hidden: int, dilation: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv_reduce1"] = nn.Conv2d(channels, hidden, 1)
    layers["bn_reduce1"] = BatchNorm2d(hidden)
    layers["relu_reduce1"] = nn.ReLU()
    for i in range(3):
        layers[f"conv_{i}"] = nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)
        layers[f"bn_{i}"] = BatchNorm2d(hidden)
        layers[f"relu_{i}"] = nn.ReLU()
    layers["last_conv"] = nn.Conv2d(hidden, 1, 1)
    return nn.Sequential(layers)


def _authors_channel_branch(channels: int, hidden: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["gate_c_fc_0"] = nn.Linear(channels, hidden)
    layers["gate_c_bn_1"] = BatchNorm1d(hidden)
    layers["gate_c_relu_1"] = nn.ReLU()
    layers["gate_c_fc_final"] = nn.Linear(hidden, channels)
    return nn.Sequential(layers)


def _authors_spatial_branch(channels: int, hidden: int, dilation: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["gate_s_conv_reduce0"] = nn.Conv2d(channels, hidden, 1)
    layers["gate_s_bn_reduce0"] = BatchNorm2d(hidden)
    layers["gate_s_relu_reduce0"] = nn.ReLU()
    for i in range(2):
        layers[f"gate_s_conv_di_{i}"] = nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)
        layers[f"gate_s_bn_di_{i}"] = BatchNorm2d(hidden)
        layers[f"gate_s_relu_di_{i}"] = nn.ReLU()
    layers["gate_s_conv_final"] = nn.Conv2d(hidden, 1, 1)
    return nn.Sequential(layers)
