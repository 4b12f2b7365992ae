"""The project's blocks and how their rows are read: YOLOv5's, and torch's layers that its YAMLs name."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from models.blocks import convolutions, ghost, pooling, transformer


@dataclass(frozen=True)
class Block:
    """How rows of one module are read.

    Attributes:
        cls: The class.
        kind: "scaled": args[0] is the output channels, times the width multiple; "repeated": the same, and the
            number of repeats goes in as third argument; "kept": channels unchanged, args passed as they are;
            "channels": built from the channel count alone; "concat"; "contract" and "expand".
        stride: The name of the argument by which the map shrinks, or None.
        factor: A further fixed factor by which it shrinks.
    """

    cls: type[nn.Module]
    kind: str
    stride: str | None = None
    factor: Fraction = Fraction(1)


BLOCKS: dict[str, Block] = {
    "Conv": Block(convolutions.Conv, "scaled", "s"),
    "DWConv": Block(convolutions.DWConv, "scaled", "s"),
    "Focus": Block(convolutions.Focus, "scaled", "s", Fraction(2)),
    "Bottleneck": Block(convolutions.Bottleneck, "scaled"),
    "CrossConv": Block(convolutions.CrossConv, "scaled", "s"),
    "SPP": Block(pooling.SPP, "scaled"),
    "SPPF": Block(pooling.SPPF, "scaled"),
    "C3SPP": Block(pooling.C3SPP, "scaled"),
    "GhostConv": Block(ghost.GhostConv, "scaled", "s"),
    "GhostBottleneck": Block(ghost.GhostBottleneck, "scaled", "s"),
    "DWConvTranspose2d": Block(convolutions.DWConvTranspose2d, "scaled", "1/s"),
    "nn.ConvTranspose2d": Block(nn.ConvTranspose2d, "scaled", "1/stride"),
    "BottleneckCSP": Block(convolutions.BottleneckCSP, "repeated"),
    "C3": Block(convolutions.C3, "repeated"),
    "C3x": Block(convolutions.C3x, "repeated"),
    "C3TR": Block(transformer.C3TR, "repeated"),
    "C3Ghost": Block(ghost.C3Ghost, "repeated"),
    "Concat": Block(convolutions.Concat, "concat"),
    "Contract": Block(convolutions.Contract, "contract", "gain"),
    "Expand": Block(convolutions.Expand, "expand", "1/gain"),
    "nn.Upsample": Block(nn.Upsample, "kept", "1/scale_factor"),
    "nn.MaxPool2d": Block(nn.MaxPool2d, "kept", "stride"),
    "nn.ZeroPad2d": Block(nn.ZeroPad2d, "kept"),
    "nn.Identity": Block(nn.Identity, "kept"),
    "nn.BatchNorm2d": Block(nn.BatchNorm2d, "channels"),
}
"""Every module that a row may name, besides the attention modules and Detect."""
