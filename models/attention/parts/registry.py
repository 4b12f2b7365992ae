"""The table of attention modules: canonical names, aliases, construction by name."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

from models.attention.parts.base import Attention

ATTENTION: dict[str, type[Attention]] = {}
"""Canonical name -> class, filled by `register`."""

ALIASES: dict[str, str] = {
    # The core and the published modules.
    "SEAttention": "SE",
    "SELayer": "SE",
    "CBAMBlock": "CBAM",
    "BAMBlock": "BAM",
    "ECAAttention": "ECA",
    "eca_layer": "ECA",
    "SA": "ShuffleAttention",
    "sa_layer": "ShuffleAttention",
    "PSA_p": "ParallelPolarizedSelfAttention",
    "ParallelPSA": "ParallelPolarizedSelfAttention",
    "PSA_s": "SequentialPolarizedSelfAttention",
    "SequentialPSA": "SequentialPolarizedSelfAttention",
    "PolarizedSelfAttention": "SequentialPolarizedSelfAttention",
    "SGE": "SpatialGroupEnhance",
    "CA": "CoordAtt",
    "CoordinateAttention": "CoordAtt",
    "GAM_Attention": "GAM",
    "GAMAttention": "GAM",
    "PAM_Module": "PAM",
    "CAM_Module": "CAM",
    "DANetAttention": "DANet",
    "CCNet": "CrissCrossAttention",
    "CCA": "CrissCrossAttention",
    # Further modules met in YOLO forks.
    "EMAttention": "EMA",
    "EMA_attention": "EMA",
    "GC": "GlobalContext",
    "GCNet": "GlobalContext",
    "GCModule": "GlobalContext",
    "ContextBlock": "GlobalContext",
    "ContextBlock2d": "GlobalContext",
    "Triplet": "TripletAttention",
    "ESE": "EffectiveSE",
    "eSE": "EffectiveSE",
    "EffectiveSEModule": "EffectiveSE",
    "NAMAttention": "NAM",
    "SK": "SKAttention",
    "SKNet": "SKAttention",
    "SelectiveKernel": "SKAttention",
    "A2": "DoubleAttention",
    "A2Attention": "DoubleAttention",
    "A2Net": "DoubleAttention",
    "LSK": "LSKBlock",
    "LSKblock": "LSKBlock",
    "BoTAttention": "MHSA",
    "EfficientLocalAttention": "ELA",
    "ContextAnchorAttention": "CAA",
    "CoT": "CoTAttention",
    "ParNet": "ParNetAttention",
    "S2": "S2Attention",
    "BRA": "BiLevelRoutingAttention",
    "BiFormer": "BiLevelRoutingAttention",
    "DAT": "DAttention",
    "DeformableAttention": "DAttention",
    "TimmAttention": "Timm",
}
"""Names used in existing forks -> canonical name."""

_Class = TypeVar("_Class", bound=type[Attention])


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator that enters an attention module under its canonical name.

    Raises:
        ValueError: The name is taken, by a class or by an alias.
    """

    def enter(cls: _Class) -> _Class:
        if name in ATTENTION:
            raise ValueError(f"attention {name!r} is already {ATTENTION[name].__module__}.{ATTENTION[name].__name__}")
        if name in ALIASES:
            raise ValueError(f"attention {name!r} is already an alias of {ALIASES[name]!r}")
        ATTENTION[name] = cls
        return cls

    return enter


def list_attention() -> list[str]:
    """Canonical names of every attention module, sorted."""
    return sorted(ATTENTION)


def canonical_name(name: str) -> str:
    """Canonical name of a module, given that name or an alias.

    Raises:
        ValueError: Nothing goes by this name; the message gives the nearest known names.
    """
    if name in ATTENTION:
        return name
    if name in ALIASES:
        return ALIASES[name]
    known = {known.lower(): known for known in (*ATTENTION, *ALIASES)}
    near = [known[match] for match in get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(list_attention())}"
    raise ValueError(f"Expected the name of an attention module but got {name!r}; {hint}")


def accepted_options(name: str) -> dict[str, Any]:
    """Options of a module with their defaults, without `start`.

    Raises:
        ValueError: The name is unknown.
    """
    parameters = inspect.signature(ATTENTION[canonical_name(name)]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "start"}


def _passes_options_on(canonical: str) -> bool:
    """Whether a module hands unknown options to the layer that it wraps, which checks them itself."""
    parameters = inspect.signature(ATTENTION[canonical]).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def create_attention(name: str, channels: int, /, *, start: str = "paper", **options: Any) -> Attention:  # noqa: ANN401
    """Build an attention module by name.

    Args:
        name: Canonical name or alias.
        channels: Number of channels of the map, kept by the module.
        start: "paper", or "identity": returns its input exactly until trained.
        options: The module's own options; defaults are in `accepted_options(name)`.

    Raises:
        ValueError: Unknown name, start or option, or a value or channel count that the module cannot take.
    """
    canonical = canonical_name(name)
    accepted = accepted_options(canonical)
    unknown = sorted(set(options) - set(accepted))
    if unknown and not _passes_options_on(canonical):
        takes = (
            f"accepted: {', '.join(f'{key} ({value!r})' for key, value in accepted.items())}" if accepted else "none"
        )
        raise ValueError(f"Expected options of {canonical} but got {', '.join(map(repr, unknown))}; {takes}")
    return ATTENTION[canonical](channels, start=start, **options)
