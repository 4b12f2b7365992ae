"""Attention of every position to every position, without a map of N x N numbers where that would be large.

On the CPU each image and head is worked off in blocks of queries, so that its weights stay in the cache. Where they are
few in all, they are kept for the backward pass; else that forms each block's weights again. On other devices torch's
fused kernel does the same. The softmax is in float32 (float64 stays), and no weight is a denormal number, which would
make matrix products on some CPUs many times slower.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import float32
from models.blocks.tensor_traits import is_traced

KEPT = 2**23  # largest number of weights (B * heads * N * N) that is kept for the backward pass
BLOCK = 2**20  # most weights in one block of queries
ROWS = 32  # queries in a block are a multiple of this: matrix products of a rest of rows are slower
LEAST_WEIGHT = 1e-30
NARROW = 16  # channels of a head


def attend(query: Tensor, key: Tensor, value: Tensor, *, wide_logits: bool = True) -> Tensor:
    """Softmax over j of q_i . k_j, times v_j: the result at i; unscaled.

    Args:
        query: (B, heads, N, d); all three of one dtype.
        key: (B, heads, N, d).
        value: (B, heads, N, e).
        wide_logits: Form q_i . k_j in float32 at least. Otherwise, on the CPU, in the dtype of q: bfloat16 is twice as
            fast and rounds each logit once more.

    Returns:
        (B, heads, N, e) in the dtype and memory order of value.
    """
    if is_traced():
        return (float32(query) @ float32(key).transpose(2, 3)).softmax(3).to(value.dtype) @ value
    if value.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    query, key = (t if t.dtype is torch.bfloat16 and not wide_logits else _positions_innermost(t) for t in (query, key))
    value = value if value.dtype is torch.bfloat16 else _positions_innermost(value)
    keep = torch.is_grad_enabled() and value.shape[:3].numel() * value.shape[2] <= KEPT
    return _Attend.apply(query, key, value, wide_logits, keep)


def _positions_innermost(x: Tensor) -> Tensor:
    """X (B, heads, N, d) in that order if d is small, where products in float32 are up to 2.5 times as fast so."""
    return x.transpose(2, 3).contiguous().transpose(2, 3) if x.shape[3] < NARROW else x


def prefers_blocks(x: Tensor, depth: int) -> bool:
    """Whether `attend` is faster than torch's fused kernel; benchmarks/attention/dropped_tricks.csv has the figures.

    Args:
        x: A map or tensor of what attends or is attended to.
        depth: Channels of a head.
    """
    if x.device.type != "cpu" or x.dtype is torch.float16 or is_traced():
        return False
    return x.dtype is torch.bfloat16 or not NARROW <= depth <= 64


def weights_of(query: Tensor, key: Tensor) -> Tensor:
    """Softmax over the keys, (B, n, N) for n queries, in float32."""
    return torch.bmm(float32(query), float32(key).transpose(1, 2)).softmax(2)


class _Attend(torch.autograd.Function):
    """Keeps the weights, or forms them again in the backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, wide: bool, keep: bool) -> Tensor:
        output = torch.empty_like(value)
        kept = value.new_empty(*value.shape[:3], value.shape[2]) if keep else None
        for at, rows, weights in _Blocks(query, key, value.dtype, wide).weights(kept):
            torch.mm(weights, value[at], out=output[at][rows])
        ctx.wide = wide
        ctx.save_for_backward(query, key, value, output, kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # noqa: ANN401
        query, key, value, output, kept = ctx.saved_tensors
        blocks = _Blocks(query, key, value.dtype, ctx.wide)
        offsets = (float32(gradient) * output).sum(3, keepdim=True)  # sum over j of weight_ij * (its gradient)
        # Two more channels subtract the offset, as the sum of two numbers in the dtype of value, inside the product.
        high = offsets.to(value.dtype)
        gradient_and_offset = torch.cat([gradient, -high, (high - offsets).to(value.dtype)], 3)
        value_and_ones = F.pad(value, (0, 2), value=1.0)
        for_query = torch.empty_like(query)
        for_key, for_value = (_Total(t, blocks.single) for t in (key, value))
        product = blocks.buffer(value.dtype)
        for at, rows, weights in blocks.weights() if kept is None else blocks.stored(kept):
            for_energy = product[: len(weights)]
            torch.mm(gradient_and_offset[at][rows], value_and_ones[at].t(), out=for_energy).mul_(weights)
            torch.mm(for_energy, key[at], out=for_query[at][rows])
            for_key.add(at, for_energy.t(), query[at][rows])
            for_value.add(at, weights.t(), gradient[at][rows])
        return for_query, for_key.of(key.dtype), for_value.of(value.dtype), None, None


class _Blocks:
    """The weights of all queries, block by block, in memory that every block uses again.

    Memory that is touched for the first time would cost as much as the work done in it.
    """

    def __init__(self, query: Tensor, key: Tensor, low: torch.dtype, wide: bool) -> None:
        self.query, self.key = (float32(query), float32(key)) if wide else (query, key)
        self.low, self.count = low, query.shape[2]
        self.size = min(self.count, max(ROWS, BLOCK // self.count // ROWS * ROWS))
        self.single = self.size == self.count

    def buffer(self, dtype: torch.dtype) -> Tensor:
        """Room for one block."""
        return torch.empty(self.size, self.count, dtype=dtype)

    def places(self) -> Iterator[tuple[tuple[int, int], slice]]:
        """Image and head, and slice of the queries."""
        for at in itertools.product(range(len(self.query)), range(self.query.shape[1])):
            for start in range(0, self.count, self.size):
                yield at, slice(start, min(start + self.size, self.count))

    def weights(self, kept: Tensor | None = None) -> Iterator[tuple[tuple[int, int], slice, Tensor]]:
        """The places with their weights (rows, N), which are also written to kept (B, heads, N, N)."""
        energy = self.buffer(self.query.dtype)
        wide = self.buffer(float32(energy[:0]).dtype)
        low = wide if self.low is wide.dtype else self.buffer(self.low)
        for at, rows in self.places():
            part = slice(0, rows.stop - rows.start)
            torch.mm(self.query[at][rows], self.key[at].t(), out=energy[part])
            chosen = low[part] if kept is None else kept[at][rows]
            # Products of lower precision skip denormal numbers. A softmax of theirs is taken in float32 inside.
            if energy.dtype is not wide.dtype:
                torch.softmax(energy[part], 1, out=chosen)
            elif chosen.dtype is not wide.dtype:
                chosen.copy_(torch.softmax(energy[part], 1, out=wide[part]))
            else:
                torch.clamp_min(torch.softmax(energy[part], 1, out=wide[part]), LEAST_WEIGHT, out=chosen)
            yield at, rows, chosen

    def stored(self, kept: Tensor) -> Iterator[tuple[tuple[int, int], slice, Tensor]]:
        """The places with the weights that were kept."""
        for at, rows in self.places():
            yield at, rows, kept[at][rows]


class _Total:
    """A sum over the blocks, in float32 at least where there are several."""

    def __init__(self, like: Tensor, single: bool) -> None:
        self.single = single
        self.total = torch.empty_like(like) if single else torch.zeros_like(like, dtype=float32(like[:0]).dtype)

    def add(self, at: tuple[int, int], a: Tensor, b: Tensor) -> None:
        """Add a @ b to the matrix of an image and head."""
        total = self.total[at]
        if self.single:
            torch.mm(a, b, out=total)
        elif total.dtype is a.dtype:
            total.addmm_(a, b)
        else:
            total.add_(torch.mm(a, b))

    def of(self, dtype: torch.dtype) -> Tensor:
        """The sum in the dtype."""
        return self.total.to(dtype)
