"""Attention modules: one mechanism, one file, entered in `models.attention.parts.registry` under its canonical name."""

from models.attention.bam import BAM
from models.attention.bi_level_routing import BiLevelRoutingAttention
from models.attention.caa import CAA
from models.attention.cbam import CBAM
from models.attention.ccnet import CrissCrossAttention
from models.attention.coordinate import CoordAtt
from models.attention.cot import CoTAttention
from models.attention.cpca import CPCA
from models.attention.danet import CAM, PAM, DANet
from models.attention.deformable import DAttention
from models.attention.double_attention import DoubleAttention
from models.attention.eca import ECA
from models.attention.effective_se import EffectiveSE
from models.attention.ela import ELA
from models.attention.ema import EMA
from models.attention.gam import GAM
from models.attention.global_context import GlobalContext
from models.attention.lsk import LSKBlock
from models.attention.lska import LSKA
from models.attention.mhsa import MHSA
from models.attention.mlca import MLCA
from models.attention.nam import NAM
from models.attention.parnet import ParNetAttention
from models.attention.parts.gates import attention_layers, attention_maps, collect_gates
from models.attention.parts.registry import (
    ALIASES,
    ATTENTION,
    accepted_options,
    attention_summary,
    canonical_name,
    create_attention,
    list_attention,
    register,
)
from models.attention.polarized import ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention
from models.attention.s2 import S2Attention
from models.attention.se import SE
from models.attention.selective_kernel import SKAttention
from models.attention.sge import SpatialGroupEnhance
from models.attention.shuffle import ShuffleAttention
from models.attention.simam import SimAM
from models.attention.timm_layer import Timm
from models.attention.triplet import TripletAttention

__all__ = [
    "ALIASES",
    "ATTENTION",
    "BAM",
    "CAA",
    "CAM",
    "CBAM",
    "CPCA",
    "ECA",
    "ELA",
    "EMA",
    "GAM",
    "LSKA",
    "MHSA",
    "MLCA",
    "NAM",
    "PAM",
    "SE",
    "BiLevelRoutingAttention",
    "CoTAttention",
    "CoordAtt",
    "CrissCrossAttention",
    "DANet",
    "DAttention",
    "DoubleAttention",
    "EffectiveSE",
    "GlobalContext",
    "LSKBlock",
    "ParNetAttention",
    "ParallelPolarizedSelfAttention",
    "S2Attention",
    "SKAttention",
    "SequentialPolarizedSelfAttention",
    "ShuffleAttention",
    "SimAM",
    "SpatialGroupEnhance",
    "Timm",
    "TripletAttention",
    "accepted_options",
    "attention_layers",
    "attention_maps",
    "attention_summary",
    "canonical_name",
    "collect_gates",
    "create_attention",
    "list_attention",
    "register",
]
