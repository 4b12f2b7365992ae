"""Blocks of parallel branches in training that become one convolution for inference.

RepVGG (Ding et al. 2021, arXiv:2101.03697) and RepConv, its form with SiLU in YOLOv7 (arXiv:2207.02696). Parameter
names are RepVGG's own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.blocks.batch_norm import BatchNorm2d


class RepVGGBlock(nn.Module):
    """A kxk convolution, a 1x1 one and, where the shape stays, the map itself, each normalised, added, then ReLU.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size, odd.
        s: Stride.
        g: Groups.
        act: True for the block's own activation, False for none, or a module.
    """

    own_act: type[nn.Module] = nn.ReLU

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1, g: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__()
        if not isinstance(k, int) or k % 2 == 0:
            raise ValueError(f"Expected `k` to be an odd number but got {k!r}")
        self.rbr_identity = BatchNorm2d(c1) if c1 == c2 and s == 1 else None
        self.rbr_dense = _normalised(nn.Conv2d(c1, c2, k, s, k // 2, groups=g, bias=False))
        self.rbr_1x1 = _normalised(nn.Conv2d(c1, c2, 1, s, groups=g, bias=False))
        self.rbr_reparam: nn.Conv2d | None = None
        self.nonlinearity = act if isinstance(act, nn.Module) else self.own_act() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H/s, W/s)."""
        if self.rbr_reparam is not None:
            return self.nonlinearity(self.rbr_reparam(x))
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        return self.nonlinearity(y if self.rbr_identity is None else y + self.rbr_identity(x))

    def fuse(self) -> None:
        """Make one convolution of the branches; for eval mode only, and only once."""
        if self.rbr_reparam is not None:
            return
        branches = [self.rbr_dense, self.rbr_1x1]
        dense = cast(nn.Conv2d, self.rbr_dense.conv)
        if self.rbr_identity is not None:
            branches.append(_normalised(_identity_convolution(dense), self.rbr_identity).eval())
        folded = [fuse_conv_bn_eval(cast(nn.Conv2d, b.conv), cast(nn.BatchNorm2d, b.bn)) for b in branches]
        k, stride = dense.kernel_size[0], dense.stride[0]
        fused = nn.Conv2d(
            dense.in_channels, dense.out_channels, k, stride, k // 2, groups=dense.groups
        ).to(dense.weight)  # fmt: skip
        with torch.no_grad():
            pads = [(k - conv.kernel_size[0]) // 2 for conv in folded]
            fused.weight.copy_(
                torch.stack([F.pad(conv.weight, (p,) * 4) for conv, p in zip(folded, pads, strict=True)]).sum(0)
            )
            assert fused.bias is not None
            fused.bias.copy_(torch.stack([cast(Tensor, conv.bias) for conv in folded]).sum(0))
        self.rbr_reparam = fused.requires_grad_(False).eval()
        del self.rbr_dense, self.rbr_1x1, self.rbr_identity


class RepConv(RepVGGBlock):
    """RepVGGBlock with SiLU."""

    own_act = nn.SiLU


def _normalised(conv: nn.Conv2d, bn: nn.BatchNorm2d | None = None) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=conv, bn=bn or BatchNorm2d(conv.out_channels)))


def _identity_convolution(like: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 convolution that returns its input, with the groups of another."""
    c = like.in_channels
    conv = nn.Conv2d(c, c, 1, groups=like.groups, bias=False).to(like.weight)
    with torch.no_grad():
        inside = torch.arange(c) % (c // like.groups)  # of its group
        conv.weight.copy_(F.one_hot(inside, c // like.groups).view(c, -1, 1, 1))
    return conv
