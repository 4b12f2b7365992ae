"""Slim-neck by GSConv (Li et al. 2022, arXiv:2206.02424). Parameter names are those of its release.

Deviation: the release's VoVGSCSP holds a convolution `res` that its forward pass never uses; it is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks.concatenation import concatenate
from models.blocks.convolutions import Conv, Kernel


class GSConv(nn.Module):
    """Half of the output by a convolution, the other half from it by a depthwise 5x5; even channels first, then odd."""

    def __init__(
        self, c1: int, c2: int, k: Kernel = 1, s: Kernel = 1, g: int = 1, act: bool | nn.Module = True
    ) -> None:
        super().__init__()
        if c2 % 2:
            raise ValueError(f"Expected an even number of output channels but got {c2}; try {c2 + 1}")
        hidden = c2 // 2
        self.cv1 = Conv(c1, hidden, k, s, None, g, act=act)
        self.cv2 = Conv(hidden, hidden, 5, 1, None, hidden, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        y = self.cv1(x)
        both = torch.cat((y, self.cv2(y)), 1)
        return torch.cat((both[:, ::2], both[:, 1::2]), 1)


class GSBottleneck(nn.Module):
    """Two GSConvs, and a 1x1 convolution beside them."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.conv_lighting = nn.Sequential(GSConv(c1, hidden, 1, 1), GSConv(hidden, c2, k, s, act=False))
        self.shortcut = Conv(c1, c2, 1, s, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        return self.conv_lighting(x) + self.shortcut(x)


class VoVGSCSP(nn.Module):
    """Cross-stage partial stage of GSConv bottlenecks; as released, `shortcut` and `g` have no effect."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.gsb = nn.Sequential(*(GSBottleneck(hidden, hidden, e=1.0) for _ in range(n)))
        self.cv3 = Conv(2 * hidden, c2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        return self.cv3(concatenate((self.cv2(x), self.gsb(self.cv1(x)))))
