"""What attention modules are made of: their base class, the registry, and operators with a fast backward.

A module's own file shows what its paper says; the operators' plain twins are in the tests.
"""

from models.attention.parts.layers import PooledConv, PooledConvNorm, authors_gates, depthwise
from models.attention.parts.reductions import CHANNELS, HEIGHT, POSITIONS, WIDTH
from models.attention.parts.registry import register
from models.attention.parts.shared_map import SharedMap

__all__ = [
    "CHANNELS",
    "HEIGHT",
    "POSITIONS",
    "WIDTH",
    "PooledConv",
    "PooledConvNorm",
    "SharedMap",
    "authors_gates",
    "depthwise",
    "register",
]
