"""Attention of every position to every position, without a map of N x N numbers where that would be large.

Small maps keep their weights for the backward pass. Larger ones are worked off in blocks of queries, and the backward
pass forms each block's weights again; at 80 x 80 that is also the faster way, as the N x N numbers never leave the
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
from models.attention.reductions import is_traced

KEPT = 2**25  # largest number of weights (B * N * N) that is kept for the backward pass
BLOCK = 2**21  # weights in one block of queries
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


def _bounded_weights(query: Tensor, key: Tensor) -> Tensor:
    """`weights_of` without denormal numbers."""
    return weights_of(query, key).clamp_min_(LEAST_WEIGHT)


def _blocks(batch: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of queries: all at once, or a block of one image's queries at a time."""
    if batch * count * count <= KEPT:
        yield slice(0, batch), slice(0, count)
        return
    size = max(32, BLOCK // count)
    for image in range(batch):
        for start in range(0, count, size):
            yield slice(image, image + 1), slice(start, min(start + size, count))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(value)
        batch, count, _ = value.shape
        kept = None
        for images, rows in _blocks(batch, count):
            weights = _bounded_weights(query[images, rows], key[images]).to(value.dtype)
            if batch * count * count <= KEPT:
                kept = weights
            output[images, rows] = _product(weights, value[images])
        ctx.save_for_backward(query, key, value, output, kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        query, key, value, output, kept = ctx.saved_tensors
        batch, count, _ = value.shape
        offsets = (float32(gradient) * output).sum(2, keepdim=True)  # sum over j of weight_ij * (its gradient)
        wide = float32(value[:0]).dtype
        for_query = torch.empty_like(query)
        for_key, for_value = torch.zeros_like(key, dtype=wide), torch.zeros_like(value, dtype=wide)
        for images, rows in _blocks(batch, count):
            weights = _bounded_weights(query[images, rows], key[images]) if kept is None else kept
            row_gradient = gradient[images, rows]
            _accumulate(for_value[images], weights.to(value.dtype).transpose(1, 2), row_gradient)
            for_energy = float32(_product(row_gradient, value[images].transpose(1, 2)))
            for_energy = for_energy.sub_(offsets[images, rows]).mul_(weights).to(query.dtype)
            for_query[images, rows] = _product(for_energy, key[images])
            _accumulate(for_key[images], for_energy.transpose(1, 2), query[images, rows])
        return for_query, for_key.to(key.dtype), for_value.to(value.dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Batched matrix product; of a single pair by the faster plain one."""
    return torch.mm(a[0], b[0]).unsqueeze(0) if len(a) == 1 else torch.bmm(a, b)


def _accumulate(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b to total, which may be of higher precision."""
    if total.dtype is a.dtype and len(a) == 1:
        total[0].addmm_(a[0], b[0])
    else:
        total.add_(_product(a, b))
