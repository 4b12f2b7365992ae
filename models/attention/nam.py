"""NAM: a gate from batch normalisation, whose weights say how much each channel matters.

Liu et al. 2021, "NAM: Normalization-based Attention Module", arXiv:2111.12419 (its channel part, as released).
Same values as the widely used release. Deviations: weights that are all zero count as equal instead of 0 / 0; a
single 1x1 map in training falls back to running statistics. The paper's penalty on the weights belongs to the loss.
"""

from torch import Tensor

from models.attention.parts.base import OUT_CHANNELS, Attention, BatchNorm2d, check_flag, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import gate_map, gate_values

_TINY = 1e-20  # added to each weight: without effect in sums of trained weights, equal shares where all are zero


@register("NAM")
class NAM(Attention):
    """x * s(w * BN(x)), with w = |g| / sum(|g|), g (C) the weights of the batch normalisation.

    Identity start: weight and bias of the normalisation are zero and the map is multiplied by 1 + tanh(w * BN(x)) in
    place of the sigmoid, exactly 1. Both learn from the first step.

    Args:
        channels: Number of channels C.
        detach: As released, let no gradient pass through w, only through the normalised map.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "NAM: Normalization-based Attention Module, arXiv:2111.12419"
    YEAR = 2021
    GATES = ("full",)
    POSITIONAL = (OUT_CHANNELS,)

    def __init__(self, channels: int, *, detach: bool = True, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_flag("detach", detach)
        self.detach = detach
        self.bn2 = BatchNorm2d(channels)
        if self.identity:
            zero(self.bn2)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        weight = self.bn2.weight.detach() if self.detach else self.bn2.weight
        share = weight.abs() + _TINY
        share = (share / share.sum()).to(x.dtype)[:, None, None]  # (C, 1, 1)
        logits = self.bn2(x) * share
        self._report(full=lambda: gate_values(logits, identity=self.identity))
        return gate_map(x, logits, identity=self.identity)
