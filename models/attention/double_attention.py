"""Double attention (A2): gather descriptors of the whole map by attention, hand them out to each position by attention.

Chen et al. 2018, "A2-Nets: Double Attention Networks", arXiv:1810.11579.
Deviation from the widely used release, which is broken: it calls softmax without a dimension, that is over the batch,
so an image's output depends on its batch mates. Here, as in the paper, gathering weights sum to 1 over positions and
distribution weights over descriptors. On a map with at least as many positions as channels the two linear layers are
applied to the descriptors instead of to the map, which is the same by linearity and needs fewer products.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_flag, check_integer, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import like_format, outside_autocast
from models.blocks.tensor_traits import is_traced


@register("DoubleAttention")
class DoubleAttention(Attention):
    """conv_reconstruct(D q), with D = convA(x) p^T (B, c_m, c_n), p = softmax_n(convB(x)), q = softmax_k(convV(x)).

    p and q are (B, c_n, H * W); p sums to 1 over the H * W positions, q over the c_n descriptors. The affinity of a
    position is its q times p: the weights of the positions that it is given. As released, the input is not added.

    Identity start: conv_reconstruct (without it, convA) is zero and the input is added within the last
    matrix product. That layer learns from the first step, the others from the second.

    Args:
        channels: Number of channels C.
        c_m: Channels of a descriptor.
        c_n: Number of descriptors.
        reconstruct: Map the c_m channels back to C; without it c_m has to be C.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "A2-Nets: Double Attention Networks, arXiv:1810.11579"
    YEAR = 2018
    GATES = ("affinity",)
    POSITIONAL = ("c_m", "c_n", "reconstruct")
    INERT = ("convB.bias",)

    def __init__(
        self,
        channels: int,
        *,
        c_m: int = 128,
        c_n: int = 128,
        reconstruct: bool = True,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_integer("c_m", c_m)
        check_integer("c_n", c_n)
        check_flag("reconstruct", reconstruct)
        if not reconstruct and c_m != channels:
            raise ValueError(f"Expected `c_m` to be the channels {channels} without reconstruct but got {c_m}")
        self.convA = nn.Conv2d(channels, c_m, 1)
        self.convB = nn.Conv2d(channels, c_n, 1)
        self.convV = nn.Conv2d(channels, c_n, 1)
        self.conv_reconstruct = nn.Conv2d(c_m, channels, 1) if reconstruct else None
        self._initialise()

    def _initialise(self) -> None:
        for layer in filter(None, (self.convA, self.convB, self.convV, self.conv_reconstruct)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            nn.init.zeros_(layer.bias)
        if self.identity:
            zero(self.conv_reconstruct or self.convA)

    def forward(self, x: Tensor) -> Tensor:
        """Gather from and distribute to a map (B, C, H, W)."""
        rows = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        # The softmaxes, of any dtype, are in float32 inside.
        gather = self.convB(x).flatten(2).softmax(2).to(x.dtype)  # (B, c_n, HW)
        distribute = self.convV(x).flatten(2).softmax(1).to(x.dtype)  # (B, c_n, HW)
        self._report(affinity=lambda: self._affinity(gather, distribute, x))
        if self._prefers_map(x):
            descriptors = gather @ self.convA(x).flatten(2).transpose(1, 2)  # (B, c_n, c_m)
            mixed = self._distribute(descriptors, distribute.transpose(1, 2), rows)  # (B, HW, c_m)
            output = self.conv_reconstruct(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        else:
            descriptors = _linear(self.convA, gather @ rows)  # (B, c_n, c_m); each row of `gather` sums to 1
            if self.conv_reconstruct is not None:
                descriptors = _linear(self.conv_reconstruct, descriptors)  # (B, c_n, C); so do the shares
            output = self._distribute(descriptors, distribute.transpose(1, 2), rows)  # (B, HW, C)
            output = output.transpose(1, 2).reshape(x.shape)
        return like_format(output.to(x.dtype), x)

    def _prefers_map(self, x: Tensor) -> bool:
        """Whether the published order, both linear layers on the map, takes fewer products and no additional pass."""
        if is_traced() or self.identity or self.conv_reconstruct is None:
            return False
        return x.shape[2] * x.shape[3] < self.channels

    def _distribute(self, descriptors: Tensor, shares: Tensor, rows: Tensor) -> Tensor:
        """Shares (B, HW, c_n) of descriptors (B, c_n, C), plus the map for an identity start, in its memory order."""
        turned = not rows.is_contiguous() and not is_traced()
        if turned:  # the map is stored channel by channel, and so is the product of the transposed factors
            descriptors, shares, rows = shares.transpose(1, 2), descriptors.transpose(1, 2), rows.transpose(1, 2)
        if self.identity:
            with outside_autocast(rows):
                output = torch.baddbmm(rows, shares.to(rows.dtype), descriptors.to(rows.dtype))
        else:
            output = shares @ descriptors
        return output.transpose(1, 2) if turned else output

    def _affinity(self, gather: Tensor, distribute: Tensor, x: Tensor) -> Tensor:
        row, column = self._query_position(*x.shape[2:])
        given = distribute.unflatten(2, x.shape[2:])[:, :, row, column].unsqueeze(1)  # (B, 1, c_n)
        return (given @ gather).unflatten(2, x.shape[2:])


def _linear(layer: nn.Conv2d, rows: Tensor) -> Tensor:
    """A 1x1 convolution applied to rows (B, K, C)."""
    return F.linear(rows, layer.weight.flatten(1), layer.bias)
