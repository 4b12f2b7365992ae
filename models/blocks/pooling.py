"""YOLOv5's pooling blocks: SPP, its faster equal SPPF, and C3 around SPP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolutions import C3, Conv


class SPP(nn.Module):
    """Spatial pyramid pooling: max pools of several sizes side by side (He et al. 2014, arXiv:1406.4729)."""

    def __init__(self, c1: int, c2: int, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden * (len(k) + 1), c2, 1, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in k)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class SPPF(nn.Module):
    """SPP with pools of k, 2k-1 and 3k-2, computed as one pool applied one, two and three times."""

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden * 4, c2, 1, 1)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        maps = [self.cv1(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], self.k, stride=1, padding=self.k // 2))
        return self.cv2(torch.cat(maps, 1))


class C3SPP(C3):
    """C3 with one SPP layer in place of the bottlenecks."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Sequence[int] = (5, 9, 13),
        n: int = 1,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
    ) -> None:
        self.pool_sizes = tuple(k)  # read by `inner`, which the base class calls
        super().__init__(c1, c2, n, shortcut, g, e)

    def inner(self, hidden: int, n: int, shortcut: bool, g: int, attention: None) -> nn.Module:
        """One SPP layer, whatever `n`."""
        return SPP(hidden, hidden, self.pool_sizes)
