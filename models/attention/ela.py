"""ELA: gates along the rows and along the columns from one-dimensional convolutions, without reducing channels.

Xu, Wan 2024, "ELA: Efficient Local Attention for Deep Convolutional Neural Networks", arXiv:2403.01123.
Two widths are in use. The release of YOLO forks (the default) takes one full 1x1 layer with bias for both directions,
263,680 parameters at 512 channels; the paper (`variant="authors"`) a depthwise convolution of 7 per direction, 9,216.
Deviation: directional means instead of adaptive pooling, which exports to ONNX wrongly.
"""

from torch import Tensor, nn

from models.attention.parts.base import Attention, check_choice, check_divisible, check_integer, check_odd, zero
from models.attention.parts.registry import register
from models.attention.parts.strips import gate_strips
from models.attention.parts.tensors import group_norm


@register("ELA")
class ELA(Attention):
    """x * a_h * a_w, with a_h = s(GN(conv(mean over W))) (B, C, H, 1) and a_w = s(GN(conv(mean over H))) (B, C, 1, W).

    Identity start: the normalisations' weights and biases are zero and both gates are 2 s(z), exactly 1; the factor 2
    touches the gates only. The normalisations learn from the first step, the convolutions from the second.

    Args:
        channels: Number of channels C, a multiple of `groups`.
        variant: "release" or "authors".
        kernel_size: Odd length of the convolutions; None means 1, or 7 for the authors' variant.
        groups: Groups of the normalisation.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "ELA: Efficient Local Attention for Deep Convolutional Neural Networks, arXiv:2403.01123"
    YEAR = 2024
    GATES = ("row", "column")

    def __init__(
        self,
        channels: int,
        *,
        variant: str = "release",
        kernel_size: int | None = None,
        groups: int = 16,
        start: str = "paper",
    ) -> None:
        super().__init__(channels, start=start)
        check_choice("variant", variant, ("release", "authors"))
        kernel_size = (1 if variant == "release" else 7) if kernel_size is None else kernel_size
        check_odd("kernel_size", kernel_size)
        check_integer("groups", groups)
        check_divisible(channels, groups, "groups")
        pad, norms = kernel_size // 2, []
        self.conv1x1 = self.conv_h = self.conv_w = self.norm_h = self.norm_w = None
        if variant == "release":
            norms = [nn.GroupNorm(groups, channels)]
            self.conv1x1 = nn.Sequential(nn.Conv1d(channels, channels, kernel_size, padding=pad), norms[0])
        else:
            norms = [nn.GroupNorm(groups, channels) for _ in range(2)]
            self.norm_h, self.norm_w = norms
            self.conv_h = nn.Conv1d(channels, channels, kernel_size, padding=pad, groups=channels, bias=False)
            self.conv_w = nn.Conv1d(channels, channels, kernel_size, padding=pad, groups=channels, bias=False)
        if self.identity:
            zero(*norms)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map (B, C, H, W)."""
        return gate_strips(x, self._gates_of)

    def _gates_of(self, means_w: Tensor, means_h: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, C, H, 1) and (B, C, 1, W) to gates of the same shapes."""
        row = self._gate(means_w.squeeze(3), self.conv_h, self.norm_h).unsqueeze(3)
        column = self._gate(means_h.squeeze(2), self.conv_w, self.norm_w).unsqueeze(2)
        self._report(row=row, column=column)
        return row, column

    def _gate(self, line: Tensor, conv: nn.Conv1d | None, norm: nn.GroupNorm | None) -> Tensor:
        if self.conv1x1 is not None:
            conv, norm = self.conv1x1
        gate = group_norm(conv(line), norm).sigmoid()  # (B, C, L)
        return 2 * gate if self.identity else gate
