"""SimAM's gate, image by image: one image stays in the cache through all the steps, the whole map would not."""

import torch
from torch import Tensor

from models.attention.parts.base import Context, float32, once_differentiable
from models.attention.parts.tensors import like_format


def energy_gate(x: Tensor, strength: Tensor, e_lambda: float, *, identity: bool) -> Tensor:
    """X * s(t e), for an identity start x * (1 + tanh(t e)), with e = d^2 / (4 (variance + e_lambda)) + 0.5.

    Args:
        x: (B, C, H, W); d are its deviations from the means over the positions.
        strength: The factor t, (1).
        e_lambda: Added to the variance.
        identity: As above.

    Returns:
        (B, C, H, W) in the dtype and memory format of x; the steps between are in float32 at least.
    """
    return _EnergyGate.apply(like_format(x, x), strength, e_lambda, identity)


class _EnergyGate(torch.autograd.Function):
    """Only x is kept for the backward pass, which computes the gate again."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, strength: Tensor, e_lambda: float, identity: bool) -> Tensor:
        ctx.save_for_backward(x, strength)
        ctx.e_lambda, ctx.identity = e_lambda, identity
        y = torch.empty_like(x)
        for image, result in zip(x, y, strict=True):
            wide = float32(image)
            _, _, gate = _gate(wide, strength, e_lambda, identity)
            result.copy_(gate.mul_(wide))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, strength = ctx.saved_tensors
        for_x, for_strength = torch.empty_like(x), torch.zeros_like(strength)
        for image, incoming, result in zip(x, like_format(gradient, x), for_x, strict=True):
            wide, incoming = float32(image), float32(incoming)
            deviation, factor, gate = _gate(wide, strength, ctx.e_lambda, ctx.identity)
            # The logit is t (factor d^2 + 1/2); its gradient's sums, times 1, d and d^2, give the rest.
            product = wide * incoming
            if ctx.identity:
                for_logit = torch.ops.aten.tanh_backward(product, gate - 1)
            else:
                for_logit = torch.ops.aten.sigmoid_backward(product, gate)
            whole = for_logit.sum() if ctx.needs_input_grad[1] else 0.0
            weighted = for_logit.mul_(deviation)
            first = weighted.sum((1, 2), keepdim=True)
            second = torch.mul(weighted, deviation, out=product).sum((1, 2), keepdim=True)
            for_strength += (second * factor).sum() + 0.5 * whole
            slope = 2 * factor * strength
            for_variance = -4 * factor.square() * strength * second / max(wide[0].numel() - 1, 1)
            share = gate.mul_(incoming).addcmul_(weighted, slope).addcmul_(deviation, 2 * for_variance)
            result.copy_(share.sub_(slope * first / wide[0].numel()))
        return for_x, for_strength, None, None


def _gate(x: Tensor, strength: Tensor, e_lambda: float, identity: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For an image (C, H, W): its deviations, 1 / (4 (variance + e_lambda)), and the factor of the map."""
    deviation = x - x.mean((1, 2), keepdim=True)
    square = deviation.square()
    factor = 0.25 / (square.sum((1, 2), keepdim=True) / max(x[0].numel() - 1, 1) + e_lambda)
    logit = square.mul_(strength * factor).add_(0.5 * strength)
    return deviation, factor, logit.tanh_().add_(1) if identity else logit.sigmoid_()
