"""Attention modules: one mechanism, one file, entered in `models.attention.registry` under its canonical name."""

# The core and the published modules.
from models.attention.cbam import CBAM
from models.attention.coordinate import CoordAtt

# Further modules met in YOLO forks.
# (end of the further modules)
from models.attention.gates import attention_maps, collect_gates
from models.attention.registry import (
    ALIASES,
    ATTENTION,
    accepted_options,
    canonical_name,
    create_attention,
    list_attention,
)

__all__ = [
    "ALIASES",
    "ATTENTION",
    "CBAM",
    "CoordAtt",
    "accepted_options",
    "attention_maps",
    "canonical_name",
    "collect_gates",
    "create_attention",
    "list_attention",
]
