"""ECA: a channel gate from a short convolution along the channel means.

Wang et al. 2020, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", arXiv:1910.03151.
As the widely used release, whose convolution has a bias that the paper and the authors' code do not have
(`variant="authors"` or `bias=False`). Deviation: without a kernel size the paper's adaptive rule applies; the
release and the authors' code take 3.
"""

from math import log2

from torch import Tensor, nn

from models.attention.parts.base import Attention, check_choice, check_flag, check_odd, zero
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap


def adaptive_kernel_size(channels: int) -> int:
    """The paper's odd kernel size for a channel count: (log2(C) + 1) / 2, cut to an integer, made odd upwards."""
    size = int(abs((log2(channels) + 1) / 2))
    return size if size % 2 else size + 1


@register("ECA")
class ECA(Attention):
    """x * s(conv1d(mean(x))), the mean over H and W, the convolution along the channels, s the sigmoid.

    Identity start: the convolution (and its bias) is zero and the gate is 2 s(z), so it is exactly 1; the factor 2
    touches the (B, C) gate only. Every parameter learns from the first step.

    Args:
        channels: Number of channels C.
        kernel_size: Odd number of neighbouring channels; None: the paper's adaptive rule.
        bias: Give the convolution a bias; None: True for the release, False for the authors' variant.
        variant: "release" or "authors".
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks, arXiv:1910.03151"
    YEAR = 2020
    GATES = ("channel",)
    POSITIONAL = ("kernel_size",)

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int | None = None,
        bias: bool | None = None,
        variant: str = "release",
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_choice("variant", variant, ("release", "authors"))
        size = adaptive_kernel_size(channels) if kernel_size is None else kernel_size
        check_odd("kernel_size", size)
        with_bias = (variant == "release") if bias is None else bias
        check_flag("bias", with_bias)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=with_bias)
        if self.identity:
            zero(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        shared = SharedMap(x)
        gate = self.conv(shared.mean().unsqueeze(1)).sigmoid().squeeze(1)  # (B, C)
        if self.identity:
            gate = 2 * gate
        self._report(channel=gate[..., None, None])
        return shared.gate(channel=gate)
