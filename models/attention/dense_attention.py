"""Attention of every position to every position, without a map of N x N numbers where that would be large.

Small maps keep their weights for the backward pass. Larger ones are worked off in blocks of queries, and the backward
pass forms each block's weights again; from 40 x 40 on that is also the faster way, as the N x N numbers never leave the
cache. On other devices than the CPU torch's fused kernel does the same. Energies and softmax are in float32 (float64
stays), and no weight is a denormal number, which would make matrix products on some CPUs many times slower.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.base import float32
from models.tensor_traits import is_traced

KEPT = 2**21  # largest number of weights (B * N * N) that is kept for the backward pass
BLOCK = 2**20  # weights in one block of queries
LEAST_WEIGHT = 1e-30


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax over j of q_i . k_j, times v_j: the result at i; unscaled.

    Args:
        query: (B, N, d).
        key: (B, N, d).
        value: (B, N, C).

    Returns:
        (B, N, C) in the dtype of value.
    """
    if is_traced():
        return (float32(query) @ float32(key).transpose(1, 2)).softmax(2).to(value.dtype) @ value
    if value.device.type != "cpu":
        heads = (t.unsqueeze(1) for t in (query, key, value))
        return F.scaled_dot_product_attention(*heads, scale=1.0).squeeze(1)
    return _Attend.apply(query, key, value)


def weights_of(query: Tensor, key: Tensor) -> Tensor:
    """Softmax over the keys, (B, n, N) for n queries, in float32."""
    return _product(float32(query), float32(key).transpose(1, 2)).softmax(2)


def _bounded_weights(query: Tensor, key: Tensor, dtype: torch.dtype) -> Tensor:
    """`weights_of` in the dtype, without denormal numbers (which matrix products of lower precision skip anyway)."""
    weights = weights_of(query, key)
    return weights.clamp_min_(LEAST_WEIGHT) if weights.dtype is dtype else weights.to(dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Batched matrix product; of a single pair by the faster plain product."""
    return torch.mm(a[0], b[0]).unsqueeze(0) if len(a) == 1 else torch.bmm(a, b)


def _product_like(a: Tensor, b: Tensor) -> Tensor:
    """Batched matrix product, stored as b is."""
    if b.is_contiguous() or not b.transpose(1, 2).is_contiguous():
        return _product(a, b)
    return _product(b.transpose(1, 2), a.transpose(1, 2)).transpose(1, 2)


class _Attend(torch.autograd.Function):
    """Keeps the weights where they are few, and forms them again block by block where they are many."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, count, _ = value.shape
        kept = None
        if batch * count * count <= KEPT:
            kept = _bounded_weights(query, key, value.dtype)
            output = _product_like(kept, value)
        else:
            output = torch.empty_like(value)
            for image, rows, weights in _Blocks(query, key, value):
                output[image, rows] = torch.mm(weights, value[image])
        ctx.save_for_backward(query, key, value, output, kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        query, key, value, output, weights = ctx.saved_tensors
        offsets = (float32(gradient) * output).sum(2, keepdim=True)  # sum over j of weight_ij * (its gradient)
        if weights is None:
            return _backward_in_blocks(query, key, value, gradient, offsets)
        for_weights = float32(_product(gradient, value.transpose(1, 2)))
        for_energy = for_weights.sub_(offsets).to(weights.dtype).mul_(weights)
        for_key = _product_like(for_energy.transpose(1, 2), query)
        return _product_like(for_energy, key), for_key, _product_like(weights.transpose(1, 2), gradient)


class _Blocks:
    """The weights of all queries, block by block, in memory that every block uses again.

    Memory that is touched for the first time would cost as much as the work done in it.
    """

    def __init__(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        self.query, self.key, self.low = float32(query), float32(key), value.dtype
        self.batch, self.count, _ = value.shape
        self.size = min(self.count, max(32, BLOCK // self.count))

    def buffer(self, dtype: torch.dtype) -> Tensor:
        """Room for one block."""
        return torch.empty(self.size, self.count, dtype=dtype)

    def __iter__(self) -> Iterator[tuple[int, slice, Tensor]]:
        """Image, slice of its queries, and their weights (rows, N) in the dtype of value."""
        wide = self.query.dtype
        energy, weights = self.buffer(wide), self.buffer(wide)
        low = weights if self.low is wide else self.buffer(self.low)
        for image in range(self.batch):
            keys = self.key[image].t()
            for start in range(0, self.count, self.size):
                rows = slice(start, min(start + self.size, self.count))
                part = slice(0, rows.stop - start)
                torch.mm(self.query[image, rows], keys, out=energy[part])
                torch.softmax(energy[part], 1, out=weights[part])
                chosen = weights[part]
                yield image, rows, chosen.clamp_min_(LEAST_WEIGHT) if low is weights else low[part].copy_(chosen)


def _backward_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, gradient: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    blocks = _Blocks(query, key, value)
    wide, product = offsets.dtype, blocks.buffer(value.dtype)
    for_query = torch.empty_like(query)
    for_key, for_value = torch.zeros_like(key, dtype=wide), torch.zeros_like(value, dtype=wide)
    # Two more channels subtract the offset, as the sum of two numbers in the dtype of value, inside the matrix product.
    high = offsets.to(value.dtype)
    gradient_and_offset = torch.cat([gradient, -high, (high - offsets).to(value.dtype)], 2)
    value_and_ones = F.pad(value, (0, 2), value=1.0)
    for image, rows, weights in blocks:
        _accumulate(for_value[image], weights.t(), gradient[image, rows])
        for_energy = product[: len(weights)]
        torch.mm(gradient_and_offset[image, rows], value_and_ones[image].t(), out=for_energy).mul_(weights)
        for_query[image, rows] = torch.mm(for_energy, key[image])
        _accumulate(for_key[image], for_energy.t(), query[image, rows])
    return for_query, for_key.to(key.dtype), for_value.to(value.dtype)


def _accumulate(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b to total, which may be of higher precision."""
    if total.dtype is a.dtype:
        total.addmm_(a, b)
    else:
        total.add_(torch.mm(a, b))
