"""A map that is read several times: everything linear in it, with its gradient put together in one place.

A gating module reads its input x for pooled values, for dot products, and once more to be gated. Autograd writes one
full-size gradient per read and adds them up. Here every read but the last has a gradient of rank one, channel vector
times position vector, so the gradient is the gated incoming gradient plus one product of small matrices:

    shared = SharedMap(x)
    mean = shared.mean()                                 # (B, C)
    y = shared.gate(channel=f(mean))                     # (B, C, H, W)

While a graph is recorded, the reads are autograd functions that leave their share with the common record; the
function that handed x out collects them. Without a graph, under `torch.compile` and in exports, they are plain
operations. Gradients of gradients are not available.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.reductions import (
    is_channels_last,
    is_traced,
    mean_positions,
    sum_channels,
    sum_positions,
)
from models.attention.parts.tensors import like_format, outside_autocast
from models.blocks.tensor_traits import records_graph


class _Record:
    """What the backward passes of the reads leave for the one that assembles the gradient."""

    def __init__(self) -> None:
        self.terms: dict[int, tuple[Tensor, Tensor | None]] = {}  # read -> (B, C) and (B, N); None: ones
        self.reads = 0
        self.channel: Tensor | None = None  # (B, C)
        self.spatial: Tensor | None = None  # (B, N)
        self.added = False

    def next_read(self) -> int:
        self.reads += 1
        return self.reads


class SharedMap:
    """The map x (B, C, H, W) during one forward pass.

    Args:
        x: The map.
    """

    def __init__(self, x: Tensor) -> None:
        self.shape = x.shape
        self._record = _Record() if records_graph() else None
        self._x = x if self._record is None else _Hand.apply(x, self._record)

    def mean(self) -> Tensor:
        """Mean over the positions, (B, C)."""
        with outside_autocast(self._x):
            return mean_positions(self._x) if self._record is None else _Mean.apply(self._x, self._record)

    def dot_channels(self, vector: Tensor) -> Tensor:
        """Product of (B, C) with each position: (B, N), in the dtype of x; for float16 in float32."""
        if self._x.dtype is torch.float16:
            # With weights that sum to at most one the product stays within the range of x.
            size = vector.float().abs().sum(1, keepdim=True).clamp_min(1e-30)
            return self._dot_channels(vector / size).float() * size
        return self._dot_channels(vector)

    def _dot_channels(self, vector: Tensor) -> Tensor:
        vector = vector.to(self._x.dtype)
        with outside_autocast(self._x):
            if self._record is None:
                return _dot_channels(self._x, vector)
            return _DotChannels.apply(self._x, vector, self._record)

    def dot_positions(self, weights: Tensor) -> Tensor:
        """Sum of the positions weighted by (B, N): (B, C), in the dtype of x."""
        weights = weights.to(self._x.dtype)
        with outside_autocast(self._x):
            if self._record is None:
                return _dot_positions(self._x, weights)
            return _DotPositions.apply(self._x, weights, self._record)

    def gate(self, channel: Tensor | None = None, spatial: Tensor | None = None, *, added: bool = False) -> Tensor:
        """X times the gates: multiplied, or added to one another where `added`. The last read of the map.

        Args:
            channel: (B, C).
            spatial: (B, N).
            added: Use channel + spatial in place of their product; needs both.
        """
        channel, spatial = (g if g is None else g.to(self._x.dtype) for g in (channel, spatial))
        if self._record is None:
            return _gate(self._x, channel, spatial, added)
        return _Gate.apply(self._x, channel, spatial, added, self._record)


def _dot_channels(x: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(vector.unsqueeze(1), x.flatten(2)).squeeze(1)


def _dot_positions(x: Tensor, weights: Tensor) -> Tensor:
    return torch.bmm(weights.unsqueeze(1), x.flatten(2).transpose(1, 2)).squeeze(1)


def _gate(x: Tensor, channel: Tensor | None, spatial: Tensor | None, added: bool) -> Tensor:
    batch, _, height, width = x.shape
    if channel is not None:
        channel = channel[..., None, None]
    if spatial is not None:
        spatial = spatial.view(batch, 1, height, width)
    if added:
        if is_traced():
            return x * (channel + spatial)
        return torch.mul(x, channel).addcmul_(x, spatial)
    y = x * (spatial if channel is None else channel)
    if channel is None or spatial is None:
        return y
    return y * spatial if is_traced() else y.mul_(spatial)


class _Hand(torch.autograd.Function):
    """Hands x out; its backward assembles the gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, record: _Record) -> Tensor:
        ctx.record = record
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        record = ctx.record
        terms = list(record.terms.values())
        record.terms.clear()
        constants = [channel for channel, position in terms if position is None]
        products = [(channel, position) for channel, position in terms if position is not None]
        if len(constants) == 1 and not products and record.spatial is None:
            constant, channel = (v.to(gradient.dtype)[..., None, None] for v in (constants[0], record.channel))
            return torch.addcmul(constant, gradient, channel, out=torch.empty_like(gradient)), None
        result = _gate(gradient, record.channel, record.spatial, record.added)
        if not terms:
            return result, None
        ones = result.new_ones(len(result), result.shape[2] * result.shape[3])
        products += [(channel, ones) for channel in constants]
        channels = torch.stack([channel.to(result.dtype) for channel, _ in products], 2)  # (B, C, K)
        positions = torch.stack([position.to(result.dtype) for _, position in products], 1)  # (B, K, N)
        if is_channels_last(result):
            flat = result.permute(0, 2, 3, 1).flatten(1, 2)  # (B, N, C)
            flat.baddbmm_(positions.transpose(1, 2), channels.transpose(1, 2))
        else:
            result.flatten(2).baddbmm_(channels, positions)
        return result, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, record: _Record) -> Tensor:
        ctx.record, ctx.read, ctx.count = record, record.next_read(), x.shape[2] * x.shape[3]
        return mean_positions(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:  # noqa: ANN401
        ctx.record.terms[ctx.read] = (gradient / ctx.count, None)
        return None, None


class _DotChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, vector: Tensor, record: _Record) -> Tensor:
        ctx.record, ctx.read = record, record.next_read()
        ctx.save_for_backward(x, vector)
        return _dot_channels(x, vector)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:  # noqa: ANN401
        x, vector = ctx.saved_tensors
        ctx.record.terms[ctx.read] = (vector, gradient)
        return None, _dot_positions(x, gradient), None


class _DotPositions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weights: Tensor, record: _Record) -> Tensor:
        ctx.record, ctx.read = record, record.next_read()
        ctx.save_for_backward(x, weights)
        return _dot_positions(x, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:  # noqa: ANN401
        x, weights = ctx.saved_tensors
        ctx.record.terms[ctx.read] = (gradient, weights)
        return None, _dot_channels(x, gradient), None


class _Gate(torch.autograd.Function):
    """Gates x. Its gradient for x is handed on as it comes in; `_Hand` applies the gates while assembling."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, channel: Tensor | None, spatial: Tensor | None, added: bool, record: _Record
    ) -> Tensor:
        # Detached: with their graph the record would keep itself, and every map of the step, alive.
        record.channel, record.spatial = (g if g is None else g.detach() for g in (channel, spatial))
        record.added = added
        ctx.added = added
        ctx.save_for_backward(x, channel, spatial)
        return _gate(x, channel, spatial, added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, channel, spatial = ctx.saved_tensors
        gradient = like_format(gradient, x)
        product = (gradient * x).flatten(2)  # (B, C, N)
        for_channel = for_spatial = None
        if channel is not None:
            plain = spatial is None or ctx.added
            for_channel = sum_positions(product) if plain else _dot_positions(product.unsqueeze(3), spatial)
        if spatial is not None:
            plain = channel is None or ctx.added
            for_spatial = sum_channels(product) if plain else _dot_channels(product.unsqueeze(3), channel)
        return gradient, for_channel, for_spatial, None, None
