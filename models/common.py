"""Everything a YAML row may name: YOLOv5's blocks and every attention module."""

from models.attention import *  # noqa: F403  (the registry's own __all__: every attention module by name)
from models.attention import __all__ as _attention
from models.blocks.convolutions import (
    C3,
    Bottleneck,
    BottleneckCSP,
    C3x,
    Concat,
    Contract,
    Conv,
    CrossConv,
    DWConv,
    DWConvTranspose2d,
    Expand,
    Focus,
)
from models.blocks.ghost import C3Ghost, GhostBottleneck, GhostConv
from models.blocks.pooling import C3SPP, SPP, SPPF
from models.blocks.transformer import C3TR, TransformerBlock, TransformerLayer
from models.graph.row_plan import BLOCKS, known_modules

__all__ = [
    "BLOCKS",
    "C3",
    "C3SPP",
    "C3TR",
    "SPP",
    "SPPF",
    "Bottleneck",
    "BottleneckCSP",
    "C3Ghost",
    "C3x",
    "Concat",
    "Contract",
    "Conv",
    "CrossConv",
    "DWConv",
    "DWConvTranspose2d",
    "Expand",
    "Focus",
    "GhostBottleneck",
    "GhostConv",
    "TransformerBlock",
    "TransformerLayer",
    "known_modules",
    *_attention,
]
