"""PAM, CAM and DANet: attention between positions, between channels, and the sum of both.

Fu et al. 2019, "Dual Attention Network for Scene Segmentation", arXiv:1809.02983.
As the authors' modules (the convolutions of their segmentation head are not part of them). Energies are unscaled and,
as the softmax, in float32. Deviations: at least one query channel; logits more than 60 below the largest of their row
count as 60 below, since weights under 1e-26 underflow into denormal numbers, which make CPU matrix products many
times slower.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.base import Attention, float32, hidden_width
from models.attention.registry import register

LEAST_LOGIT = -60.0


@register("PAM")
class PAM(Attention):
    """gamma * sum_j A_ij v_j + x at each position i, A = softmax over j of q_i . k_j; gamma starts at 0.

    q, k (channels // reduction) and v (channels) are 1x1 convolutions of x.

    Identity start: the published start already is the identity, since gamma is 0; both starts are the same. gamma
    learns from the first step, the rest from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the width of queries and keys.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("affinity",)
    POSITIONAL = ("reduction",)
    INERT = ("key_conv.bias",)

    def __init__(self, channels: int, *, reduction: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        hidden = hidden_width(channels, reduction)
        self.query_conv = nn.Conv2d(channels, hidden, 1)
        self.key_conv = nn.Conv2d(channels, hidden, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the positions of a map (B, C, H, W)."""
        return x + self.attend(x)

    def attend(self, x: Tensor) -> Tensor:
        """The attention term, without x."""
        query, key, value = (conv(x).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv))
        with torch.autocast(x.device.type, enabled=False):
            energy = float32(query).transpose(1, 2) @ float32(key)  # (B, N, N)
        weights = bounded_softmax(energy).to(value.dtype)
        self._report(affinity=lambda: self._affinity(weights, x))
        attended = value @ weights.transpose(1, 2)  # (B, C, N)
        return (self.gamma.to(attended.dtype) * attended).to(x.dtype).view(x.shape)

    def _affinity(self, weights: Tensor, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        row, column = self._query_position(height, width)
        return weights[:, row * width + column].view(-1, 1, height, width)


@register("CAM")
class CAM(Attention):
    """gamma * A X + x, A = softmax over j of -x_i . x_j between the channels i and j; gamma starts at 0.

    Identity start: the published start already is the identity, since gamma is 0; both starts are the same. gamma,
    the only parameter, learns from the first step.

    The gate handed out is the weight that each channel receives, averaged over the channels that give it.

    Args:
        channels: Number of channels C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("channel",)

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the channels of a map (B, C, H, W)."""
        return x + self.attend(x)

    def attend(self, x: Tensor) -> Tensor:
        """The attention term, without x."""
        with torch.autocast(x.device.type, enabled=False):
            rows = float32(x).flatten(2)  # (B, C, N)
            weights = bounded_softmax(-(rows @ rows.transpose(1, 2)))  # (B, C, C)
            self._report(channel=lambda: weights.mean(1)[..., None, None])
            return (self.gamma * (weights @ rows)).to(x.dtype).view(x.shape)


@register("DANet")
class DANet(Attention):
    """PAM(x) + CAM(x), as the authors' head sums its two branches.

    Identity start: each branch starts as x, so their sum starts as 2 x; with the identity start x is added once,
    x + (PAM(x) - x) + (CAM(x) - x), which is exactly x while both gammas are 0. The gammas learn from the first step,
    the rest from the second.

    The gates are those of the branches; they act side by side, not multiplied.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the width of queries and keys of PAM.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("affinity", "channel")
    POSITIONAL = ("reduction",)
    INERT = ("pam.key_conv.bias",)

    def __init__(self, channels: int, *, reduction: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.pam = PAM(channels, reduction=reduction, start=start)
        self.cam = CAM(channels, start=start)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the positions and the channels of a map (B, C, H, W)."""
        for branch in (self.pam, self.cam):
            branch._query, branch._gates = self._query, self._gates
        attended = self.pam.attend(x) + self.cam.attend(x)
        return attended + x if self.identity else torch.add(attended, x, alpha=2)


def bounded_softmax(logits: Tensor) -> Tensor:
    """Softmax over the last dimension of logits, bounded below so that no weight is a denormal number."""
    return F.softmax((logits - logits.amax(-1, keepdim=True)).clamp_min(LEAST_LOGIT), -1)
