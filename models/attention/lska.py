"""LSKA: a large kernel as a chain of four one-dimensional depthwise convolutions, whose output scales the map.

Lau et al. 2023, "Large Separable Kernel Attention", arXiv:2309.01439.
Same values as the authors' code. Deviation: an unknown kernel size is an error instead of a module without layers.
"""

from torch import Tensor, nn

from models.attention.parts.base import Attention, zero
from models.attention.parts.registry import register
from models.attention.parts.tensors import scale_map

KERNELS = {7: (3, 3, 2), 11: (3, 5, 2), 23: (5, 7, 3), 35: (5, 11, 3), 41: (5, 13, 3), 53: (5, 17, 3)}
"""Total reach -> local kernel, dilated kernel, its dilation."""


@register("LSKA")
class LSKA(Attention):
    """x * conv1(v_d(h_d(v(h(x))))), h and v a horizontal and a vertical depthwise convolution, h_d and v_d dilated.

    The reported gate is the factor of the map, which no sigmoid bounds.

    Identity start: conv1 is zero and the factor is 1 + conv1(...), applied in the same pass. conv1 learns from the
    first step, the others from the second.

    Args:
        channels: Number of channels C.
        kernel_size: Total reach: 7, 11, 23, 35, 41 or 53.
        start: "paper" or "identity".

    Raises:
        ValueError: An argument is out of range.
    """

    PAPER = "Large Separable Kernel Attention, arXiv:2309.01439"
    YEAR = 2023
    GATES = ("full",)
    POSITIONAL = ("kernel_size",)

    def __init__(self, channels: int, *, kernel_size: int = 7, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        if isinstance(kernel_size, bool) or kernel_size not in KERNELS:
            raise ValueError(
                f"Expected `kernel_size` to be one of {', '.join(map(str, KERNELS))} but got {kernel_size!r}"
            )
        local, wide, dilation = KERNELS[kernel_size]
        self.conv0h = _depthwise(channels, (1, local))
        self.conv0v = _depthwise(channels, (local, 1))
        self.conv_spatial_h = _depthwise(channels, (1, wide), dilation)
        self.conv_spatial_v = _depthwise(channels, (wide, 1), dilation)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        if self.identity:
            zero(self.conv1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map (B, C, H, W)."""
        factor = self.conv_spatial_v(self.conv_spatial_h(self.conv0v(self.conv0h(x))))
        factor = self.conv1(factor)
        self._report(full=lambda: 1 + factor if self.identity else factor)
        return scale_map(x, factor, identity=self.identity)


def _depthwise(channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
