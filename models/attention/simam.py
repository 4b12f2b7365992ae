"""SimAM: a gate for every value from how far it lies from its channel's mean; no weights.

Yang et al. 2021, "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks", ICML.
Same values as the widely used release. Deviations: a 1x1 map, whose variance the release divides by zero, counts as
having no deviation (gate s(0.5)); the energy of bfloat16 and float16 maps is computed in float32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, float32
from models.attention.parts.registry import register
from models.attention.parts.tensors import add_strength, check_number, gate_map, gate_values, like_format
from models.blocks.tensor_traits import is_channels_last, is_traced

BLOCK = 2**19  # values worked on at once: all the memory in use then fits into the third-level cache


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
        return _Gate.apply(like_format(x, x), self.strength, self.e_lambda, self.identity)

    def _logits(self, x: Tensor) -> Tensor:
        """Strength times energy of every value, in float32 at least."""
        wide = float32(x)
        deviation = (wide - wide.mean((2, 3), keepdim=True)).square()  # (B, C, H, W)
        positions = torch.full((), x.shape[2] * x.shape[3] - 1, device=x.device).clamp(min=1)
        variance = deviation.sum((2, 3), keepdim=True) / positions  # (B, C, 1, 1)
        factor = self.strength / (4 * (variance + self.e_lambda))
        return torch.addcmul((0.5 * self.strength).to(wide.dtype), deviation, factor.to(wide.dtype))


class _Gate(torch.autograd.Function):
    """The gated map, block by block: a block stays in the cache through all the steps, the map would not.

    Only x is kept for the backward pass, which computes the gate again.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, strength: Tensor, e_lambda: float, identity: bool) -> Tensor:
        ctx.save_for_backward(x, strength)
        ctx.e_lambda, ctx.identity = e_lambda, identity
        y = torch.empty_like(x)
        work = _Work(x, strength, e_lambda, identity)
        for block, result in zip(_blocks(x), _blocks(y), strict=True):
            work.gated(block, result)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, strength = ctx.saved_tensors
        for_x, for_strength = torch.empty_like(x), torch.zeros_like(strength)
        work = _Work(x, strength, ctx.e_lambda, ctx.identity)
        parts = (_blocks(t) for t in (x, like_format(gradient, x), for_x))
        for block, incoming, result in zip(*parts, strict=True):
            for_strength += work.backward(block, incoming, result)
        return for_x, for_strength, None, None


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Views (K, N) of a map (B, C, H, W): several channels, or with the channels innermost whole images."""
    if is_channels_last(x):
        return x.flatten(2).unbind(0)
    rows = x.reshape(x.shape[0] * x.shape[1], x.shape[2] * x.shape[3])
    return rows.split(max(1, BLOCK // max(1, rows.shape[1])))


class _Work:
    """The steps of one block, in memory that every block uses again."""

    def __init__(self, x: Tensor, strength: Tensor, e_lambda: float, identity: bool) -> None:
        self.e_lambda, self.identity = e_lambda, identity
        self.wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        self.strength = strength.to(self.wide)
        self.buffers: dict[str, Tensor] = {}

    def buffer(self, name: str, like: Tensor) -> Tensor:
        """Room for values of a block, stored as it is."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty_like(like, dtype=self.wide)
        return self.buffers[name][: len(like)]

    def widened(self, block: Tensor, name: str) -> Tensor:
        """The block itself, or in float32."""
        return block if block.dtype is self.wide else self.buffer(name, block).copy_(block)

    def gate(self, x: Tensor, deviation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sigmoid (identity start: tanh) of the logits, and 1 / (4 (variance + e_lambda)).

        Args:
            x: A block.
            deviation: Where to write x - mean, if it is needed.
        """
        gate = self.buffer("gate", x)
        deviation = gate if deviation is None else deviation
        torch.sub(x, x.mean(1, keepdim=True), out=deviation)
        torch.mul(deviation, deviation, out=gate)
        variance = gate.sum(1, keepdim=True) / max(x.shape[1] - 1, 1)
        factor = 0.25 / (variance + self.e_lambda)
        torch.addcmul(0.5 * self.strength, gate, self.strength * factor, out=gate)
        return gate.tanh_() if self.identity else gate.sigmoid_(), factor

    def gated(self, block: Tensor, result: Tensor) -> None:
        """Write the gated block."""
        x = self.widened(block, "x")
        gate, _ = self.gate(x)
        out = result if result.dtype is self.wide else gate
        if self.identity:
            torch.addcmul(x, x, gate, out=out)
        else:
            torch.mul(x, gate, out=out)
        if out is gate:
            result.copy_(gate)

    def backward(self, block: Tensor, gradient: Tensor, result: Tensor) -> Tensor:
        """Write the gradient for the block, and return the one for the strength."""
        x, gradient = self.widened(block, "x"), self.widened(gradient, "gradient")
        deviation, for_logit = self.buffer("deviation", x), self.buffer("for_logit", x)
        gate, factor = self.gate(x, deviation)
        torch.mul(x, gradient, out=for_logit)
        if self.identity:
            torch.ops.aten.tanh_backward.grad_input(for_logit, gate, grad_input=for_logit)
            torch.addcmul(gradient, gradient, gate, out=gate)
        else:
            torch.ops.aten.sigmoid_backward.grad_input(for_logit, gate, grad_input=for_logit)
            gate.mul_(gradient)
        # The logit is t (factor d^2 + 1/2), d the deviation; its gradient's sums, times 1, d and d^2, give the rest.
        for_strength = 0.5 * for_logit.sum() if self.identity else 0
        product = for_logit.mul_(deviation)
        first = product.sum(1, keepdim=True)
        second = torch.linalg.vecdot(product, deviation, dim=1).unsqueeze(1)
        linear = 2 * factor * self.strength
        for_variance = -4 * factor.square() * self.strength * second / max(x.shape[1] - 1, 1)
        gate.addcmul_(product, linear).addcmul_(deviation, 2 * for_variance)
        torch.sub(gate, linear * first / x.shape[1], out=result if result.dtype is self.wide else gate)
        if result.dtype is not self.wide:
            result.copy_(gate)
        return for_strength + (second * factor).sum()
