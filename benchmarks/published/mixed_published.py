"""The further attention modules as they are usually written, the opponents of `benchmarks/attention/module_speed.py`.

As in `published.py`, each has the release's state-dict names, so that the weights of the project's module load and both
must give the same result. Two are mended, as the release is wrong: DoubleAttention's softmaxes have their axes, and
S2Attention shifts copies. Pooled gates and strips are in `published_strips.py`, affinities in `published_affinity.py`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published.affinity_published import BiLevelRoutingAttention, DAttention
from benchmarks.published.strips_published import CAA, CPCA, ELA, LSKA, EffectiveSE, GlobalContext, ParNetAttention


class SimAM(nn.Module):
    """Energy gate without parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("strength", torch.ones(1))  # the project's constant, unused

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        count = x.shape[2] * x.shape[3] - 1
        square = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        energy = square / (4 * (square.sum(dim=[2, 3], keepdim=True) / count + 1e-4)) + 0.5
        return x * torch.sigmoid(energy)


class EMA(nn.Module):
    """Cross-spatial gate of eight groups."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 8
        self.pool_h, self.pool_w = nn.AdaptiveAvgPool2d((None, 1)), nn.AdaptiveAvgPool2d((1, None))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        (batch, _), (height, width) = x.shape[:2], x.shape[2:]
        part = x.reshape(batch * 8, -1, height, width)
        both = self.conv1x1(torch.cat([self.pool_h(part), self.pool_w(part).permute(0, 1, 3, 2)], dim=2))
        row, column = torch.split(both, [height, width], dim=2)
        u = self.gn(part * row.sigmoid() * column.permute(0, 1, 3, 2).sigmoid())
        v = self.conv3x3(part)
        of_u = torch.softmax(self.pool(u).reshape(batch * 8, 1, -1), -1)
        of_v = torch.softmax(self.pool(v).reshape(batch * 8, 1, -1), -1)
        logits = torch.matmul(of_u, v.flatten(2)) + torch.matmul(of_v, u.flatten(2))
        return (part * logits.reshape(batch * 8, 1, height, width).sigmoid()).reshape(x.shape)


class _AxisGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = {"conv": nn.Conv2d(2, 1, 7, padding=3, bias=False), "bn": nn.BatchNorm2d(1, momentum=0.01)}
        self.conv = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.max(1)[0].unsqueeze(1), x.mean(1).unsqueeze(1)], dim=1)
        return x * torch.sigmoid(self.conv["bn"](self.conv["conv"](pooled)))


class TripletAttention(nn.Module):
    """Three gates on three rotations of the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cw, self.hc, self.hw = _AxisGate(), _AxisGate(), _AxisGate()

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        first = self.cw(x.permute(0, 2, 1, 3).contiguous()).permute(0, 2, 1, 3).contiguous()
        second = self.hc(x.permute(0, 3, 2, 1).contiguous()).permute(0, 3, 2, 1).contiguous()
        return (self.hw(x) + first + second) / 3


class NAM(nn.Module):
    """Gate from batch normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        share = self.bn2.weight.detach().abs() / self.bn2.weight.detach().abs().sum()
        logits = self.bn2(x).permute(0, 2, 3, 1).contiguous() * share
        return torch.sigmoid(logits.permute(0, 3, 1, 2).contiguous()) * x


class SKAttention(nn.Module):
    """Four convolutions and a choice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for kernel in (1, 3, 5, 7):
            branch = nn.Sequential()
            branch.add_module("conv", nn.Conv2d(channels, channels, kernel, padding=kernel // 2))
            branch.add_module("bn", nn.BatchNorm2d(channels))
            branch.add_module("relu", nn.ReLU())
            self.convs.append(branch)
        hidden = max(32, channels // 16)
        self.fc = nn.Linear(channels, hidden)
        self.fcs = nn.ModuleList(nn.Linear(hidden, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the branches of a map."""
        branches = torch.stack([conv(x) for conv in self.convs])
        hidden = self.fc(branches.sum(0).mean(-1).mean(-1))
        weights = torch.stack([fc(hidden)[:, :, None, None] for fc in self.fcs]).softmax(0)
        return (weights * branches).sum(0)


class DoubleAttention(nn.Module):
    """Gather and distribute, each layer applied to the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convA, self.convB, self.convV = (nn.Conv2d(channels, 128, 1) for _ in range(3))
        self.conv_reconstruct = nn.Conv2d(128, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        a, b, v = (conv(x).flatten(2) for conv in (self.convA, self.convB, self.convV))
        descriptors = torch.bmm(a, b.softmax(2).permute(0, 2, 1))
        return self.conv_reconstruct(descriptors.matmul(v.softmax(1)).view(x.shape[0], 128, *x.shape[2:]))


class LSKBlock(nn.Module):
    """Two reaches, mixed per position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.conv_spatial = nn.Conv2d(channels, channels, 7, padding=9, groups=channels, dilation=3)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels // 2, 1) for _ in range(2))
        self.conv_squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.conv = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map."""
        near = self.conv0(x)
        near, far = self.conv1(near), self.conv2(self.conv_spatial(near))
        both = torch.cat([near, far], dim=1)
        pooled = torch.cat([both.mean(1, keepdim=True), both.max(1, keepdim=True)[0]], dim=1)
        share = self.conv_squeeze(pooled).sigmoid()
        return x * self.conv(near * share[:, 0].unsqueeze(1) + far * share[:, 1].unsqueeze(1))


class MHSA(nn.Module):
    """Self-attention with the matrix written out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        q, k, v = (conv(x).flatten(2).unflatten(1, (4, -1)) for conv in (self.query, self.key, self.value))
        weights = torch.matmul(q.permute(0, 1, 3, 2), k).softmax(-1)
        return torch.matmul(v, weights.permute(0, 1, 3, 2)).reshape(x.shape)


class MLCA(nn.Module):
    """Local and global channel gates by adaptive pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = 5 if channels >= 128 else 3
        self.conv, self.conv_local = (nn.Conv1d(1, 1, size, padding=size // 2, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map."""
        batch, channels = x.shape[:2]
        places = F.adaptive_avg_pool2d(x, 5)
        line = places.flatten(2).transpose(1, 2).reshape(batch, 1, -1)
        overall = F.adaptive_avg_pool2d(places, 1).flatten(2).transpose(1, 2)
        local = self.conv_local(line).reshape(batch, 25, channels).transpose(1, 2).reshape(batch, channels, 5, 5)
        overall = self.conv(overall).transpose(1, 2).unsqueeze(-1)
        gate = F.adaptive_avg_pool2d(overall.sigmoid(), [5, 5]) * 0.5 + local.sigmoid() * 0.5
        return x * F.adaptive_avg_pool2d(gate, list(x.shape[2:]))


class CoTAttention(nn.Module):
    """Static and dynamic context, with the k * k times larger map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        key = nn.Conv2d(channels, channels, 3, padding=1, groups=4, bias=False)
        self.key_embed = nn.Sequential(key, nn.BatchNorm2d(channels), nn.ReLU())
        self.value_embed = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        hidden = channels // 2
        self.attention_embed = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 9 * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        key, value = self.key_embed(x), self.value_embed(x).flatten(2)
        logits = self.attention_embed(torch.cat([key, x], dim=1))
        logits = logits.reshape(x.shape[0], x.shape[1], 9, *x.shape[2:]).mean(2).flatten(2)
        return key + (logits.softmax(-1) * value).view(x.shape)


class S2Attention(nn.Module):
    """Shifted copies in channels-last order."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp1 = nn.Linear(channels, channels * 3)
        self.mlp2 = nn.Linear(channels, channels)
        self.split_attention = nn.ModuleDict(
            {"mlp1": nn.Linear(channels, channels, bias=False), "mlp2": nn.Linear(channels, channels * 3, bias=False)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        channels = x.shape[1]
        first, second, third = self.mlp1(x.permute(0, 2, 3, 1)).chunk(3, -1)
        copies = torch.stack([_shift(first, (1, 1, 2, 2)), _shift(second, (2, 2, 1, 1)), third], 1)
        total = copies.flatten(2, 3).sum(1).sum(1)
        weights = self.split_attention["mlp2"](F.gelu(self.split_attention["mlp1"](total)))
        weights = weights.reshape(-1, 3, channels).softmax(1)[:, :, None, None]
        return self.mlp2((weights * copies).sum(1)).permute(0, 3, 1, 2)


def _shift(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Move the quarters of (B, H, W, C) forth, back, forth, back along their axes."""
    result, quarter = x.clone(), x.shape[-1] // 4
    for i, axis in enumerate(axes):
        part = x[..., i * quarter : (i + 1) * quarter if i < 3 else None]
        length = part.shape[axis] - 1
        to, source = (1, 0) if i % 2 == 0 else (0, 1)
        target = result[..., i * quarter : (i + 1) * quarter if i < 3 else None]
        target.narrow(axis, to, length).copy_(part.narrow(axis, source, length))
    return result


PUBLISHED_MORE: dict[str, type[nn.Module]] = {
    cls.__name__: cls
    for cls in (
        *(SimAM, EMA, TripletAttention, NAM, SKAttention, DoubleAttention, LSKBlock, MHSA, MLCA, CoTAttention),
        *(S2Attention, EffectiveSE, GlobalContext, ELA, LSKA, CAA, CPCA, ParNetAttention),
        *(BiLevelRoutingAttention, DAttention),
    )
}
