"""Pooled gates and depthwise strips as they are usually written: the part of `published_more.py` for them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EffectiveSE(nn.Module):
    """Channel gate from one layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class _ContextMLP(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.fc1(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.fc2(torch.relu(hidden))


class GlobalContext(nn.Module):
    """Channel gate from a weighted mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_attn = nn.Conv2d(channels, 1, 1)
        self.mlp_scale = _ContextMLP(channels, channels // 8)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels, height, width = x.shape
        share = torch.softmax(self.conv_attn(x).reshape(batch, 1, height * width), -1).unsqueeze(3)
        context = torch.matmul(x.reshape(batch, channels, height * width).unsqueeze(1), share)
        return x * torch.sigmoid(self.mlp_scale(context.view(batch, channels, 1, 1)))


class ELA(nn.Module):
    """Gates along rows and columns by adaptive pooling and one shared layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool_h, self.pool_w = nn.AdaptiveAvgPool2d((None, 1)), nn.AdaptiveAvgPool2d((1, None))
        self.conv1x1 = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.GroupNorm(16, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels, height, width = x.shape
        row = torch.sigmoid(self.conv1x1(self.pool_h(x).reshape(batch, channels, height)))
        column = torch.sigmoid(self.conv1x1(self.pool_w(x).reshape(batch, channels, width)))
        return x * row.reshape(batch, channels, height, 1) * column.reshape(batch, channels, 1, width)


class LSKA(nn.Module):
    """A chain of depthwise strips of reach 7."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0h = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels)
        self.conv0v = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels)
        self.conv_spatial_h = nn.Conv2d(channels, channels, (1, 3), padding=(0, 2), groups=channels, dilation=2)
        self.conv_spatial_v = nn.Conv2d(channels, channels, (3, 1), padding=(2, 0), groups=channels, dilation=2)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map."""
        factor = self.conv0v(self.conv0h(x))
        return x.clone() * self.conv1(self.conv_spatial_v(self.conv_spatial_h(factor)))


class _PointwiseNormAct(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)))


class CAA(nn.Module):
    """A gate for every value from strips of 11."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AvgPool2d(7, 1, 3)
        self.conv1, self.conv2 = _PointwiseNormAct(channels), _PointwiseNormAct(channels)
        self.h_conv = nn.Conv2d(channels, channels, (1, 11), padding=(0, 5), groups=channels)
        self.v_conv = nn.Conv2d(channels, channels, (11, 1), padding=(5, 0), groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        return torch.sigmoid(self.conv2(self.v_conv(self.h_conv(self.conv1(self.avg_pool(x)))))) * x


class CPCA(nn.Module):
    """A channel gate, then a factor from strips of three lengths; one 1x1 layer three times."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.ca = nn.ModuleDict({"fc1": nn.Conv2d(channels, hidden, 1), "fc2": nn.Conv2d(hidden, channels, 1)})
        self.dconv5_5 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        for size in (7, 11, 21):
            wide = nn.Conv2d(channels, channels, (1, size), padding=(0, size // 2), groups=channels)
            tall = nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0), groups=channels)
            self.add_module(f"dconv1_{size}", wide)
            self.add_module(f"dconv{size}_1", tall)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Refine a map."""
        x = F.gelu(self.conv(x))
        pooled = (F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1))
        first, second = (torch.sigmoid(self.ca["fc2"](F.relu(self.ca["fc1"](one)))) for one in pooled)
        x = (first + second) * x
        start = self.dconv5_5(x)
        short = self.dconv7_1(self.dconv1_7(start))
        middle = self.dconv11_1(self.dconv1_11(start))
        long = self.dconv21_1(self.dconv1_21(start))
        return self.conv(self.conv(short + middle + long + start) * x)


class ParNetAttention(nn.Module):
    """Two convolutions and a gated shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sse = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())
        self.conv1x1 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        self.conv3x3 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        return F.silu(self.conv1x1(x) + self.conv3x3(x) + self.sse(x) * x)
