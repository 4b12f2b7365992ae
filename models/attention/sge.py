"""SGE: per group of channels, a spatial gate from the likeness of each position to the group's mean.

Li, Hu, Yang 2019, "Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
arXiv:1905.09646. As the widely used release (bias starts at 0; the authors' starts at 1). Deviation: on a map of one
position the normalised likeness is 0, where the release returns NaN.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, at_least, check_divisible, check_integer, float32
from models.attention.parts.reductions import mean_positions
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format, outside_autocast
from models.blocks.tensor_traits import is_channels_last, is_traced, records_graph

EPS = 1e-5


@register("SpatialGroupEnhance")
class SpatialGroupEnhance(Attention):
    """x * s(w_g t + b_g): t is the dot product of each position with its group's mean, normalised over positions.

    t = (d - mean(d)) / (std(d) + 1e-5), d = sum over the group's channels of x * mean(x), std with N - 1.

    Identity start: w and b are zero and the gate is 2 s(z), so it is exactly 1; the factor touches the (B, G, H, W)
    gate only. Both parameters learn from the first step.

    Args:
        channels: Number of channels C, a multiple of groups.
        groups: Number of groups G.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range, or groups does not divide the channels.
    """

    PAPER = "Spatial Group-wise Enhance, arXiv:1905.09646"
    YEAR = 2019
    GATES = ("full",)
    POSITIONAL = ("groups",)

    def __init__(self, channels: int, *, groups: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_integer("groups", groups)
        check_divisible(channels, groups, "groups")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        with outside_autocast(x):
            if not records_graph():
                gate = self._gate(_likeness(x, mean_positions(x), self.groups), x)
                return _apply(x, gate)
            gates: list[Tensor] = []
            shared, likeness = _Likeness.apply(x, self.groups, gates)
            return _Gate.apply(shared, self._gate(likeness, x), gates)

    def _gate(self, likeness: Tensor, x: Tensor) -> Tensor:
        """Likeness (B, G, N) to the gate of the same shape, in the dtype of x."""
        deviation = float32(likeness)
        deviation = deviation - deviation.mean(2, keepdim=True)
        degrees = at_least(x.shape[2] * x.shape[3] - 1, 1)
        spread = torch.linalg.vector_norm(deviation, dim=2, keepdim=True) / degrees**0.5
        weight, bias = self.weight.flatten(2), self.bias.flatten(2)
        gate = torch.addcmul(bias, deviation, weight / (spread + EPS)).sigmoid().to(x.dtype)
        if self.identity:
            gate = 2 * gate
        self._report(full=lambda: gate.repeat_interleave(self.channels // self.groups, 1).view(x.shape))
        return gate


# In the layout with the channels innermost, a group is a run of a few channels at each position. Broadcasting over
# such short runs is slow; products with block-diagonal matrices are not.


def _likeness(x: Tensor, mean: Tensor, groups: int) -> Tensor:
    """Product of each position of (B, C, H, W) with (B, C), summed by group: (B, G, N); float16: in float32."""
    mean = mean.unflatten(1, (groups, -1))  # (B, G, C/G)
    if x.dtype is torch.float16:
        # With weights that sum to at most one the product stays within the range of x.
        size = mean.float().abs().sum(2, keepdim=True).clamp_min(1e-30)
        return _group_dot(x, (mean / size).to(x.dtype)).float() * size
    return _group_dot(x, mean)


def _group_dot(x: Tensor, vector: Tensor) -> Tensor:
    """(B, C, H, W) and (B, G, C/G) to (B, G, N)."""
    if is_channels_last(x) and not is_traced():
        return torch.bmm(_blocks(vector), x.flatten(2))
    return (vector.unsqueeze(2) @ x.flatten(2).unflatten(1, vector.shape[1:])).squeeze(2)


def _blocks(vector: Tensor) -> Tensor:
    """(B, G, C/G) to (B, G, C) with the group's own channels in each row and zeros elsewhere."""
    own = torch.eye(vector.shape[1], dtype=vector.dtype, device=vector.device)
    return (own.unsqueeze(2) * vector.unsqueeze(1)).flatten(2)


def _group_dot_positions(x: Tensor, weights: Tensor) -> Tensor:
    """Positions of (B, C, H, W) weighted by (B, G, N) and summed: (B, C)."""
    groups = weights.shape[1]
    if is_channels_last(x):
        every = torch.bmm(weights, x.flatten(2).transpose(1, 2))  # (B, G, C)
        return every.unflatten(2, (groups, -1)).diagonal(dim1=1, dim2=2).transpose(1, 2).flatten(1)
    return (weights.unsqueeze(2) @ x.flatten(2).unflatten(1, (groups, -1)).transpose(2, 3)).flatten(1)


def _group_sum(x: Tensor, groups: int) -> Tensor:
    """Channels of (B, C, H, W) summed within the groups: (B, G, N)."""
    batch, channels, height, width = x.shape
    size = channels // groups
    if is_channels_last(x):
        total = x.permute(0, 2, 3, 1).reshape(-1, size) @ x.new_ones(size, 1)
        return total.view(batch, height * width, groups).transpose(1, 2)
    return x.view(batch, groups, size, -1).sum(2)


def _spread(gate: Tensor, x: Tensor) -> Tensor:
    """(B, G, N) to (B, C, H, W) in the channels_last format of x."""
    batch, groups, _ = gate.shape
    each = torch.eye(groups, dtype=gate.dtype, device=gate.device).repeat_interleave(x.shape[1] // groups, 1)
    full = torch.bmm(gate.transpose(1, 2), each.expand(batch, -1, -1))  # (B, N, C)
    return full.view(batch, *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


def _apply(x: Tensor, gate: Tensor) -> Tensor:
    """X times a gate (B, G, N)."""
    if is_channels_last(x) and not is_traced():
        return _spread(gate, x).mul_(x)
    grouped = x.unflatten(1, (gate.shape[1], -1))  # (B, G, C/G, H, W)
    return (grouped * gate.unflatten(2, x.shape[2:]).unsqueeze(2)).reshape(x.shape)


class _Likeness(torch.autograd.Function):
    """Hands out x and its likeness to the means; its backward, the last to run, assembles the gradient for x."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, groups: int, gates: list[Tensor]) -> tuple[Tensor, Tensor]:
        ctx.groups, ctx.gates = groups, gates
        mean = mean_positions(x)
        ctx.save_for_backward(x, mean)
        return x.view_as(x), _likeness(x, mean, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, for_likeness: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        x, mean = ctx.saved_tensors
        (gate,) = ctx.gates
        batch, channels, height, width = x.shape
        for_likeness = for_likeness.to(x.dtype)
        constant = _group_dot_positions(x, for_likeness) / (height * width)  # (B, C), by way of the means
        if not is_channels_last(gradient):
            channel = (batch, ctx.groups, channels // ctx.groups, 1)
            grouped = gradient.view(*channel[:3], height * width)
            result = torch.addcmul(constant.view(channel), grouped, gate.unsqueeze(2))
            return result.addcmul_(mean.view(channel), for_likeness.unsqueeze(2)).view(x.shape), None, None
        result = _spread(gate, x).mul_(gradient)
        vectors = torch.cat([_blocks(mean.view(batch, ctx.groups, -1)), constant.unsqueeze(1)], 1)  # (B, G + 1, C)
        positions = torch.cat([for_likeness, torch.ones_like(for_likeness[:, :1])], 1)  # (B, G + 1, N)
        result.permute(0, 2, 3, 1).flatten(1, 2).baddbmm_(positions.transpose(1, 2), vectors)
        return result, None, None


class _Gate(torch.autograd.Function):
    """X times the gate; its gradient for x is handed on without the gate, which `_Likeness` applies."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gate: Tensor, gates: list[Tensor]) -> Tensor:
        gates[:] = (gate.detach(),)  # with its graph the list would keep itself alive
        ctx.groups = gate.shape[1]
        ctx.save_for_backward(x)
        return _apply(x, gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        gradient = like_format(gradient, x)
        return gradient, _group_sum(like_format(gradient * x, x), ctx.groups), None
