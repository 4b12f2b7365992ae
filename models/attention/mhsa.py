"""MHSA: multi-head self-attention among all positions of a map, as bottleneck transformers use it.

Srinivas et al. 2021, "Bottleneck Transformers for Visual Recognition", arXiv:2101.11605.
Same values as the widely used release, unscaled logits included. Deviations: the position embedding is stretched to
the map's size, where the release takes its first H * W entries in the wrong order unless the map has exactly its size;
no matrix of H * W times H * W is formed unless it is small. The release's position term is p_i . q_j; the paper's is
q_i . p_j (`variant="authors"`).

In bfloat16 on a CPU the logits are rounded once, as q and k are and as the published form does; with logits in float32
the output would be about a third less off, and the module slower than the published form. The softmax is in float32.
"""

import torch
from torch import Tensor, nn

from models.attention.parts.base import (
    Attention,
    check_choice,
    check_divisible,
    check_flag,
    check_integer,
    float32,
    zero,
)
from models.attention.parts.registry import register
from models.attention.parts.tensors import attend, from_tokens, like_format, split_heads


@register("MHSA")
class MHSA(Attention):
    """sum over j of softmax_j(q_i . k_j + position) v_j per head; q, k, v are 1x1 convolutions of the map.

    With `pos_emb`, p is the sum of an embedding per row and one per column. The release names them by the map's axes in
    its own order: `rel_w_weight` (`width` entries) runs along the rows of the map, `rel_h_weight` along its columns. As
    released, the input is not added.

    Identity start: the value convolution is zero and the input is added (one addition). It learns from the first step,
    the others from the second.

    Args:
        channels: Number of channels C, a multiple of `heads`.
        width: Entries of the embedding along H, used with `pos_emb` only.
        height: Entries of the embedding along W, used with `pos_emb` only.
        heads: Number of heads.
        pos_emb: Learn a position embedding.
        variant: "release" (position term p_i . q_j) or "authors" (q_i . p_j); matters with `pos_emb` only.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Bottleneck Transformers for Visual Recognition, arXiv:2101.11605"
    YEAR = 2021
    GATES = ("affinity",)
    POSITIONAL = ("width", "height", "heads", "pos_emb")
    INERT = ("key.bias",)

    def __init__(
        self,
        channels: int,
        *,
        width: int = 14,
        height: int = 14,
        heads: int = 4,
        pos_emb: bool = False,
        variant: str = "release",
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        for name, value in (("width", width), ("height", height), ("heads", heads)):
            check_integer(name, value)
        check_flag("pos_emb", pos_emb)
        check_choice("variant", variant, ("release", "authors"))
        check_divisible(channels, heads, "heads")
        self.heads, self.pos, self.variant = heads, pos_emb, variant
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        if pos_emb:
            self.rel_h_weight = nn.Parameter(torch.randn(1, heads, channels // heads, 1, height))
            self.rel_w_weight = nn.Parameter(torch.randn(1, heads, channels // heads, width, 1))
        if self.identity:
            zero(self.value)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among the positions of a map (B, C, H, W)."""
        height, width = x.shape[2:]
        query, key, value = (split_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        query, key = self._with_position(query, key, height, width)
        self._report(affinity=lambda: self._affinity(query, key, height, width))
        output = from_tokens(attend(query, key, value, scale=1.0), height, width).to(x.dtype)
        return like_format(x + output if self.identity else output, x)

    def _with_position(self, query: Tensor, key: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Both (B, heads, HW, d), so that their dot products have the position term."""
        if not self.pos:
            return query, key
        position = self._position(height, width).to(query.dtype)
        if self.variant == "authors":
            return query, key + position
        return torch.cat([query, position.expand_as(query)], 3), torch.cat([key, query], 3)

    def _position(self, height: int, width: int) -> Tensor:
        rows = _stretch(self.rel_w_weight[0, ..., 0], height)  # (heads, d, H)
        columns = _stretch(self.rel_h_weight[0, :, :, 0], width)  # (heads, d, W)
        return (rows.unsqueeze(3) + columns.unsqueeze(2)).flatten(2).transpose(1, 2)  # (heads, HW, d)

    def _affinity(self, query: Tensor, key: Tensor, height: int, width: int) -> Tensor:
        row, column = self._query_position(height, width)
        asked = float32(query[:, :, row * width + column].unsqueeze(2))
        share = (asked @ float32(key).transpose(2, 3)).softmax(3)  # (B, heads, 1, HW)
        return share.mean(1).unflatten(2, (height, width))


def _stretch(embedding: Tensor, length: int) -> Tensor:
    """Linear interpolation of (heads, d, L) to (heads, d, length), end on end; exact where the lengths agree."""
    last, dtype = embedding.shape[2] - 1, float32(embedding).dtype
    step = last / torch.full((), length - 1, device=embedding.device, dtype=dtype).clamp(min=1)
    at = torch.arange(length, device=embedding.device) * step  # places 0..last in the embedding
    near = torch.arange(last + 1, device=embedding.device) - at[:, None]  # (length, L)
    return embedding @ (1 - near.abs()).clamp(min=0).to(embedding.dtype).T
