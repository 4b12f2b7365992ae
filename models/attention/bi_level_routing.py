"""Bi-level routing attention (BiFormer): windows choose the windows to attend to, then their tokens attend.

Zhu et al. 2023, "BiFormer: Vision Transformer with Bi-Level Routing Attention", arXiv:2303.08810.
Same values as the widely used release where the map divides into n_win x n_win windows, the logits' scale
1 / sqrt(C) (not per head) included. Deviations elsewhere: the release pads the map before the projections, so that
padding enters the windows' means and the softmax as tokens and the depthwise convolution as border; here padding is
masked out of all three. On CUDA the backward of the gathering is deterministic only with deterministic algorithms on.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_divisible, check_flag, check_integer, float32, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import attend, like_format, outside_autocast, pointwise


@register("BiLevelRoutingAttention")
class BiLevelRoutingAttention(Attention):
    """wo(A + lepe(v)), A the attention of each token to the tokens of the `topk` windows chosen for its window.

    q, k, v are one linear layer of the map; a window chooses by the dot products of the windows' mean q and k, through
    which no gradient passes; lepe is a depthwise 3x3 convolution. As released, the input is not added.

    Identity start: wo is zero and the input is added (one addition more than published). wo learns from the first step,
    the others from the second.

    Args:
        channels: Number of channels C, a multiple of `heads`.
        n_win: Windows per side of the map, whatever its size.
        heads: Number of heads.
        topk: Windows attended to, all of them where there are fewer.
        auto_pad: Take maps that do not divide into n_win windows per side; without it they are a ValueError.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range, or a map does not divide and `auto_pad` is off.
    """

    PAPER = "BiFormer: Vision Transformer with Bi-Level Routing Attention, arXiv:2303.08810"
    YEAR = 2023
    GATES = ("affinity",)
    POSITIONAL = ("n_win", "heads")

    def __init__(
        self,
        channels: int,
        *,
        n_win: int = 7,
        heads: int = 8,
        topk: int = 4,
        auto_pad: bool = True,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        for name, value in (("n_win", n_win), ("heads", heads), ("topk", topk)):
            check_integer(name, value)
        check_flag("auto_pad", auto_pad)
        check_divisible(channels, heads, "heads")
        self.n_win, self.heads, self.auto_pad = n_win, heads, auto_pad
        self.topk = min(topk, n_win**2)
        self.scale = channels**-0.5
        self.lepe = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.qkv = nn.ModuleDict({"qkv": nn.Linear(channels, 3 * channels)})
        self.wo = nn.Linear(channels, channels)
        if self.identity:
            zero(self.wo)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among the windows of a map (B, C, H, W)."""
        height, width = x.shape[2:]
        if not self.auto_pad and (height % self.n_win or width % self.n_win):
            raise ValueError(
                f"Expected a map that divides into {self.n_win} windows per side but got {height}x{width}; "
                "set `auto_pad` to true"
            )
        qkv = pointwise(x, self.qkv["qkv"])  # (B, 3C, H, W)
        windows, valid = self._windows(qkv)  # (B, nn, hw, 3C), (nn, hw)
        query, key_value = windows[..., : self.channels], windows[..., self.channels :]
        chosen = self._route(windows, valid)  # (B, nn, topk)
        self._report(affinity=lambda: self._affinity(windows, valid, chosen, height, width))
        output = self._attend(query, key_value, valid, chosen)  # (B, nn, hw, C)
        output = self._from_windows(output, height, width) + self.lepe(qkv[:, 2 * self.channels :])
        output = pointwise(output, self.wo).to(x.dtype)
        return like_format(x + output if self.identity else output, x)

    def _window_size(self, height: int, width: int) -> tuple[int, int]:
        return (height + self.n_win - 1) // self.n_win, (width + self.n_win - 1) // self.n_win

    def _windows(self, qkv: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens by window, zero where there is no map, and where there is map."""
        batch, channels, height, width = qkv.shape
        n, (rows, columns) = self.n_win, self._window_size(height, width)
        padded = F.pad(qkv, (0, n * columns - width, 0, n * rows - height))
        windows = padded.reshape(batch, channels, n, rows, n, columns).permute(0, 2, 4, 3, 5, 1)
        inside_h = torch.arange(n * rows, device=qkv.device).reshape(n, 1, rows, 1) < height
        inside_w = torch.arange(n * columns, device=qkv.device).reshape(1, n, 1, columns) < width
        valid = (inside_h & inside_w).reshape(n * n, rows * columns)
        return windows.reshape(batch, n * n, rows * columns, channels), valid

    def _route(self, windows: Tensor, valid: Tensor) -> Tensor:
        """Indices (B, nn, topk) of the windows that each window attends to."""
        with torch.no_grad(), outside_autocast(windows):
            sums = float32(windows[..., : 2 * self.channels]).sum(2)
            query, key = (sums / valid.sum(1).clamp(min=1)[:, None]).chunk(2, 2)  # (B, nn, C) means
            logits = self.scale * query @ key.transpose(1, 2)  # (B, nn, nn)
            logits = logits.masked_fill(~valid.any(1), torch.finfo(logits.dtype).min)
            return logits.topk(self.topk, 2).indices

    def _attend(self, query: Tensor, key_value: Tensor, valid: Tensor, chosen: Tensor) -> Tensor:
        batch, count, size, channels = query.shape
        first = torch.arange(batch, device=chosen.device)[:, None, None] * count
        flat = (chosen + first).reshape(-1)
        picked = key_value.reshape(batch * count, size * 2 * channels).index_select(0, flat)
        picked = picked.reshape(batch * count, self.topk * size, 2, self.heads, channels // self.heads)
        key, value = picked.permute(2, 0, 3, 1, 4)  # (B nn, heads, topk hw, d) each
        query = query.reshape(batch * count, size, self.heads, channels // self.heads).transpose(1, 2)
        mask = valid.index_select(0, chosen.reshape(-1)).reshape(batch * count, 1, 1, self.topk * size)
        output = attend(query, key, value, scale=self.scale, mask=mask)  # (B nn, heads, hw, d)
        return output.transpose(1, 2).reshape(batch, count, size, channels)

    def _from_windows(self, windows: Tensor, height: int, width: int) -> Tensor:
        """(B, nn, hw, K) back to (B, K, H, W), without the padding."""
        batch, _, _, channels = windows.shape
        n, (rows, columns) = self.n_win, self._window_size(height, width)
        grid = windows.reshape(batch, n, n, rows, columns, channels).permute(0, 5, 1, 3, 2, 4)
        return grid.reshape(batch, channels, n * rows, n * columns)[:, :, :height, :width]

    def _affinity(self, windows: Tensor, valid: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
        row, column = self._query_position(height, width)
        rows, columns = self._window_size(height, width)
        window, token = row // rows * self.n_win + column // columns, row % rows * columns + column % columns
        query, key, _ = float32(windows).unflatten(3, (3, self.heads, -1)).unbind(3)  # (B, nn, hw, heads, d)
        logits = self.scale * torch.einsum("bmd,bwtmd->bwtm", query[:, window, token], key)
        routed = torch.zeros_like(valid[None].expand(len(logits), -1, -1))
        routed = routed.scatter(1, chosen[:, window, :, None].expand(-1, -1, valid.shape[1]), True) & valid
        share = logits.masked_fill(~routed[..., None], -torch.inf).flatten(1, 2).softmax(1).unflatten(1, valid.shape)
        return self._from_windows(share.mean(3, keepdim=True), height, width)
