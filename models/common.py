"""Everything a YAML row may name: YOLOv5's blocks, every attention module, and the classes that you write here.

Any `nn.Module` in this file is found by its name, in a row and by `--attention`: `(channels, …)` keeps its map,
`(c1, c2, …)` makes a map of c2 channels; CONTRIBUTING.md has the recipe. A file of your own will do as well:
`--module my_attention.py`.
"""

from importlib import import_module
from typing import Any

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
from models.blocks.deformable import C3DCN, DCNv2
from models.blocks.ghost import C3Ghost, GhostBottleneck, GhostConv
from models.blocks.joins import BiFPNAdd, BiFPNConcat
from models.blocks.more_stages import SPPCSPC, AttentionC3, AttentionConv, C2f, MixConv2d, SimSPPF
from models.blocks.pooling import C3SPP, SPP, SPPF
from models.blocks.reparameterised import RepConv, RepVGGBlock
from models.blocks.resampling import CARAFE, SpaceToDepth
from models.blocks.slim_neck import GSBottleneck, GSConv, VoVGSCSP
from models.blocks.transformer import C3TR, TransformerBlock, TransformerLayer

__all__ = [
    "AttentionC3",
    "AttentionConv",
    "BiFPNAdd",
    "BiFPNConcat",
    "Bottleneck",
    "BottleneckCSP",
    "C2f",
    "C3",
    "C3DCN",
    "C3Ghost",
    "C3SPP",
    "C3TR",
    "C3x",
    "CARAFE",
    "Concat",
    "Contract",
    "Conv",
    "CrossConv",
    "DCNv2",
    "DWConv",
    "DWConvTranspose2d",
    "Expand",
    "Focus",
    "GSBottleneck",
    "GSConv",
    "GhostBottleneck",
    "GhostConv",
    "MixConv2d",
    "RepConv",
    "RepVGGBlock",
    "SPP",
    "SPPCSPC",
    "SPPF",
    "SimSPPF",
    "SpaceToDepth",
    "TransformerBlock",
    "TransformerLayer",
    "VoVGSCSP",
    *_attention,
]

# What YOLOv5 has here beside the blocks. It is in `engine`, above this room, so it is named and not imported.
_ABOVE = {
    "AutoShape": "engine.detection.detector.Detector",
    "Detections": "engine.detection.results.Results",
    "Detector": "engine.detection.detector.Detector",
    "DetectMultiBackend": "engine.inference.original_call.DetectMultiBackend",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _ABOVE:
        raise AttributeError(f"'models.common' of this project has no {name!r}; `help(utils)` lists what there is")
    module, _, attribute = _ABOVE[name].rpartition(".")
    return getattr(import_module(module), attribute)
