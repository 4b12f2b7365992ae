"""Global context (GCNet): one attention-weighted mean of all positions, transformed and applied to every position.

Cao et al. 2019, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", arXiv:1904.11492.
The default is the widely used form with a sigmoid scale; `fusion="add"` adds the transformed context as the paper
does. `variant="authors"` is the authors' ContextBlock: tensors in their order, added, its last layer zero.
"""

from torch import Tensor, nn

from models.attention.parts.base import Attention, check_choice, float32, zero
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap
from models.attention.parts.tensors import check_number


class ContextMLP(nn.Module):
    """Two 1x1 layers with layer normalisation over the hidden channels and ReLU between, (B, C, 1, 1) to itself."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, 1, 1)."""
        hidden = self.norm(self.fc1(x).flatten(1))[..., None, None]
        return self.fc2(hidden.relu())


@register("GlobalContext")
class GlobalContext(Attention):
    """x * s(M(c)) or x + M(c), with c = sum over n of softmax_n(w . x_n + b) x_n, (B, C, 1, 1).

    M is a bottleneck of round(C * ratio) channels with layer normalisation and ReLU. With `fusion="both"` the map is
    scaled, then shifted, each by an M of its own. Gates: affinity (the softmax) makes the context; channel is the
    scale, for fusions that have one.

    Identity start: the last layer of each M is zero and the scale is 2 s(z), exactly 1; only the (B, C, 1, 1) scale is
    doubled. The last layers learn from the first step, the others from the second. The authors' block starts as the
    identity in any case.

    Args:
        channels: Number of channels C.
        ratio: Width of the bottleneck as a fraction of the channels.
        fusion: "scale", "add" or "both"; None means "scale", or "add" for the authors' variant.
        variant: "release" or "authors" (which only adds).
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, arXiv:1904.11492"
    YEAR = 2019
    GATES = ("affinity", "channel")
    POSITIONAL = ("ratio",)

    def __init__(
        self,
        channels: int,
        *,
        ratio: float = 1 / 8,
        fusion: str | None = None,
        variant: str = "release",
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_number("ratio", ratio, most=1.0)
        check_choice("variant", variant, ("release", "authors"))
        fusion = fusion or ("scale" if variant == "release" else "add")
        check_choice("fusion", fusion, ("scale", "add", "both") if variant == "release" else ("add",))
        hidden = max(1, int(channels * ratio + 0.5))
        self.mlp_scale = self.mlp_add = self.channel_add_conv = None
        attention = nn.Conv2d(channels, 1, 1)
        if variant == "authors":
            self.conv_mask = attention
            self.channel_add_conv = nn.Sequential(
                nn.Conv2d(channels, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
            )
            zero(self.channel_add_conv[3])
        else:
            self.conv_attn = attention
            if fusion != "add":
                self.mlp_scale = ContextMLP(channels, hidden)
            if fusion != "scale":
                self.mlp_add = ContextMLP(channels, hidden)
            self._initialise(attention)

    def _initialise(self, attention: nn.Conv2d) -> None:
        nn.init.kaiming_normal_(attention.weight, mode="fan_in", nonlinearity="relu")
        if self.mlp_add is not None:
            nn.init.zeros_(self.mlp_add.fc2.weight)
        if self.identity:
            for mlp in filter(None, (self.mlp_scale, self.mlp_add)):
                zero(mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """Scale or shift a map (B, C, H, W)."""
        if self.mlp_scale is None:
            affinity = self._affinity(self._mask()(x).flatten(1), x)
            context = x.flatten(2) @ affinity.to(x.dtype).unsqueeze(2)  # (B, C, 1)
            shift = self.mlp_add if self.channel_add_conv is None else self.channel_add_conv
            return x + shift(context.unsqueeze(3)).to(x.dtype)
        shared, mask = SharedMap(x), self._mask()
        logits = shared.dot_channels(mask.weight.flatten(1).expand(x.shape[0], -1)) + mask.bias
        context = shared.dot_positions(self._affinity(logits, x))[..., None, None]
        gate = self.mlp_scale(context).flatten(1).sigmoid()
        gate = 2 * gate if self.identity else gate
        self._report(channel=gate[..., None, None])
        y = shared.gate(channel=gate)
        return y if self.mlp_add is None else y + self.mlp_add(context).to(x.dtype)

    def _mask(self) -> nn.Conv2d:
        """The layer that gives each position its logit."""
        return self.conv_attn if self.channel_add_conv is None else self.conv_mask

    def _affinity(self, logits: Tensor, x: Tensor) -> Tensor:
        """Softmax over the positions, (B, HW) in float32."""
        affinity = float32(logits).softmax(1)
        self._report(affinity=lambda: affinity.view(-1, 1, *x.shape[2:]))
        return affinity
