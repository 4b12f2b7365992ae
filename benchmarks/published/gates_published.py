"""The published attention modules written plainly, the opponents of `benchmarks/attention/module_speed.py`.

Each is the formula of the widely used release in straightforward torch operations, with the release's state-dict names,
so that the weights of the project's module load and both must give the same result. Two are mended, as the release
does not run at the measured sizes: BAM pads by its dilation, CBAM has a 7x7 kernel. The modules that compare positions
or channels with one another are in `published_affinity.py`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from benchmarks.published.affinity_published import CAM, PAM, CrissCrossAttention, DANet


class SE(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 16, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // 16, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels = x.shape[:2]
        gate = self.fc(self.pool(x).view(batch, channels)).view(batch, channels, 1, 1)
        return x * gate.expand_as(x)


class ECA(nn.Module):
    """Efficient channel attention, with the paper's kernel size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = 5 if channels >= 128 else 3
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        pooled = self.pool(x).squeeze(-1).permute(0, 2, 1)
        gate = torch.sigmoid(self.conv(pooled)).permute(0, 2, 1).unsqueeze(-1)
        return x * gate.expand_as(x)


class CBAM(nn.Module):
    """Channel gate, then spatial gate, with the release's residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        bottleneck = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.ca = nn.ModuleDict({"se": bottleneck})
        self.sa = nn.ModuleDict({"conv": nn.Conv2d(2, 1, 7, padding=3)})
        self.largest = nn.AdaptiveMaxPool2d(1)
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        bottleneck = self.ca["se"]
        y = x * torch.sigmoid(bottleneck(self.largest(x)) + bottleneck(self.mean(x)))
        pooled = torch.cat([torch.max(y, 1, keepdim=True)[0], torch.mean(y, 1, keepdim=True)], 1)
        return y * torch.sigmoid(self.sa["conv"](pooled)) + x


class BAM(nn.Module):
    """Channel and spatial branch added inside one sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        channel: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for i in range(3):
            channel[f"fc{i}"] = nn.Linear(hidden if i else channels, hidden)
            channel[f"bn{i}"] = nn.BatchNorm1d(hidden)
            channel[f"relu{i}"] = nn.ReLU()
        channel["last_fc"] = nn.Linear(hidden, channels)
        spatial: OrderedDict[str, nn.Module] = OrderedDict(conv_reduce1=nn.Conv2d(channels, hidden, 1))
        spatial["bn_reduce1"] = nn.BatchNorm2d(hidden)
        spatial["relu_reduce1"] = nn.ReLU()
        for i in range(3):
            spatial[f"conv_{i}"] = nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2)
            spatial[f"bn_{i}"] = nn.BatchNorm2d(hidden)
            spatial[f"relu_{i}"] = nn.ReLU()
        spatial["last_conv"] = nn.Conv2d(hidden, 1, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.ca = nn.ModuleDict({"ca": nn.Sequential(channel)})
        self.sa = nn.ModuleDict({"sa": nn.Sequential(spatial)})

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        spatial = self.sa["sa"](x).expand_as(x)
        channel = self.ca["ca"](self.pool(x)).unsqueeze(-1).unsqueeze(-1).expand_as(x)
        return (1 + torch.sigmoid(spatial + channel)) * x


class ShuffleAttention(nn.Module):
    """Grouped channel and spatial gates and a channel shuffle."""

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.groups = groups
        half = channels // (2 * groups)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gn = nn.GroupNorm(half, half)
        self.cweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, half, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels, height, width = x.shape
        first, second = x.reshape(batch * self.groups, -1, height, width).chunk(2, dim=1)
        first = first * torch.sigmoid(self.cweight * self.pool(first) + self.cbias)
        second = second * torch.sigmoid(self.sweight * self.gn(second) + self.sbias)
        out = torch.cat([first, second], 1).reshape(batch, 2, channels // 2, height, width)
        return out.permute(0, 2, 1, 3, 4).reshape(batch, channels, height, width)


class _Polarized(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.ch_wv = nn.Conv2d(channels, half, 1)
        self.ch_wq = nn.Conv2d(channels, 1, 1)
        self.ch_wz = nn.Conv2d(half, channels, 1)
        self.ln = nn.LayerNorm(channels)
        self.sp_wv = nn.Conv2d(channels, half, 1)
        self.sp_wq = nn.Conv2d(channels, half, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def channel_gate(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1)."""
        batch, channels = x.shape[:2]
        values = self.ch_wv(x).reshape(batch, channels // 2, -1)
        weights = torch.softmax(self.ch_wq(x).reshape(batch, -1, 1), 1)
        context = self.ch_wz(torch.matmul(values, weights).unsqueeze(-1))
        return torch.sigmoid(self.ln(context.reshape(batch, 1, channels))).reshape(batch, channels, 1, 1)

    def spatial_gate(self, x: Tensor) -> Tensor:
        """(B, 1, H, W)."""
        batch, channels, height, width = x.shape
        values = self.sp_wv(x).reshape(batch, channels // 2, -1)
        query = torch.softmax(self.pool(self.sp_wq(x)).reshape(batch, 1, channels // 2), -1)
        return torch.sigmoid(torch.matmul(query, values).reshape(batch, 1, height, width))


class ParallelPolarizedSelfAttention(_Polarized):
    """The two gated maps added."""

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        return self.spatial_gate(x) * x + self.channel_gate(x) * x


class SequentialPolarizedSelfAttention(_Polarized):
    """The spatial gate from the channel-gated map."""

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        y = self.channel_gate(x) * x
        return self.spatial_gate(y) * y


class SpatialGroupEnhance(nn.Module):
    """Per group a spatial gate from the likeness to the mean."""

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.groups = groups
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels, height, width = x.shape
        grouped = x.reshape(batch * self.groups, -1, height, width)
        t = (grouped * self.pool(grouped)).sum(1).view(batch * self.groups, -1)
        t = t - t.mean(1, keepdim=True)
        t = (t / (t.std(1, keepdim=True) + 1e-5)).view(batch, self.groups, height, width)
        t = (t * self.weight + self.bias).view(batch * self.groups, 1, height, width)
        return (grouped * torch.sigmoid(t)).view(batch, channels, height, width)


class CoordAtt(nn.Module):
    """Row and column gates from adaptive pools."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.relu = nn.ReLU6(inplace=True)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        height, width = x.shape[2:]
        y = self.bn1(self.conv1(torch.cat([self.pool_h(x), self.pool_w(x).permute(0, 1, 3, 2)], 2)))
        y = y * (self.relu(y + 3) / 6)
        row, column = torch.split(y, [height, width], 2)
        return x * self.conv_w(column.permute(0, 1, 3, 2)).sigmoid() * self.conv_h(row).sigmoid()


class GAM(nn.Module):
    """Linear factor per position, then a gate from two 7x7 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.channel_attention = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 7, padding=3),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels, height, width = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(batch, -1, channels)
        factor = self.channel_attention(flat).view(batch, height, width, channels).permute(0, 3, 1, 2)
        y = x * factor
        return y * self.spatial_attention(y).sigmoid()


PUBLISHED: dict[str, type[nn.Module]] = {
    cls.__name__: cls
    for cls in (
        *(SE, ECA, CBAM, BAM, ShuffleAttention, ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention),
        *(SpatialGroupEnhance, CoordAtt, GAM, PAM, CAM, DANet, CrissCrossAttention),
    )
}
