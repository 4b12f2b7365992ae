"""Coordinate attention: gates along the rows and along the columns from directional means.

Hou, Zhou, Feng 2021, "Coordinate Attention for Efficient Mobile Network Design", arXiv:2103.02907.
Same values as the widely used release and as the authors' code. Deviation: the directional means are plain means;
adaptive pooling is not deterministic on CUDA and exports to ONNX wrongly for dynamic sizes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.base import OUT_CHANNELS, Attention, BatchNorm2d, check_integer, zero
from models.attention.reductions import mean_height, mean_width, sum_height, sum_width
from models.attention.registry import register
from models.attention.tensors import like_format
from models.tensor_traits import is_traced, records_graph


@register("CoordAtt")
class CoordAtt(Attention):
    """x * a_h * a_w, with a_h (B, C, H, 1) and a_w (B, C, 1, W).

    y = hardswish(BN(conv1(means over W and over H))), split into its H and its W part; a_h = s(conv_h(y_h)),
    a_w = s(conv_w(y_w)), s the sigmoid. The hidden width is max(8, channels // reduction).

    Identity start: conv_h and conv_w are zero and both gates are 2 s(z), so each is exactly 1; the factor 2 touches
    the gates only. conv_h and conv_w learn from the first step, what lies before them from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the hidden width.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Coordinate Attention for Efficient Mobile Network Design, arXiv:2103.02907"
    YEAR = 2021
    GATES = ("row", "column")
    POSITIONAL = (OUT_CHANNELS, "reduction")

    def __init__(self, channels: int, *, reduction: int = 32, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("reduction", reduction)
        hidden = max(8, channels // reduction)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)
        if self.identity:
            zero(self.conv_h, self.conv_w)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        if not records_graph():
            row, column = self._gates_of(mean_width(x), mean_height(x), x.dtype)
            y = x * like_format(column, x)
            return y * row if is_traced() else y.mul_(like_format(row, x))
        gates: list[Tensor] = []
        x, means_w, means_h = _Means.apply(x, gates)
        row, column = self._gates_of(means_w, means_h, x.dtype)
        return _Gate.apply(x, row, column, gates)

    def _gates_of(self, means_w: Tensor, means_h: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Means (B, C, H, 1) and (B, C, 1, W) to gates of the same shapes."""
        height, width = means_w.shape[2], means_h.shape[3]
        means = torch.cat([means_w, means_h.transpose(2, 3)], 2)  # (B, C, H + W, 1)
        hidden = F.hardswish(self.bn1(self.conv1(means)))
        hidden_h, hidden_w = hidden.split([height, width], 2)
        row = self.conv_h(hidden_h).sigmoid()  # (B, C, H, 1)
        column = self.conv_w(hidden_w.transpose(2, 3)).sigmoid()  # (B, C, 1, W)
        if self.identity:
            row, column = 2 * row, 2 * column
        self._report(row=row, column=column)
        return row.to(dtype), column.to(dtype)


# The gradient for x is one expression, gradient * row * column + (gradient of the means). Autograd would form it in
# five full-size tensors; here the gate hands the incoming gradient on as it is and the means, whose backward runs last,
# apply the gates and add their own share in three passes over one tensor.


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
