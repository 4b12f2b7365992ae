"""How often a map must be read and written at least: the floor of a module's time.

A pass is one read or one write of the whole map. What is smaller than the map (gates, hidden maps, weights) does not
count, nor does arithmetic. The map does not fit in a core's cache, so it is read again whenever something is needed
that depends on all of it. `benchmarks/attention/module_speed.py` measures a pass as half a copy of the map.
"""

from __future__ import annotations

from typing import NamedTuple


class Passes(NamedTuple):
    """Reads and writes of a whole map, and why so many."""

    forward: int
    training: int  # forward and backward
    why: str


_LOCAL = Passes(
    2,
    5,
    "The result depends on a neighbourhood: read x, write y. Backward: read the incoming gradient g and x, write x's "
    "gradient.",
)
_ONE_STAGE = Passes(
    3,
    7,
    "A gate from sums over x: read x, read it again to gate it, write y. Backward: read g and x for the gate's "
    "gradient; read g again and write x's gradient, in which the share of the sums is constant along positions.",
)
_SCALED = Passes(
    3,
    8,
    "As one stage, but the gate's gradient varies with each value of x: the last step of backward reads x once more.",
)
_TWO_STAGES = Passes(
    4,
    10,
    "A second gate from sums over what the first one let through: one more read of x. Backward: read g and x for the "
    "second gate, both again for the first, both again to write x's gradient.",
)
_GLOBAL = Passes(
    3,
    8,
    "Products or weights that depend on the whole map: read x to collect, read it to distribute, write y. Backward: "
    "read g and x to collect, both again to distribute, write x's gradient.",
)

KINDS: dict[str, tuple[Passes, tuple[str, ...]]] = {
    "local": (_LOCAL, ("CAA", "LSKA", "LSKBlock")),
    "one stage": (
        _ONE_STAGE,
        ("SE", "ECA", "EffectiveSE", "CoordAtt", "ELA", "MLCA", "TripletAttention", "GlobalContext"),
    ),
    "one stage, scaled": (_SCALED, ("BAM", "ShuffleAttention", "SimAM", "NAM")),
    "two stages": (
        _TWO_STAGES,
        (
            *("CBAM", "SpatialGroupEnhance", "EMA"),
            *("ParallelPolarizedSelfAttention", "SequentialPolarizedSelfAttention"),
        ),
    ),
    "global": (
        _GLOBAL,
        (
            *("GAM", "PAM", "CAM", "DANet", "CrissCrossAttention", "SKAttention", "DoubleAttention", "MHSA", "CPCA"),
            *("CoTAttention", "ParNetAttention", "S2Attention", "BiLevelRoutingAttention", "DAttention"),
        ),
    ),
}
"""Kind -> passes and the modules of that kind."""

PASSES: dict[str, Passes] = {name: passes for passes, names in KINDS.values() for name in names}
"""Module -> passes."""
