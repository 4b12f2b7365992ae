"""A map that is read several times and then gated, with its gradient put together in one tensor.

A gating module reads its input x for means, maxima or dot products, and once more to be gated. Autograd writes one
full-size gradient per read and adds them up. Here each read hands the map on to the next, and in the backward pass adds
its share in place to the gradient that comes back from there:

    shared = SharedMap(x)
    gate = f(shared.mean())          # (B, C, 1, 1)
    y = shared.gate(gate)            # x * gate, the last read

Right after a mean, a single gate is applied to the incoming gradient where the mean adds its share: one pass, not two.

Without a graph, under `torch.compile` and in exports, the reads are the plain operations. Gradients of gradients are
not available.
"""

from typing import Any

import torch
from torch import Tensor

from models.attention.parts.base import Context, once_differentiable
from models.attention.parts.reductions import POSITIONS, Axes, add_at, count, maximum_and_index, mean, total_to
from models.attention.parts.tensors import like_format, outside_autocast
from models.blocks.tensor_traits import is_channels_last, is_traced, records_graph


class SharedMap:
    """The map x (B, C, H, W) during one forward pass; `gate` ends it.

    Args:
        x: The map.
    """

    def __init__(self, x: Tensor) -> None:
        self.shape = x.shape
        self._x = x
        self._late: list[Tensor] | None = None  # the gate that the latest read, a mean, applies to the gradient

    def mean(self, axes: Axes = POSITIONS) -> Tensor:
        """Mean over the axes (see `reductions`), which stay with length 1."""
        with outside_autocast(self._x):
            if not records_graph():
                return mean(self._x, axes)
            self._late = []
            self._x, average = _Mean.apply(self._x, axes, self._late)
            return average

    def maximum_and_mean(self, axes: Axes = POSITIONS) -> tuple[Tensor, Tensor]:
        """Both over the axes, which stay with length 1; the first of equal maxima gets the gradient."""
        with outside_autocast(self._x):
            if not records_graph():
                return self._x.amax(axes, keepdim=True), mean(self._x, axes)
            self._late = None
            self._x, largest, average = _MaximumAndMean.apply(self._x, axes)
            return largest, average

    def dot_channels(self, vectors: Tensor) -> Tensor:
        """Product of each of the vectors (B, K, C) with each position: (B, K, N) in the dtype of x; float16: float32.

        In float16 weights that sum to at most one keep the product within the range of x.
        """
        if self._x.dtype is torch.float16:
            size = vectors.float().abs().sum(2, keepdim=True).clamp_min(1e-30)
            return self._products(vectors / size, None)[0].float() * size
        return self._products(vectors, None)[0]

    def dot_positions(self, weights: Tensor) -> Tensor:
        """Sums of the positions weighted by (B, K, N): (B, K, C), in the dtype of x."""
        return self._products(None, weights)[1]

    def mean_and_dot(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`mean()` and `dot_channels(vectors)` in one read."""
        if not records_graph() or self._x.dtype is torch.float16:
            return self.mean(), self.dot_channels(vectors)
        batch, _, height, width = self.shape
        dots, sums = self._products(vectors, self._x.new_ones(1).expand(batch, 1, height * width))
        return (sums / (height * width)).view(*self.shape[:2], 1, 1), dots

    def _products(self, vectors: Tensor | None, weights: Tensor | None) -> tuple[Any, Any]:
        vectors, weights = (t if t is None else t.to(self._x.dtype) for t in (vectors, weights))
        with outside_autocast(self._x):
            if not records_graph():
                return _products(self._x, vectors, weights)
            self._late = None
            self._x, dots, sums = _Products.apply(self._x, vectors, weights)
            return dots, sums

    def gate(self, *gates: Tensor, added: bool = False) -> Tensor:
        """X times the product of the gates, or times their sum where `added`; the last read of the map.

        Args:
            gates: Each (B, C, 1, 1), (B, 1, H, W), (B, C, H, 1), (B, C, 1, W) or (B, C, H, W); at most two if they
                are multiplied.
            added: Use their sum in place of their product.
        """
        x, gates = self._x, tuple(gate.to(self._x.dtype) for gate in gates)
        if is_traced():
            product = gates[0]
            for gate in gates[1:]:
                product = product + gate if added else product * gate
            return x * product
        gates = tuple(like_format(gate, x) for gate in gates)  # a product of two formats is up to eight times slower
        if not records_graph():
            return _gated(x, gates, added)
        return _Gate.apply(x, added, self._late if len(gates) == 1 else None, *gates)


def _products(x: Tensor, vectors: Tensor | None, weights: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """(B, K, C) and (B, L, N) with x (B, C, H, W): (B, K, N) and (B, L, C)."""
    flat = x.flatten(2)
    return (
        None if vectors is None else torch.bmm(vectors, flat),
        None if weights is None else torch.bmm(weights, flat.transpose(1, 2)),
    )


def _gated(x: Tensor, gates: tuple[Tensor, ...], added: bool) -> Tensor:
    first, *others = gates
    if added:  # summed first: three thirds make exactly one
        total = torch.add(first, others[0], out=torch.empty_like(x))
        for gate in others[1:]:
            total.add_(gate)
        return total.mul_(x)
    y = x * first
    for gate in others:
        y.mul_(gate)
    return y


def _share(product: Tensor, shape: torch.Size, others: list[Tensor]) -> Tensor:
    """Sum, to the shape of a gate, of the gradient times x times the other gate."""
    if not others:
        return total_to(product, shape)
    (other,) = others
    if other.shape[2:] == (1, 1) and shape[1] == 1:
        return torch.bmm(other.flatten(2).transpose(1, 2), product.flatten(2)).view(shape)
    if other.shape[1] == 1 and shape[2:] == (1, 1):
        return torch.bmm(other.flatten(2), product.flatten(2).transpose(1, 2)).view(shape)
    return total_to(product * other, shape)


# The gradient that a read gets for the map that it handed on is a tensor that `_Gate` or a late mean made and nobody
# else holds: so it may be written to.


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, axes: Axes, late: list[Tensor]) -> tuple[Tensor, Tensor]:
        ctx.axes, ctx.late = axes, late
        return x.view_as(x), mean(x, axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient, for_mean = gradients
        share = like_format(for_mean / count(gradient, ctx.axes), gradient)
        if not ctx.late:
            return gradient.add_(share), None, None
        (gate,) = ctx.late
        if gradient.dtype is torch.bfloat16 and not is_channels_last(gradient):  # addcmul takes twice as long there
            return (gradient * gate).add_(share), None, None
        return torch.addcmul(share, gradient, gate, out=torch.empty_like(gradient)), None, None


class _MaximumAndMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, axes: Axes) -> tuple[Tensor, Tensor, Tensor]:
        largest, index = maximum_and_index(x, axes)
        ctx.axes = axes
        ctx.save_for_backward(index)
        return x.view_as(x), largest, mean(x, axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient, for_largest, for_mean = gradients
        gradient.add_(like_format(for_mean / count(gradient, ctx.axes), gradient))
        (index,) = ctx.saved_tensors
        add_at(gradient, ctx.axes, index, for_largest)
        return gradient, None


class _Products(torch.autograd.Function):
    """`_products`; all shares of x are one product of small matrices."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, vectors: Tensor | None, weights: Tensor | None) -> tuple[Any, ...]:
        ctx.save_for_backward(x, vectors, weights)  # pyright: ignore[reportArgumentType]
        return x.view_as(x), *_products(x, vectors, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, for_dots, for_sums = gradients
        x, vectors, weights = ctx.saved_tensors
        channels = torch.cat([t for t in (vectors, for_sums) if t is not None], 1)  # (B, K + L, C)
        positions = torch.cat([t for t in (for_dots, weights) if t is not None], 1)  # (B, K + L, N)
        if is_channels_last(gradient):
            gradient.permute(0, 2, 3, 1).flatten(1, 2).baddbmm_(positions.transpose(1, 2), channels)
        else:
            gradient.flatten(2).baddbmm_(channels.transpose(1, 2), positions)
        _, for_vectors, for_weights = ctx.needs_input_grad
        sums, dots = _products(x, for_sums if for_weights else None, for_dots if for_vectors else None)
        return gradient, dots, sums


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, added: bool, late: list[Tensor] | None, *gates: Tensor) -> Tensor:
        ctx.added, ctx.late = added, late is not None
        if late is not None:
            late.append(gates[0].detach())  # with its graph it would keep itself alive
        ctx.save_for_backward(x, *gates)
        return _gated(x, gates, added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, *gates = ctx.saved_tensors
        gradient = like_format(gradient, x)
        product = like_format(gradient * x, x)
        shares = (
            _share(product, gate.shape, [] if ctx.added else [g for g in gates if g is not gate]) for gate in gates
        )
        return gradient if ctx.late else _gated(gradient, tuple(gates), ctx.added), None, None, *shares
