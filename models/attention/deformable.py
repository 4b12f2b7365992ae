"""Deformable attention (DAT): attention to positions that the map itself displaces from a regular grid.

Xia et al. 2022, "Vision Transformer with Deformable Attention", arXiv:2201.00520.
Same values as the widely used release, in which the undisplaced sample of position i lies at i + 0.5 and samples
outside the map are zero. Deviations: a map of height or width 1, where the release divides by zero, has one place along
that axis whatever the offset; positions are computed and sampled in float32. Not offered: strides, and tables without
interpolation. On CUDA the backward of the sampling (grid_sample) is not deterministic; torch refuses it when told to
use deterministic algorithms only.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_divisible, check_flag, check_integer, check_odd, float32, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import attend, check_number, from_tokens, like_format, outside_autocast, split_heads


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@register("DAttention")
class DAttention(Attention):
    """proj_out(sum over n of softmax_n(q_i . k_n / sqrt(d)) v_n + rpe(q_i)) per head, k and v from displaced samples.

    Each of `groups` parts of q gives, by a depthwise convolution, layer normalisation, GELU and a 1x1 convolution, an
    offset per position: its tanh times offset_range_factor / 2 positions. The map's channels are sampled there, by
    group, and projected to k and v. rpe is a depthwise 3x3 convolution; without it and with a `q_size`, a learned table
    of biases by relative position is added to the logits instead. As released, the input is not added.

    Identity start: proj_out is zero and the input is added (one addition). proj_out learns from the first step, the
    others from the second.

    Args:
        channels: Number of channels C, a multiple of `heads` and of `groups`.
        q_size: Height and width of the map for which the table of biases is made; the table is stretched to other maps.
            Rows of forks always give it; with `dwc_pe` nothing depends on it.
        heads: Number of heads.
        groups: Groups with offsets of their own.
        kernel_size: Odd size of the depthwise convolution behind the offsets.
        offset_range_factor: Largest offset, in half positions.
        dwc_pe: Add the depthwise position term rpe.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Vision Transformer with Deformable Attention, arXiv:2201.00520"
    YEAR = 2022
    GATES = ("affinity",)
    POSITIONAL = ("q_size", "heads", "groups")
    INERT = ("proj_k.bias",)

    def __init__(
        self,
        channels: int,
        *,
        q_size: Sequence[int] | None = None,
        heads: int = 8,
        groups: int = 4,
        kernel_size: int = 3,
        offset_range_factor: float = 4,
        dwc_pe: bool = True,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_integer("heads", heads)
        check_integer("groups", groups)
        check_odd("kernel_size", kernel_size)
        check_number("offset_range_factor", offset_range_factor)
        check_flag("dwc_pe", dwc_pe)
        check_divisible(channels, math.lcm(heads, groups), "heads and groups")
        self.heads, self.groups, self.offset_range_factor = heads, groups, offset_range_factor
        width = channels // groups
        self.conv_offset = nn.Sequential(
            nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width),
            ChannelNorm(width),
            nn.GELU(),
            nn.Conv2d(width, 2, 1, bias=False),
        )
        self.proj_q = nn.Conv2d(channels, channels, 1)
        self.proj_k = nn.Conv2d(channels, channels, 1)
        self.proj_v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.rpe_table = self._position_term(_size(q_size), dwc_pe)
        if self.identity:
            zero(self.proj_out)

    def _position_term(self, q_size: tuple[int, int] | None, depthwise: bool) -> nn.Module | nn.Parameter | None:
        if depthwise:
            return nn.Conv2d(self.channels, self.channels, 3, padding=1, groups=self.channels)
        if q_size is None:
            return None
        check_divisible(self.heads, self.groups, "groups")
        table = torch.zeros(self.heads, 2 * q_size[0] - 1, 2 * q_size[1] - 1)
        return nn.Parameter(nn.init.trunc_normal_(table, std=0.01))

    def forward(self, x: Tensor) -> Tensor:
        """Attend to displaced positions of a map (B, C, H, W)."""
        height, width = x.shape[2:]
        query = self.proj_q(x)
        grid = self._grid(query)  # (BG, H, W, 2): column, row in -1..1
        sampled = self._sample(x, grid)
        bias = self._table_bias(grid) if isinstance(self.rpe_table, nn.Parameter) else None
        parts = (query, self.proj_k(sampled), self.proj_v(sampled))
        q, k, v = (split_heads(part, self.heads, masked=bias is not None) for part in parts)
        scale = q.shape[3] ** -0.5
        self._report(affinity=lambda: self._affinity(q, k, bias, grid))
        output = from_tokens(attend(q, k, v, scale=scale, mask=bias), height, width).to(query.dtype)
        if isinstance(self.rpe_table, nn.Module):
            output = output + self.rpe_table(query)
        output = self.proj_out(output).to(x.dtype)
        return like_format(x + output if self.identity else output, x)

    def _grid(self, query: Tensor) -> Tensor:
        batch, channels, height, width = query.shape
        part = query.reshape(batch * self.groups, channels // self.groups, height, width)
        offset = float32(self.conv_offset(part)).tanh() * self.offset_range_factor  # (BG, 2, H, W): row, column
        row = 2 * torch.arange(height, device=query.device, dtype=offset.dtype)[:, None] + 1 + offset[:, 0]
        column = 2 * torch.arange(width, device=query.device, dtype=offset.dtype) + 1 + offset[:, 1]
        return torch.stack([column / _last(width, offset) - 1, row / _last(height, offset) - 1], 3)

    def _sample(self, x: Tensor, grid: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        part = float32(x).reshape(batch * self.groups, channels // self.groups, height, width)
        with outside_autocast(x):
            sampled = F.grid_sample(part, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return sampled.reshape(x.shape).to(x.dtype)

    def _table_bias(self, grid: Tensor) -> Tensor:
        """Biases of the logits, (B, heads, HW, HW)."""
        merged, height, width, _ = grid.shape
        row = 2 * torch.arange(height, device=grid.device, dtype=grid.dtype) / _last(height, grid) - 1
        column = 2 * torch.arange(width, device=grid.device, dtype=grid.dtype) / _last(width, grid) - 1
        asked = torch.stack([column.expand(height, -1), row[:, None].expand(-1, width)], 2).reshape(1, -1, 1, 2)
        apart = (asked - grid.reshape(merged, 1, height * width, 2)) / 2
        table = self.rpe_table.to(grid.dtype).unflatten(0, (self.groups, -1))
        table = table.repeat(merged // self.groups, 1, 1, 1)  # (BG, heads / G, 2Hq-1, 2Wq-1)
        with outside_autocast(grid):
            bias = F.grid_sample(table, apart, mode="bilinear", padding_mode="zeros", align_corners=True)
        return bias.reshape(merged // self.groups, self.heads, height * width, height * width)

    def _affinity(self, query: Tensor, key: Tensor, bias: Tensor | None, grid: Tensor) -> Tensor:
        """Weights of the samples, each put down at the position next to it; samples outside the map are dropped."""
        height, width = grid.shape[1:3]
        row, column = self._query_position(height, width)
        place = row * width + column
        logits = float32(query[:, :, place, None]) @ float32(key).transpose(2, 3) * query.shape[3] ** -0.5
        share = (logits if bias is None else logits + bias[:, :, place, None]).softmax(3)  # (B, heads, 1, HW)
        share = share.mean(1).expand(-1, self.groups, -1) / self.groups  # heads attend to samples of every group
        at_x = ((grid[..., 0] + 1) / 2 * (width - 1)).round()
        at_y = ((grid[..., 1] + 1) / 2 * (height - 1)).round()
        inside = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
        index = torch.where(inside, at_y * width + at_x, 0).long().reshape(len(query), -1)
        weight = (share * inside.reshape(share.shape)).reshape(index.shape)
        return torch.zeros_like(share[:, 0]).scatter_add(1, index, weight).reshape(-1, 1, height, width)


def _last(length: int, like: Tensor) -> Tensor:
    """Length - 1, at least 1, as a tensor."""
    return torch.full((), length - 1, dtype=like.dtype, device=like.device).clamp(min=1)


def _size(q_size: Sequence[int] | None) -> tuple[int, int] | None:
    if q_size is None:
        return None
    if not isinstance(q_size, Sequence) or isinstance(q_size, str) or len(q_size) != 2:
        raise ValueError(f"Expected `q_size` to be [height, width] but got {q_size!r}")
    for value in q_size:
        check_integer("q_size", value)
    return q_size[0], q_size[1]
