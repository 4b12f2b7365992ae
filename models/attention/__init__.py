"""Attention modules: one mechanism, one file, entered in `models.attention.registry` under its canonical name."""

# The core and the published modules.
from models.attention.bam import BAM
from models.attention.cbam import CBAM
from models.attention.ccnet import CrissCrossAttention
from models.attention.coordinate import CoordAtt
from models.attention.danet import CAM, PAM, DANet
from models.attention.eca import ECA
from models.attention.gam import GAM
from models.attention.gates import attention_maps, collect_gates
from models.attention.polarized import ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention
from models.attention.registry import (
    ALIASES,
    ATTENTION,
    accepted_options,
    canonical_name,
    create_attention,
    list_attention,
)
from models.attention.se import SE
from models.attention.sge import SpatialGroupEnhance
from models.attention.shuffle import ShuffleAttention

# Further modules met in YOLO forks.
# (end of the further modules)

__all__ = [
    "ALIASES",
    "ATTENTION",
    "BAM",
    "CAM",
    "CBAM",
    "ECA",
    "GAM",
    "PAM",
    "SE",
    "CoordAtt",
    "CrissCrossAttention",
    "DANet",
    "ParallelPolarizedSelfAttention",
    "SequentialPolarizedSelfAttention",
    "ShuffleAttention",
    "SpatialGroupEnhance",
    "accepted_options",
    "attention_maps",
    "canonical_name",
    "collect_gates",
    "create_attention",
    "list_attention",
]
