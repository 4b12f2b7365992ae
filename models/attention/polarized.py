"""PSA: a channel gate from a softmax over positions and a spatial gate from a softmax over channels.

Liu et al. 2021, "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", arXiv:2107.00782.
The default is the widely used release, which follows the paper's order of softmaxes. `variant="authors"` is the
authors' code: convolutions without bias, no normalisation in the parallel form, softmax over the positions in the
spatial branch; its tensors have the authors' names.

Linear maps commute with pooling and with a weighted mean, so no map of channels // 2 is ever built: the mean context
is formed on x and projected afterwards, and the spatial query is carried back through the value projection.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, check_choice, float32, hidden_width, zero
from models.attention.parts.reductions import mean_positions
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap

VARIANTS = ("release", "authors")
PAPER = "Polarized Self-Attention, arXiv:2107.00782"


class _Polarized(Attention):
    """Parameters and gates of both forms."""

    PAPER = PAPER
    YEAR = 2021
    GATES = ("channel", "spatial")

    def __init__(self, channels: int, *, variant: str = "release", start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_choice("variant", variant, VARIANTS)
        self.variant = variant
        half = hidden_width(channels, 2)
        if variant == "authors":
            self.conv_q_right = nn.Conv2d(channels, 1, 1, bias=False)
            self.conv_v_right = nn.Conv2d(channels, half, 1, bias=False)
            self.conv_up = self._authors_expansion(channels, half)
            self.conv_q_left = nn.Conv2d(channels, half, 1, bias=False)
            self.conv_v_left = nn.Conv2d(channels, half, 1, bias=False)
            for conv in (self.conv_q_right, self.conv_v_right, self.conv_q_left, self.conv_v_left):
                nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
        else:
            self.ch_wv = nn.Conv2d(channels, half, 1)
            self.ch_wq = nn.Conv2d(channels, 1, 1)
            self.ch_wz = nn.Conv2d(half, channels, 1)
            self.ln = nn.LayerNorm(channels)
            self.sp_wv = nn.Conv2d(channels, half, 1)
            self.sp_wq = nn.Conv2d(channels, half, 1)
        if self.identity:
            zero(*self._last_layers())

    @staticmethod
    def _authors_expansion(channels: int, half: int) -> nn.Module:
        raise NotImplementedError

    def _last_layers(self) -> tuple[nn.Module, ...]:
        raise NotImplementedError

    def _channel_gate(self, x: SharedMap) -> Tensor:
        """(B, C)."""
        authors = self.variant == "authors"
        query, value = (self.conv_q_right, self.conv_v_right) if authors else (self.ch_wq, self.ch_wv)
        logits = float32(x.dot_channels(query.weight.view(1, -1).expand(x.shape[0], -1)))  # (B, N)
        if query.bias is not None:
            logits = logits + query.bias
        context = _project(value, x.dot_positions(logits.softmax(1)))  # (B, C/2)
        if authors:
            return self.conv_up(context[..., None, None]).flatten(1).sigmoid()
        return self.ln(_project(self.ch_wz, context)).sigmoid()

    def _spatial_logit(self, x: SharedMap, channel: Tensor | None = None) -> Tensor:
        """Logit of the release's spatial gate on x, or on x times a gate (B, C): (B, N)."""
        mean = x.mean()
        if channel is not None:
            mean = mean * channel
        query = float32(_project(self.sp_wq, mean)).softmax(1).to(mean.dtype)  # (B, C/2)
        carried = query @ self.sp_wv.weight.flatten(1)  # (B, C)
        if channel is not None:
            carried = carried * channel
        return x.dot_channels(carried) + query @ self.sp_wv.bias[:, None]

    def _report_both(self, channel: Tensor, spatial: Tensor, shape: torch.Size) -> None:
        self._report(channel=channel[..., None, None], spatial=lambda: spatial.view(-1, 1, *shape[2:]))


@register("ParallelPolarizedSelfAttention")
class ParallelPolarizedSelfAttention(_Polarized):
    """x * (a + m), with a (B, C, 1, 1) and m (B, 1, H, W): the two gated maps added, in one pass.

    a = s(LayerNorm(Wz sum_n p_n (Wv x_n + bv) + bz)), p = softmax over positions of wq . x;
    m = s(q . (Wv' x_n + bv')), q = softmax over channels of Wq' mean(x) + bq', s the sigmoid. In the authors' variant
    a has no normalisation, and m = s(softmax over positions of (Wq' mean(x)) . (Wv' x_n)).

    Identity start: the normalisation's affine (authors: Wz) and Wv' are zero, so a and m are exactly 0.5 and their sum
    is 1; for the authors' variant the uniform softmax is subtracted inside s. Nothing is rescaled. These layers learn
    from the first step, the others from the second.

    The gates handed out are added, not multiplied.

    Args:
        channels: Number of channels C.
        variant: "release" or "authors".
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    INERT = ("ch_wq.bias",)

    @staticmethod
    def _authors_expansion(channels: int, half: int) -> nn.Module:
        return nn.Conv2d(half, channels, 1, bias=False)

    def _last_layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_up, self.conv_v_left) if self.variant == "authors" else (self.ln, self.sp_wv)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        shared = SharedMap(x)
        channel = self._channel_gate(shared)
        logit = self._authors_spatial_logit(shared) if self.variant == "authors" else self._spatial_logit(shared)
        spatial = logit.sigmoid()
        self._report_both(channel, spatial, x.shape)
        return shared.gate(channel, spatial, added=True)

    def _authors_spatial_logit(self, x: SharedMap) -> Tensor:
        query = _project(self.conv_q_left, x.mean())  # (B, C/2)
        logits = float32(x.dot_channels(query @ self.conv_v_left.weight.flatten(1)))  # (B, N)
        weights = logits.softmax(1)
        return weights - torch.zeros_like(logits).softmax(1) if self.identity else weights


@register("SequentialPolarizedSelfAttention")
class SequentialPolarizedSelfAttention(_Polarized):
    """y = x * a, then y * m with m computed from y; a and m as in the parallel form.

    In the authors' variant a = s(conv(relu(LayerNorm(conv(Wv sum_n p_n x_n))))) and
    m = s((Wq' mean(y)) . softmax over positions of Wv' y), the softmax separately for each of the C/2 channels.

    Identity start: the gates are 2 s(z), and the normalisation's affine (authors: the last convolution of a) and Wv'
    (authors: Wq') are zero, so each is exactly 1; the factors touch the gates only. These layers learn from the first
    step, the others from the second.

    Args:
        channels: Number of channels C.
        variant: "release" or "authors".
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    INERT = ("ch_wq.bias",)

    @staticmethod
    def _authors_expansion(channels: int, half: int) -> nn.Module:
        hidden = hidden_width(half, 4)
        return nn.Sequential(
            nn.Conv2d(half, hidden, 1), nn.LayerNorm((hidden, 1, 1)), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def _last_layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_up[3], self.conv_q_left) if self.variant == "authors" else (self.ln, self.sp_wv)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        shared = SharedMap(x)
        scale = 2 if self.identity else 1
        channel = scale * self._channel_gate(shared)
        if self.variant == "authors":
            y = shared.gate(channel)
            spatial = scale * self._authors_spatial_logit(y).sigmoid().to(x.dtype)
            self._report_both(channel, spatial, x.shape)
            return y * spatial.unflatten(1, (1, *x.shape[2:]))
        spatial = scale * self._spatial_logit(shared, channel).sigmoid()
        self._report_both(channel, spatial, x.shape)
        return shared.gate(channel, spatial)

    def _authors_spatial_logit(self, y: Tensor) -> Tensor:
        query = _project(self.conv_q_left, mean_positions(y))  # (B, C/2)
        values = float32(self.conv_v_left(y)).flatten(2).softmax(2).to(query.dtype)  # (B, C/2, N)
        return (query.unsqueeze(1) @ values).squeeze(1)


def _project(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)
