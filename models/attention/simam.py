"""SimAM: a gate for every value from how far it lies from its channel's mean; no weights.

Yang et al. 2021, "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks", ICML.
Same values as the widely used release. Deviations: a 1x1 map, whose variance the release divides by zero, counts as
having no deviation (gate s(0.5)); the energy of bfloat16 and float16 maps is computed in float32.
"""

import torch
from torch import Tensor

from models.attention.parts import register
from models.attention.parts.base import Attention, float32
from models.attention.parts.energy_gate import energy_gate
from models.attention.parts.tensors import add_strength, check_number, gate_map, gate_values
from models.blocks.tensor_traits import is_traced


@register("SimAM")
class SimAM(Attention):
    """x * s(e), with e = d / (4 (sum of d over H, W / max(H * W - 1, 1) + e_lambda)) + 0.5 and d = (x - mean)^2.

    Identity start: a mechanism without weights has nothing to start from, so one learned number is added, `strength`
    t: the map is multiplied by 1 + tanh(t e), t starting at 0. With paper start `strength` is a constant 1 in the
    state dict, no parameter.

    Args:
        channels: Number of channels C.
        e_lambda: Added to the variance.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks, ICML 2021"
    YEAR = 2021
    GATES = ("full",)
    POSITIONAL = ("e_lambda",)
    strength: Tensor

    def __init__(self, channels: int, *, e_lambda: float = 1e-4, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_number("e_lambda", e_lambda)
        self.e_lambda = e_lambda
        add_strength(self)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        self._report(full=lambda: gate_values(self._logits(x), identity=self.identity))
        if is_traced() or x.device.type != "cpu":
            return gate_map(x, self._logits(x), identity=self.identity)
        return energy_gate(x, self.strength, self.e_lambda, identity=self.identity)

    def _logits(self, x: Tensor) -> Tensor:
        """Strength times energy of every value, in float32 at least."""
        wide = float32(x)
        deviation = (wide - wide.mean((2, 3), keepdim=True)).square()  # (B, C, H, W)
        positions = torch.full((), x.shape[2] * x.shape[3] - 1, device=x.device).clamp(min=1)
        variance = deviation.sum((2, 3), keepdim=True) / positions  # (B, C, 1, 1)
        factor = self.strength / (4 * (variance + self.e_lambda))
        return torch.addcmul((0.5 * self.strength).to(wide.dtype), deviation, factor.to(wide.dtype))
