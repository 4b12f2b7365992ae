"""The project's blocks and how their rows are read: YOLOv5's, those of its relatives, and torch's layers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from models.blocks import (
    convolutions,
    deformable,
    ghost,
    joins,
    more_stages,
    pooling,
    reparameterised,
    resampling,
    slim_neck,
    transformer,
)


@dataclass(frozen=True)
class Block:
    """How rows of one module are read.

    Attributes:
        cls: The class.
        kind: "scaled": args[0] is the output channels, times the width multiple; "repeated": the same, and the
            number of repeats goes in as third argument; "kept": channels unchanged, args passed as they are;
            "channels": built from the channel count alone; "concat"; "contract" and "expand"; "signature": read like a
            class of the user, by the names of its parameters, and tried out.
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
    "SimSPPF": Block(more_stages.SimSPPF, "scaled"),
    "SPPCSPC": Block(more_stages.SPPCSPC, "scaled"),
    "MixConv2d": Block(more_stages.MixConv2d, "scaled", "s"),
    "AttentionConv": Block(more_stages.AttentionConv, "scaled", "s"),
    "AttentionC3": Block(more_stages.AttentionC3, "repeated"),
    "C2f": Block(more_stages.C2f, "repeated"),
    "DCNv2": Block(deformable.DCNv2, "scaled", "s"),
    "C3DCN": Block(deformable.C3DCN, "repeated"),
    "GSConv": Block(slim_neck.GSConv, "scaled", "s"),
    "GSBottleneck": Block(slim_neck.GSBottleneck, "scaled", "s"),
    "VoVGSCSP": Block(slim_neck.VoVGSCSP, "repeated"),
    "RepVGGBlock": Block(reparameterised.RepVGGBlock, "scaled", "s"),
    "RepConv": Block(reparameterised.RepConv, "scaled", "s"),
    "SpaceToDepth": Block(resampling.SpaceToDepth, "signature"),
    "CARAFE": Block(resampling.CARAFE, "signature"),
    "BiFPNConcat": Block(joins.BiFPNConcat, "signature"),
    "BiFPNAdd": Block(joins.BiFPNAdd, "signature"),
    "nn.Upsample": Block(nn.Upsample, "kept", "1/scale_factor"),
    "nn.MaxPool2d": Block(nn.MaxPool2d, "kept", "stride"),
    "nn.ZeroPad2d": Block(nn.ZeroPad2d, "kept"),
    "nn.Identity": Block(nn.Identity, "kept"),
    "nn.BatchNorm2d": Block(nn.BatchNorm2d, "channels"),
}
"""Every module that a row may name, besides the attention modules and Detect."""

BLOCK_ALIASES = {
    "BiFPN_Concat2": "BiFPNConcat",
    "BiFPN_Concat3": "BiFPNConcat",
    "BiFPN_Concat": "BiFPNConcat",
    "Concat_BiFPN": "BiFPNConcat",
    "BiFPN_Add2": "BiFPNAdd",
    "BiFPN_Add3": "BiFPNAdd",
    "BiFPN_Add": "BiFPNAdd",
    "Concat_bifpn": "BiFPNAdd",  # it adds, whatever it is called
    "space_to_depth": "SpaceToDepth",
    "SPD": "SpaceToDepth",
    "ReOrg": "SpaceToDepth",
    "DCN": "DCNv2",
    "DCNV2": "DCNv2",
    "DCNConv": "DCNv2",
    "C3_DCN": "C3DCN",
    "C3_DCNv2": "C3DCN",
    "C3_DCNV2": "C3DCN",
    "C3DCNv2": "C3DCN",
    "C3_DCNConv": "C3DCN",
    "DCNC3": "C3DCN",
    "VoV_GSCSP": "VoVGSCSP",
    "GSConvs": "GSConv",
    "RepVGG": "RepVGGBlock",
    "RepVGGBlockv6": "RepVGGBlock",
    "SPPFCSPC": "SPPCSPC",  # its pools of 5 one after another are those of 5, 9 and 13
}
"""Names used in existing forks -> the block's own."""

BLOCKS.update({alias: BLOCKS[name] for alias, name in BLOCK_ALIASES.items()})
