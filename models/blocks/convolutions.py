"""YOLOv5's building blocks: convolutions, CSP stages, focus and concatenation.

Parameter names and shapes are those of YOLOv5 v6/v7, so that its checkpoints load; argument order is that of its YAML
rows, with the input channels first. Pooling, ghost and transformer blocks are in files of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.blocks.batch_norm import BatchNorm2d
from models.blocks.concatenation import concatenate

Kernel = int | tuple[int, int]


def same_padding(k: Kernel, d: int = 1) -> Kernel:
    """The padding that keeps the map's size at stride 1 for an odd kernel `k` with dilation `d`."""
    if isinstance(k, int):
        return (d * (k - 1) + 1) // 2
    return (d * (k[0] - 1) + 1) // 2, (d * (k[1] - 1) + 1) // 2


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, activation.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size.
        s: Stride.
        p: Padding; None keeps the map's size at stride 1.
        g: Groups.
        d: Dilation.
        act: True for the model's default activation, False for none, or a module.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Kernel = 1,
        s: Kernel = 1,
        p: Kernel | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        padding = same_padding(k, d) if p is None else p
        self.conv = nn.Conv2d(c1, c2, k, s, padding, groups=g, dilation=d, bias=False)
        self.bn = BatchNorm2d(c2)
        self.has_default_act = act is True
        if act is True:
            self.act: nn.Module = nn.SiLU()
        else:
            self.act = act if isinstance(act, nn.Module) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        return self.act(self.bn(self.conv(x)))

    def fuse(self) -> None:
        """Fold the batch normalisation into the convolution; for eval mode only, and only once."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class DWConv(Conv):
    """Convolution with as many groups as the two channel counts allow."""

    def __init__(self, c1: int, c2: int, k: Kernel = 1, s: int = 1, d: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2), d=d, act=act)


class DWConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution with as many groups as the two channel counts allow."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p1: int = 0, p2: int = 0) -> None:
        super().__init__(c1, c2, k, s, p1, p2, groups=math.gcd(c1, c2))


class Focus(nn.Module):
    """Each 2x2 cell becomes four channels, then a convolution: (B, c1, H, W) -> (B, c2, H/2, W/2)."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        self.conv = Conv(4 * c1, c2, k, s, p, g, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/2, W/2); cells in the order top left, bottom left, top right, bottom right."""
        cells = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(cells, 1))


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, an optional attention module, and a shortcut where the channels agree."""

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden, c2, 3, 1, g=g)
        self.attention = attention(c2) if attention else nn.Identity()
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = self.attention(self.cv2(self.cv1(x)))
        return x + y if self.add else y


class CrossConv(nn.Module):
    """A 1xk and a kx1 convolution, with a shortcut where asked for and possible."""

    def __init__(
        self, c1: int, c2: int, k: int = 3, s: int = 1, g: int = 1, e: float = 1.0, shortcut: bool = False
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, (1, k), (1, s))
        self.cv2 = Conv(hidden, c2, (k, 1), (s, 1), g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class BottleneckCSP(nn.Module):
    """Cross-stage partial stage with four convolutions (Wang et al. 2019, arXiv:1911.11929).

    `act` is the activation behind its own normalisation; True is SiLU, YOLOv5 before release 6.0 had LeakyReLU(0.1).
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = nn.Conv2d(c1, hidden, 1, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, 1, bias=False)
        self.cv4 = Conv(2 * hidden, c2, 1, 1)
        self.bn = BatchNorm2d(2 * hidden)
        self.act = act if isinstance(act, nn.Module) else nn.SiLU() if act else nn.Identity()
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        both = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), 1)
        return self.cv4(self.act(self.bn(both)))


class C3(nn.Module):
    """Cross-stage partial stage with three convolutions and `n` bottlenecks.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Bottlenecks.
        shortcut: Whether the bottlenecks add their input.
        g: Groups of the bottlenecks' 3x3 convolution.
        e: Width of the two branches as a share of c2.
        attention: Makes the attention module, given its channels, that ends each bottleneck before the shortcut.
        bottleneck_e: Width inside the bottlenecks as a share of the branch; 0.5 in the C3SE and C3ECA of several forks.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        attention: Callable[[int], nn.Module] | None = None,
        bottleneck_e: float = 1.0,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.bottleneck_e = bottleneck_e
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.cv3 = Conv(2 * hidden, c2, 1)
        self.m = self.inner(hidden, n, shortcut, g, attention)

    def inner(
        self, hidden: int, n: int, shortcut: bool, g: int, attention: Callable[[int], nn.Module] | None
    ) -> nn.Module:
        """What the first branch applies after its 1x1 convolution; the variants of C3 differ here alone."""
        e = self.bottleneck_e
        return nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, e, attention) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        return self.cv3(concatenate((self.m(self.cv1(x)), self.cv2(x))))


class C3x(C3):
    """C3 with cross convolutions."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)

    def inner(self, hidden: int, n: int, shortcut: bool, g: int, attention: None) -> nn.Module:
        """`n` cross convolutions."""
        return nn.Sequential(*(CrossConv(hidden, hidden, 3, 1, g, 1.0, shortcut) for _ in range(n)))


class Concat(nn.Module):
    """Concatenation of several maps of one size along a dimension, the channels by default."""

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.d = dimension

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, Ci, H, W), …] -> (B, sum of Ci, H, W)."""
        return torch.cat(list(maps), self.d)


class Contract(nn.Module):
    """Moves `gain` x `gain` cells into the channels: (B, C, H, W) -> (B, C*gain*gain, H/gain, W/gain)."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C*gain*gain, H/gain, W/gain), the cell's position outermost."""
        b, c, h, w = x.shape
        g = self.gain
        x = x.reshape(b, c, h // g, g, w // g, g).permute(0, 3, 5, 1, 2, 4)  # (B, gain, gain, C, H/gain, W/gain)
        return x.reshape(b, c * g * g, h // g, w // g)


class Expand(nn.Module):
    """The inverse of `Contract`: (B, C, H, W) -> (B, C/(gain*gain), H*gain, W*gain)."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C/(gain*gain), H*gain, W*gain)."""
        b, c, h, w = x.shape
        g = self.gain
        x = x.reshape(b, g, g, c // g**2, h, w).permute(0, 3, 4, 1, 5, 2)  # (B, C/gain², H, gain, W, gain)
        return x.reshape(b, c // g**2, h * g, w * g)
