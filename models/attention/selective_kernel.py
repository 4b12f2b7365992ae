"""Selective kernel: convolutions of several sizes, of which every channel chooses by a softmax.

Li et al. 2019, "Selective Kernel Networks", arXiv:1903.06586.
Same values as the widely used release, which unlike the paper takes full convolutions of 1, 3, 5 and 7 (no groups, no
dilation) and no normalisation before the choice. Deviation: the branches are summed as they are weighted, never
stacked; a single 1x1 map in training falls back to running statistics.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention, BatchNorm2d, check_divisible, check_integer, check_odd, float32, zero
from models.attention.parts.registry import register


@register("SKAttention")
class SKAttention(Attention):
    """sum over k of a_k * U_k, with U_k = ReLU(BN(conv_k(x))) and a = softmax over k of fc_k(fc(mean of sum U_k)).

    The reported channel gate is the share of the last kernel, the largest by default.

    Identity start: fc_k are zero, so all shares are 1 / K, and the output is x + sum (a_k - 1 / K) U_k: the input plus
    what the choice adds to a plain mean, exactly x at first. x is added within the first product. fc_k learn from the
    first step, the others from the second.

    Args:
        channels: Number of channels C.
        kernels: Odd kernel sizes, at least two.
        reduction: Divisor of the hidden width.
        groups: Groups of each convolution, a divisor of C.
        min_width: Least hidden width.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Selective Kernel Networks, arXiv:1903.06586"
    YEAR = 2019
    GATES = ("channel",)
    POSITIONAL = ("kernels", "reduction", "groups", "min_width")

    def __init__(
        self,
        channels: int,
        *,
        kernels: Sequence[int] = (1, 3, 5, 7),
        reduction: int = 16,
        groups: int = 1,
        min_width: int = 32,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        if not isinstance(kernels, Sequence) or isinstance(kernels, str) or len(kernels) < 2:
            raise ValueError(f"Expected `kernels` to be at least two odd sizes to choose from but got {kernels!r}")
        for kernel in kernels:
            check_odd("kernels", kernel)
        for name, value in (("reduction", reduction), ("groups", groups), ("min_width", min_width)):
            check_integer(name, value)
        check_divisible(channels, groups, "groups")
        hidden = max(min_width, channels // reduction)
        self.convs = nn.ModuleList(_branch(channels, kernel, groups) for kernel in kernels)
        self.fc = nn.Linear(channels, hidden)
        self.fcs = nn.ModuleList(nn.Linear(hidden, channels) for _ in kernels)
        if self.identity:
            zero(*self.fcs)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the branches of a map (B, C, H, W)."""
        branches = [branch(x) for branch in self.convs]
        pooled = torch.stack([branch.mean((2, 3)) for branch in branches]).sum(0)  # (B, C)
        hidden = self.fc(pooled)
        share = float32(torch.stack([fc(hidden) for fc in self.fcs])).softmax(0)  # (K, B, C)
        share = share.to(x.dtype)[..., None, None]
        self._report(channel=share[-1])
        if self.identity:
            share = share - 1 / len(branches)
            output = torch.addcmul(x, share[0], branches[0].to(x.dtype))
        else:
            output = share[0] * branches[0].to(x.dtype)
        for weight, branch in zip(share[1:], branches[1:], strict=True):
            output = torch.addcmul(output, weight, branch.to(x.dtype))
        return output


def _branch(channels: int, kernel: int, groups: int) -> nn.Sequential:
    branch = nn.Sequential()
    branch.add_module("conv", nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups))
    branch.add_module("bn", BatchNorm2d(channels))
    branch.add_module("relu", nn.ReLU())
    return branch
