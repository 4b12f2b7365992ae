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

from models.attention.parts import POSITIONS, SharedMap, register
from models.attention.parts.base import Attention, check_choice, float32, hidden_width, zero
from models.attention.parts.layers import weight_and_bias
from models.attention.parts.reductions import mean


class _Polarized(Attention):
    """Parameters and gates of both forms."""

    PAPER = "Polarized Self-Attention, arXiv:2107.00782"
    YEAR = 2021
    GATES = ("channel", "spatial")
    INERT = ("ch_wq.bias",)

    def __init__(self, channels: int, *, variant: str = "release", start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_choice("variant", variant, ("release", "authors"))
        self.authors = variant == "authors"
        half = hidden_width(channels, 2)
        if self.authors:
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

    def _mean_and_channel_gate(self, x: SharedMap) -> tuple[Tensor, Tensor]:
        """Mean of x over the positions, (B, C), and s(Wz sum_n p_n Wv x_n), (B, C, 1, 1), p = softmax_n(wq . x_n)."""
        query, value = (self.conv_q_right, self.conv_v_right) if self.authors else (self.ch_wq, self.ch_wv)
        average, logits = x.mean_and_dot(query.weight.view(1, 1, -1).expand(x.shape[0], -1, -1))  # (B, 1, N)
        logits = float32(logits) if query.bias is None else float32(logits) + query.bias
        context = _project(value, x.dot_positions(logits.softmax(2)).squeeze(1))  # (B, C/2)
        if self.authors:
            gate = self.conv_up(context[..., None, None])
        else:
            gate = self.ln(_project(self.ch_wz, context))[..., None, None]
        return average.flatten(1), gate.sigmoid()

    def _spatial_logit(self, x: SharedMap, average: Tensor, channel: Tensor | float = 1.0) -> Tensor:
        """Logit of the release's spatial gate of x times a channel gate (B, C): (B, 1, H, W)."""
        query = float32(_project(self.sp_wq, average * channel)).softmax(1).to(average.dtype)  # (B, C/2)
        carried = query @ self.sp_wv.weight.flatten(1) * channel  # (B, C)
        logits = x.dot_channels(carried.unsqueeze(1)) + (query @ weight_and_bias(self.sp_wv)[1]).view(-1, 1, 1)
        return logits.unflatten(2, x.shape[2:])


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

    TOGETHER = "sum"

    @staticmethod
    def _authors_expansion(channels: int, half: int) -> nn.Module:
        return nn.Conv2d(half, channels, 1, bias=False)

    def _last_layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_up, self.conv_v_left) if self.authors else (self.ln, self.sp_wv)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        shared = SharedMap(x)
        average, channel = self._mean_and_channel_gate(shared)
        logit = (self._authors_spatial_logit if self.authors else self._spatial_logit)(shared, average)
        spatial = logit.sigmoid()
        self._report(channel=channel, spatial=spatial)
        return shared.gate(channel, spatial, added=True)

    def _authors_spatial_logit(self, x: SharedMap, average: Tensor) -> Tensor:
        query = _project(self.conv_q_left, average) @ self.conv_v_left.weight.flatten(1)  # (B, C)
        logits = float32(x.dot_channels(query.unsqueeze(1)))  # (B, 1, N)
        weights = logits.softmax(2)
        weights = weights - torch.zeros_like(logits).softmax(2) if self.identity else weights
        return weights.unflatten(2, x.shape[2:])


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

    @staticmethod
    def _authors_expansion(channels: int, half: int) -> nn.Module:
        hidden = hidden_width(half, 4)
        return nn.Sequential(
            nn.Conv2d(half, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def _last_layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_up.get_submodule("3"), self.conv_q_left) if self.authors else (self.ln, self.sp_wv)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        scale = 2 if self.identity else 1
        shared = SharedMap(x)
        average, channel = self._mean_and_channel_gate(shared)
        channel = scale * channel
        if self.authors:
            y = shared.gate(channel)
            spatial = scale * self._authors_spatial_logit(y).sigmoid().to(x.dtype)
            self._report(channel=channel, spatial=spatial)
            return y * spatial
        spatial = scale * self._spatial_logit(shared, average, channel.flatten(1)).sigmoid()
        self._report(channel=channel, spatial=spatial)
        return shared.gate(channel, spatial)

    def _authors_spatial_logit(self, y: Tensor) -> Tensor:
        query = _project(self.conv_q_left, mean(y, POSITIONS).flatten(1))  # (B, C/2)
        values = float32(self.conv_v_left(y)).flatten(2).softmax(2).to(query.dtype)  # (B, C/2, N)
        return (query.unsqueeze(1) @ values).unflatten(2, y.shape[2:])


def _project(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)
