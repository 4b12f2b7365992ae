"""PAM, CAM, DANet and CCNet as published and written plainly: the part of `published.py` with maps of affinities.

Nothing is spared: PAM forms its N x N map, CAM and PAM keep theirs for the backward pass, CCNet copies for each axis.
"""

import torch
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
