"""Gates along the rows and along the columns of a map, from its means along both.

The gradient for x is one expression, gradient * row * column + (gradient of the means). Autograd would form it in five
full-size tensors; here the gate hands the incoming gradient on as it is and the means, whose backward runs last, apply
the gates and add their own share in three passes over one tensor. Gradients of gradients are not available.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.reductions import mean_height, mean_width, sum_height, sum_width
from models.attention.parts.tensors import like_format
from models.blocks.tensor_traits import is_traced, records_graph


def gate_strips(x: Tensor, gates_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """X * row * column.

    Args:
        x: The map (B, C, H, W).
        gates_of: Gives row (B, C, H, 1) and column (B, C, 1, W) for the means of x over W and over H, of those shapes.

    Returns:
        (B, C, H, W) in the dtype and memory format of x.
    """
    if not records_graph():
        row, column = (gate.to(x.dtype) for gate in gates_of(mean_width(x), mean_height(x)))
        y = x * like_format(column, x)
        return y * row if is_traced() else y.mul_(like_format(row, x))
    gates: list[Tensor] = []
    x, means_w, means_h = _Means.apply(x, gates)
    row, column = (gate.to(x.dtype) for gate in gates_of(means_w, means_h))
    return _Gate.apply(x, row, column, gates)


class _Means(torch.autograd.Function):
    """Hands out x and its means along the rows and the columns."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gates: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        ctx.gates = gates
        return x.view_as(x), mean_width(x), mean_height(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, for_rows: Tensor, for_columns: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        row, column = ctx.gates
        height, width = gradient.shape[2:]
        result = gradient * column
        torch.addcmul(like_format(for_rows / width, gradient), result, row, out=result)
        return result.add_(like_format(for_columns / height, gradient)), None


class _Gate(torch.autograd.Function):
    """X * column * row; its gradient for x is handed on without the gates, which `_Means` applies."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, row: Tensor, column: Tensor, gates: list[Tensor]) -> Tensor:
        row, column = like_format(row, x), like_format(column, x)  # a mixed product is up to eight times slower
        gates[:] = row.detach(), column.detach()  # with their graph the list would keep itself alive
        ctx.save_for_backward(x, row, column)
        return torch.mul(x, column).mul_(row)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN401
        x, row, column = ctx.saved_tensors
        gradient = like_format(gradient, x)
        product = gradient * x
        for_row = sum_width(product * column)
        return gradient, for_row, sum_height(product.mul_(row)), None
