"""SE: a channel gate from the channel means.

Hu, Shen, Sun 2018, "Squeeze-and-Excitation Networks", arXiv:1709.01507.
As the widely used release, without biases (the authors' Caffe model has them). Deviation: at least one hidden
channel; with fewer channels than `reduction` the release silently returns x / 2.
"""

from torch import Tensor, nn

from models.attention.parts.base import Attention, hidden_width, zero
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap


@register("SE")
class SE(Attention):
    """x * s(W2 relu(W1 mean(x))), the mean over H and W, s the sigmoid.

    Identity start: W2 is zero and the gate is 2 s(z), so it is exactly 1; the factor 2 touches the (B, C) gate only.
    W2 learns from the first step, W1 from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the hidden width max(1, channels // reduction).
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Squeeze-and-Excitation Networks, arXiv:1709.01507"
    YEAR = 2018
    GATES = ("channel",)
    POSITIONAL = ("reduction",)

    def __init__(self, channels: int, *, reduction: int = 16, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        hidden = hidden_width(channels, reduction)
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False), nn.Sigmoid()
        )
        if self.identity:
            zero(self.fc[2])

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        shared = SharedMap(x)
        gate = self.fc(shared.mean())  # (B, C)
        if self.identity:
            gate = 2 * gate
        self._report(channel=gate[..., None, None])
        return shared.gate(channel=gate)
