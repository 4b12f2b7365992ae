"""Joins that weigh the maps they read: BiFPN's fast normalised fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.blocks.concatenation import concatenate


class _Fusion(nn.Module):
    """One weight a map, w_i = relu(w_i) / (sum of relu(w) + 1e-4) (Tan et al. 2019, arXiv:1911.09070, section 3.3)."""

    w: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(count))

    def weighted(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps, each times its weight."""
        w = self.w.relu()
        w = (w / (w.sum() + 1e-4)).to(maps[0].dtype)
        return [x * w[i] for i, x in enumerate(maps)]


class BiFPNConcat(_Fusion):
    """Concatenation of several maps of one size, each weighted; the weights begin equal.

    Args:
        c1: Channels of each map.
        dimension: 1, the channels; forks write it.
    """

    def __init__(self, c1: Sequence[int], dimension: int = 1) -> None:
        super().__init__(len(c1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, Ci, H, W), …] -> (B, sum of Ci, H, W)."""
        return concatenate(self.weighted(maps))


class BiFPNAdd(_Fusion):
    """Weighted sum of maps of one size and as many channels, SiLU, then a 1x1 convolution with bias.

    Args:
        c1: Channels of each map, all the same.
        c2: Output channels.
    """

    def __init__(self, c1: Sequence[int], c2: int) -> None:
        super().__init__(len(_equal(c1)))
        self.conv = nn.Conv2d(c1[0], c2, 1)
        self.silu = nn.SiLU()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C, H, W), …] -> (B, c2, H, W)."""
        return self.conv(self.silu(torch.stack(self.weighted(maps)).sum(0)))


def _equal(channels: Sequence[int]) -> Sequence[int]:
    if isinstance(channels, int) or len(channels) < 2:
        raise ValueError("Expected at least two rows to read but got one; write from as a list, e.g. [-1, 6]")
    if len(set(channels)) > 1:
        raise ValueError(f"Expected maps of as many channels, to add them, but got {list(channels)}")
    return channels
