"""Blocks that change a map's size without striding over it: space to depth, and content-aware upsampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolutions import Conv


class SpaceToDepth(nn.Module):
    """Each 2x2 cell becomes four times the channels (SPD-Conv, Sunkara and Luo 2022, arXiv:2208.03641).

    A convolution of stride 1 behind it takes the place of a strided one, so that no pixel is skipped.

    Args:
        dimension: 1, the channels; forks write it.
    """

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4C, H/2, W/2); cells in the order top left, bottom left, top right, bottom right."""
        return torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1)


class CARAFE(nn.Module):
    """Upsampling whose kernels are predicted from the map (Wang et al. 2019, arXiv:1905.02188).

    Output position (s*i + a, s*j + b) is the sum over the k x k neighbours of (i, j), each times its weight there: a
    softmax over the neighbours of `encoder(down(x))`. Outside the map there are zeros. A 1x1 convolution follows where
    the channels change.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Side of the neighbourhood, odd.
        scale: Factor on height and width.
        k_encoder: Kernel of the convolution that predicts the weights, odd.
        hidden: Channels that it reads.
    """

    def __init__(self, c1: int, c2: int, k: int = 5, scale: int = 2, k_encoder: int = 3, hidden: int = 64) -> None:
        super().__init__()
        for name, size in (("k", k), ("k_encoder", k_encoder)):
            if size % 2 == 0:
                raise ValueError(f"Expected `{name}` to be odd but got {size}; try {size + 1}")
        self.k, self.scale = k, scale
        self.down = Conv(c1, hidden)
        self.encoder = Conv(hidden, (scale * k) ** 2, k_encoder, act=False)
        self.out = nn.Conv2d(c1, c2, 1) if c1 != c2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, scale*H, scale*W)."""
        b, c, h, w = x.shape
        logits = self.encoder(self.down(x)).reshape(b, self.k**2, self.scale**2, h, w)
        weight = logits.softmax(1).to(x.dtype)
        padded = F.pad(x, (self.k // 2,) * 4)
        output: Tensor | None = None
        for i in range(self.k**2):
            row, column = divmod(i, self.k)
            term = padded[:, :, None, row : row + h, column : column + w] * weight[:, None, i]  # (B, C, scale², H, W)
            output = term if output is None else output + term
        assert output is not None  # k is at least 1
        return self.out(F.pixel_shuffle(output.reshape(b, c * self.scale**2, h, w), self.scale))
