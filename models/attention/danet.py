"""PAM, CAM and DANet: attention between positions, between channels, and the sum of both.

Fu et al. 2019, "Dual Attention Network for Scene Segmentation", arXiv:1809.02983.
As the authors' modules (the convolutions of their segmentation head are not part of them). Energies are unscaled and,
as the softmax, in float32. Deviations: at least one query channel; no weight is below 1e-30, since denormal numbers
make matrix products on some CPUs many times slower.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.attention.parts.base import Attention, float32, hidden_width
from models.attention.parts.dense_attention import LEAST_WEIGHT, attend, weights_of
from models.attention.parts.reductions import is_traced
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format, outside_autocast

GRAM_BLOCKS = 4


@register("PAM")
class PAM(Attention):
    """gamma * sum_j A_ij v_j + x at each position i, A = softmax over j of q_i . k_j; gamma starts at 0.

    q, k (channels // reduction) and v (channels) are 1x1 convolutions of x.

    Identity start: the published start already is the identity, since gamma is 0; both starts are the same. gamma
    learns from the first step, the rest from the second.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the width of queries and keys.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("affinity",)
    POSITIONAL = ("reduction",)
    INERT = ("key_conv.bias",)

    def __init__(self, channels: int, *, reduction: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        hidden = hidden_width(channels, reduction)
        self.query_conv = nn.Conv2d(channels, hidden, 1)
        self.key_conv = nn.Conv2d(channels, hidden, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the positions of a map (B, C, H, W)."""
        return x + self.attend(x)

    def attend(self, x: Tensor) -> Tensor:
        """The attention term, without x, in the dtype and memory format of x."""
        # One convolution reads x once. gamma A v = A (gamma v): scaled in the weights, gamma costs no pass over a map.
        to_query, to_key, to_value = self.query_conv, self.key_conv, self.value_conv
        weight = torch.cat([to_query.weight, to_key.weight, self.gamma * to_value.weight])
        bias = torch.cat([to_query.bias, to_key.bias, self.gamma * to_value.bias])
        widths = [layer.out_channels for layer in (to_query, to_key, to_value)]
        query, key, value = (
            like_format(t, x).flatten(2).transpose(1, 2).unsqueeze(1)
            for t in F.conv2d(x, weight, bias).split(widths, 1)
        )
        self._report(affinity=lambda: self._affinity(query, key, x))
        with outside_autocast(x):
            attended = attend(query, key, value).squeeze(1).transpose(1, 2)  # (B, C, N)
        return like_format(attended.to(x.dtype).reshape(x.shape), x)

    def _affinity(self, query: Tensor, key: Tensor, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        row, column = self._query_position(height, width)
        position = row * width + column
        with outside_autocast(x):
            return weights_of(query[:, 0, position : position + 1], key[:, 0]).view(-1, 1, height, width)


@register("CAM")
class CAM(Attention):
    """gamma * A X + x, A = softmax over j of -x_i . x_j between the channels i and j; gamma starts at 0.

    Identity start: the published start already is the identity, since gamma is 0; both starts are the same. gamma,
    the only parameter, learns from the first step.

    The energies, sums over all positions, are in float32 whatever the map is in. The published form takes them in
    bfloat16 under autocast; on maps with few positions and many channels that is a little faster forward, and its
    attention term is off by a tenth to a half.

    The gate handed out is the weight that each channel receives, averaged over the channels that give it.

    Args:
        channels: Number of channels C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("channel",)

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the channels of a map (B, C, H, W)."""
        with outside_autocast(x):
            if is_traced():
                rows = float32(x).flatten(2)  # (B, C, N)
                weights = (-(rows @ rows.transpose(1, 2))).softmax(2)
                return x + (self.gamma * (weights @ rows)).to(x.dtype).reshape(x.shape)
            x = like_format(x, x)
            output, weights = _AttendChannels.apply(x, self.gamma)
            self._report(channel=lambda: weights.mean(1)[..., None, None])
            return output


class _AttendChannels(torch.autograd.Function):
    """(gamma A + 1) X in one product, and A. In the backward pass, too, the residual and both energies' shares fold."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.flatten(2)  # (B, C, N)
        weights = _gram(rows).neg_().softmax(2).clamp_min_(LEAST_WEIGHT)
        mixing = gamma * weights
        mixing.diagonal(dim1=1, dim2=2).add_(1)
        mixing = mixing.to(x.dtype)
        ctx.save_for_backward(x, gamma, weights, mixing)
        ctx.mark_non_differentiable(weights)
        return _mix(mixing, rows).unflatten(2, x.shape[2:]), weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        x, gamma, weights, mixing = ctx.saved_tensors
        rows, gradient = x.flatten(2), like_format(gradient, x).flatten(2)
        for_mixing = float32(torch.bmm(gradient, rows.transpose(1, 2)))  # (B, C, C)
        shares = weights * for_mixing
        for_energy = (weights * shares.sum(2, keepdim=True)).sub_(shares).mul_(gamma)
        both = (for_energy + for_energy.transpose(1, 2)).to(x.dtype)  # the energy is X X^T: X takes part twice
        result = _mix(mixing.transpose(1, 2), gradient, both, rows)
        return result.unflatten(2, x.shape[2:]), shares.sum().view(1).to(gamma.dtype)


def _gram(rows: Tensor) -> Tensor:
    """X X^T of (B, C, N) in float32 at least. On the CPU only a little over half of it is computed, and mirrored."""
    batch, channels, _ = rows.shape
    if rows.device.type != "cpu":
        return torch.bmm(float32(rows), float32(rows).transpose(1, 2))
    energy = float32(rows[:0]).new_empty(batch, channels, channels)
    step = -(-channels // GRAM_BLOCKS)
    for image in range(batch):
        wide = float32(rows[image])
        for start in range(0, channels, step):
            block = slice(start, start + step)
            energy[image, block, start:] = torch.mm(wide[block], wide[start:].t())
    for start in range(step, channels, step):
        block = slice(start, start + step)
        energy[:, block, :start] = energy[:, :start, block].transpose(1, 2)
    return energy


def _mix(matrix: Tensor, rows: Tensor, symmetric: Tensor | None = None, others: Tensor | None = None) -> Tensor:
    """(B, C, C) times (B, C, N), plus a second such product, in the memory format of rows."""
    if not rows.is_contiguous() and rows.transpose(1, 2).is_contiguous():
        result = torch.bmm(rows.transpose(1, 2), matrix.transpose(1, 2))
        if symmetric is not None:
            result.baddbmm_(others.transpose(1, 2), symmetric)
        return result.transpose(1, 2)
    result = torch.bmm(matrix, rows)
    return result if symmetric is None else result.baddbmm_(symmetric, others)


@register("DANet")
class DANet(Attention):
    """PAM(x) + CAM(x), as the authors' head sums its two branches.

    Identity start: each branch starts as x, so their sum starts as 2 x; with the identity start x is added once,
    x + (PAM(x) - x) + (CAM(x) - x), which is exactly x while both gammas are 0. The gammas learn from the first step,
    the rest from the second.

    The gates are those of the branches; they act side by side, not multiplied.

    Args:
        channels: Number of channels C.
        reduction: Divisor of the width of queries and keys of PAM.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Dual Attention Network for Scene Segmentation, arXiv:1809.02983"
    YEAR = 2019
    GATES = ("affinity", "channel")
    POSITIONAL = ("reduction",)
    INERT = ("pam.key_conv.bias",)

    def __init__(self, channels: int, *, reduction: int = 8, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.pam = PAM(channels, reduction=reduction, start=start)
        self.cam = CAM(channels, start=start)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the positions and the channels of a map (B, C, H, W)."""
        for branch in (self.pam, self.cam):
            branch._query, branch._gates = self._query, self._gates
        y = self.cam(x) + self.pam.attend(x)
        return y if self.identity else y + x
