"""Modules with maps of affinities as published and written plainly: the part of `published.py` for them.

Nothing is spared: PAM and DAttention form their N x N maps, CAM and PAM keep theirs for the backward pass, CCNet copies
for each axis, and the windows of BiLevelRoutingAttention are gathered from a view repeated for each window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PAM(nn.Module):
    """Attention between positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over positions."""
        batch, channels, height, width = x.shape
        query = self.query_conv(x).reshape(batch, -1, height * width).permute(0, 2, 1)
        key = self.key_conv(x).reshape(batch, -1, height * width)
        weights = torch.softmax(torch.bmm(query, key), -1)
        value = self.value_conv(x).reshape(batch, -1, height * width)
        attended = torch.bmm(value, weights.permute(0, 2, 1)).view(batch, channels, height, width)
        return self.gamma * attended + x


class CAM(nn.Module):
    """Attention between channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over channels."""
        batch, channels, height, width = x.shape
        rows = x.reshape(batch, channels, -1)
        energy = torch.bmm(rows, rows.permute(0, 2, 1))
        weights = torch.softmax(torch.max(energy, -1, keepdim=True)[0].expand_as(energy) - energy, -1)
        return self.gamma * torch.bmm(weights, rows).view(batch, channels, height, width) + x


class DANet(nn.Module):
    """The sum of PAM and CAM."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pam, self.cam = PAM(channels), CAM(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over positions and channels."""
        return self.pam(x) + self.cam(x)


class CrissCrossAttention(nn.Module):
    """Attention along the row and the column, with the copies of the release."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend along rows and columns."""
        batch, channels, height, width = x.shape

        def by_column(t: Tensor) -> Tensor:
            return t.permute(0, 3, 1, 2).contiguous().view(batch * width, -1, height)

        def by_row(t: Tensor) -> Tensor:
            return t.permute(0, 2, 1, 3).contiguous().view(batch * height, -1, width)

        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        itself = -torch.diag(torch.full((height,), float("inf"))).unsqueeze(0).repeat(batch * width, 1, 1)
        energy_h = torch.bmm(by_column(query).permute(0, 2, 1), by_column(key)) + itself
        energy_h = energy_h.view(batch, width, height, height).permute(0, 2, 1, 3)
        energy_w = torch.bmm(by_row(query).permute(0, 2, 1), by_row(key)).view(batch, height, width, width)
        weights = torch.softmax(torch.cat([energy_h, energy_w], 3), 3)
        weights_h = weights[..., :height].permute(0, 2, 1, 3).contiguous().view(batch * width, height, height)
        weights_w = weights[..., height:].contiguous().view(batch * height, width, width)
        out_h = torch.bmm(by_column(value), weights_h.permute(0, 2, 1).to(value.dtype))
        out_w = torch.bmm(by_row(value), weights_w.permute(0, 2, 1).to(value.dtype))
        out_h = out_h.view(batch, width, channels, height).permute(0, 2, 3, 1)
        out_w = out_w.view(batch, height, channels, width).permute(0, 2, 1, 3)
        return self.gamma * (out_h + out_w) + x


class BiLevelRoutingAttention(nn.Module):
    """Seven windows a side, each attending to four; a map that does not divide is padded first, as released."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lepe = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.qkv = nn.ModuleDict({"qkv": nn.Linear(channels, 3 * channels)})
        self.wo = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among windows."""
        batch, channels, height, width = x.shape
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, -width % 7, 0, -height % 7))
        rows, columns = x.shape[1] // 7, x.shape[2] // 7
        windows = x.reshape(batch, 7, rows, 7, columns, channels).transpose(2, 3).flatten(1, 2)
        query, key_value = self.qkv["qkv"](windows).split([channels, 2 * channels], -1)  # (B, 49, h, w, .)
        mean_query, mean_key = query.mean([2, 3]), key_value[..., :channels].mean([2, 3])
        lepe = self.lepe(
            _to_map(key_value[..., channels:].flatten(2, 3), rows, columns).permute(0, 3, 1, 2).contiguous()
        )
        logits = (mean_query.detach() * channels**-0.5) @ mean_key.detach().transpose(-2, -1)
        chosen = torch.topk(logits, 4, dim=-1)[1]  # (B, 49, 4)
        tokens = key_value.flatten(2, 3)  # (B, 49, h w, 2 C)
        picked = torch.gather(
            tokens.unsqueeze(1).expand(-1, 49, -1, -1, -1),
            dim=2,
            index=chosen[..., None, None].expand(-1, -1, -1, *tokens.shape[2:]),
        )
        key, value = picked.reshape(batch * 49, -1, 2, 8, channels // 8).permute(2, 0, 3, 1, 4)
        query = query.reshape(batch * 49, -1, 8, channels // 8).transpose(1, 2)
        weights = torch.softmax((query * channels**-0.5) @ key.transpose(-2, -1).contiguous(), -1)
        attended = (weights @ value.contiguous()).transpose(1, 2).reshape(batch, 49, -1, channels)
        output = self.wo(_to_map(attended, rows, columns) + lepe.permute(0, 2, 3, 1))
        return output[:, :height, :width].permute(0, 3, 1, 2)


def _to_map(windows: Tensor, rows: int, columns: int) -> Tensor:
    """(B, 49, h w, C) to (B, 7 h, 7 w, C)."""
    batch, _, _, channels = windows.shape
    grid = windows.reshape(batch, 7, 7, rows, columns, channels).transpose(2, 3)
    return grid.reshape(batch, 7 * rows, 7 * columns, channels)


class DAttention(nn.Module):
    """Attention to displaced samples, eight heads, four groups of offsets, a depthwise position term."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.conv_offset = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            _ChannelNorm(width),
            nn.GELU(),
            nn.Conv2d(width, 2, 1, bias=False),
        )
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        self.rpe_table = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to samples."""
        batch, channels, height, width = x.shape
        query = self.proj_q(x)
        offset = self.conv_offset(query.reshape(batch * 4, channels // 4, height, width))
        reach = x.new_tensor([1 / (height - 1), 1 / (width - 1)]).reshape(1, 2, 1, 1)
        offset = (offset.tanh() * reach.to(offset.dtype) * 4).permute(0, 2, 3, 1)
        row, column = torch.meshgrid(
            torch.arange(height, dtype=x.dtype, device=x.device) + 0.5,
            torch.arange(width, dtype=x.dtype, device=x.device) + 0.5,
            indexing="ij",
        )
        reference = torch.stack((row / (height - 1) * 2 - 1, column / (width - 1) * 2 - 1), -1)
        places = offset + reference[None].expand(batch * 4, -1, -1, -1)
        part = x.reshape(batch * 4, channels // 4, height, width)
        sampled = F.grid_sample(part, places[..., (1, 0)].to(x.dtype), mode="bilinear", align_corners=True)
        sampled = sampled.reshape(batch, channels, 1, height * width)
        depth = channels // 8
        q = query.reshape(batch * 8, depth, height * width)
        k = self.proj_k(sampled).reshape(batch * 8, depth, height * width)
        v = self.proj_v(sampled).reshape(batch * 8, depth, height * width)
        weights = torch.softmax(torch.einsum("bcm,bcn->bmn", q, k) * depth**-0.5, 2)
        output = torch.einsum("bmn,bcn->bcm", weights, v)
        output = output + self.rpe_table(query).reshape(batch * 8, depth, height * width)
        return self.proj_out(output.reshape(batch, channels, height, width))


class _ChannelNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
