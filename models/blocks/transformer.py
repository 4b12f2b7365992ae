"""YOLOv5's transformer stage, C3TR (after Dosovitskiy et al. 2020, arXiv:2010.11929, without LayerNorm)."""

from __future__ import annotations

from torch import Tensor, nn

from models.blocks.convolutions import C3, Conv


class TransformerLayer(nn.Module):
    """Multi-head self-attention and a two-layer linear part, each with a shortcut."""

    def __init__(self, c: int, num_heads: int) -> None:
        super().__init__()
        self.q = nn.Linear(c, c, bias=False)
        self.k = nn.Linear(c, c, bias=False)
        self.v = nn.Linear(c, c, bias=False)
        self.ma = nn.MultiheadAttention(embed_dim=c, num_heads=num_heads)
        self.fc1 = nn.Linear(c, c, bias=False)
        self.fc2 = nn.Linear(c, c, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, B, c) -> (N, B, c)."""
        x = self.ma(self.q(x), self.k(x), self.v(x), need_weights=False)[0] + x
        return self.fc2(self.fc1(x)) + x


class TransformerBlock(nn.Module):
    """`num_layers` transformer layers over the positions of a map, after a learnt linear position term."""

    def __init__(self, c1: int, c2: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        if c2 % num_heads:
            nearest = max(round(c2 / num_heads), 1) * num_heads
            raise ValueError(f"Expected channels divisible by the {num_heads} heads but got {c2}; try {nearest}")
        self.conv = Conv(c1, c2) if c1 != c2 else None
        self.linear = nn.Linear(c2, c2)
        self.tr = nn.Sequential(*(TransformerLayer(c2, num_heads) for _ in range(num_layers)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        if self.conv is not None:
            x = self.conv(x)
        b, c, h, w = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)  # (H*W, B, c2)
        tokens = self.tr(tokens + self.linear(tokens))
        return tokens.permute(1, 2, 0).reshape(b, c, h, w)


class C3TR(C3):
    """C3 with a transformer block of four heads and `n` layers."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)

    def inner(self, hidden: int, n: int, shortcut: bool, g: int, attention: None) -> nn.Module:
        """One transformer block of `n` layers."""
        return TransformerBlock(hidden, hidden, 4, n)
