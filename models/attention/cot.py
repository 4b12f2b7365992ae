"""CoT: a static context from a grouped 3x3 convolution plus values weighted by what that context and the map say.

Li et al. 2021, "Contextual Transformer Networks for Visual Recognition", arXiv:2107.12292.
Same values as the widely used release, a simplification of the paper: instead of a product with each position's own
k x k weights, the k * k weights are averaged and a softmax over all positions weights the values. Deviations: the
average is taken of the last layer's weights, so its k * k times larger map never exists; odd kernels only; a single 1x1
map in training falls back to running statistics.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts.base import Attention, BatchNorm2d, check_divisible, check_odd, float32, zero
from models.attention.parts.registry import register

GROUPS = 4  # of the key convolution
FACTOR = 4  # by which the attention layers narrow 2 C


@register("CoTAttention")
class CoTAttention(Attention):
    """k + softmax_n(a) v, with k = ReLU(BN(conv(x))), v = BN(conv1x1(x)) and a = E([k; x]) (B, C, H * W).

    The softmax runs over the positions, for each channel by itself; E is 1x1, BN, ReLU, 1x1.

    Identity start: the normalisations of k and v are zero, SiLU, which has a slope at 0, takes the place of k's ReLU,
    and the input is added (one addition more than published). The normalisations learn from the first step, the others
    from the second.

    Args:
        channels: Number of channels C, a multiple of 4.
        kernel_size: Odd size of the key convolution.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Contextual Transformer Networks for Visual Recognition, arXiv:2107.12292"
    YEAR = 2021
    GATES = ("full",)
    POSITIONAL = ("kernel_size",)
    INERT = ("attention_embed.3.bias",)

    def __init__(self, channels: int, *, kernel_size: int = 3, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        check_odd("kernel_size", kernel_size)
        check_divisible(channels, GROUPS, "groups")
        self.kernel_size = kernel_size
        self.key_embed = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=GROUPS, bias=False),
            BatchNorm2d(channels),
            nn.SiLU() if self.identity else nn.ReLU(),
        )
        self.value_embed = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), BatchNorm2d(channels))
        hidden = 2 * channels // FACTOR
        self.attention_embed = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1, bias=False),
            BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, kernel_size**2 * channels, 1),
        )
        if self.identity:
            zero(self.value_embed[1], self.key_embed[1])

    def forward(self, x: Tensor) -> Tensor:
        """Add contexts of a map (B, C, H, W)."""
        key, value = self.key_embed(x).to(x.dtype), self.value_embed(x).to(x.dtype)
        logits = self._logits(torch.cat([key, x], 1))
        share = float32(logits).flatten(2).softmax(2).unflatten(2, x.shape[2:]).to(x.dtype)  # (B, C, H, W)
        self._report(full=share)
        return torch.addcmul(x + key if self.identity else key, share, value)

    def _logits(self, both: Tensor) -> Tensor:
        first, norm, relu, last = self.attention_embed
        weight = last.weight.unflatten(0, (self.channels, self.kernel_size**2)).mean(1)
        bias = last.bias.unflatten(0, (self.channels, self.kernel_size**2)).mean(1)
        return F.conv2d(relu(norm(first(both))), weight, bias)
