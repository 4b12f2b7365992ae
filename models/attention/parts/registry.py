"""The table of attention modules: canonical names, aliases, construction by name.

Beside the classes entered by `register`, a class of the user (see `models.user_modules`) goes by its own name if it
takes the channels of its map and no others, or no channels at all.
"""

import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.attention.parts.base import OUT_CHANNELS, STARTS, Attention, check_choice
from models.user_modules import (
    check_keeps_map,
    check_name,
    class_file,
    find_class,
    find_classes,
    names,
    read_signature,
    shown_file,
)
from models.user_modules.signature import REQUIRED

ATTENTION: dict[str, type[nn.Module]] = {}
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
    "CABlock": "CoordAtt",
    "CA_Block": "CoordAtt",
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

_Class = TypeVar("_Class", bound=type[nn.Module])


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator that enters an attention module under its canonical name.

    Any `nn.Module` that keeps its map will do. Its first parameter is the channels of the map; a second one called
    `c2` or `out_channels` gets the same. A class of one channel count that is named nowhere else needs no decorator.

    Raises:
        ValueError: The name is taken, by a class or by an alias, or this is no class of `nn.Module`.
    """
    if not isinstance(name, str):
        raise ValueError(f'@register: expected a name, @register("{getattr(name, "__name__", "MyAttention")}")')

    def enter(cls: _Class) -> _Class:
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise ValueError(f"@register({name!r}): expected a class of nn.Module but got {cls!r}")
        old = ATTENTION.get(name)
        if old is not None and (old is cls or _place(old) != _place(cls)):  # else its file was changed and run again
            raise ValueError(f"attention {name!r} is already {old.__module__}.{old.__name__}; choose another name")
        if name in ALIASES:
            raise ValueError(f"attention {name!r} is already an alias of {ALIASES[name]!r}; choose another name")
        ATTENTION[name] = cls
        return cls

    return enter


def _place(cls: type[nn.Module]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def list_attention() -> list[str]:
    """Canonical names of every registered attention module, sorted."""
    return sorted(ATTENTION)


def attention_summary(name: str) -> str:
    """What a module is, in a line: the first one of its file, or of its class where the user wrote it.

    Raises:
        ValueError: Nothing goes by this name.
    """
    cls = _class(name)
    said = (sys.modules[cls.__module__].__doc__ if issubclass(cls, Attention) else cls.__doc__) or ""
    return next(iter(said.strip().splitlines()), "")


def attention_class(name: str) -> type[nn.Module] | None:
    """The class behind a name or an alias; None if nothing that keeps its map goes by it."""
    if known := ATTENTION.get(ALIASES.get(name, name)):
        return known
    own = find_class(name)
    return own if own is not None and read_signature(own).channels < 2 else None


def check_free(name: str) -> None:
    """Check that a name means one module.

    Raises:
        ValueError: If a class of the user has it, and so has another module, or it is no module.
    """
    known = ATTENTION.get(ALIASES.get(name, name))
    if known is not None and (others := [cls for cls in find_classes(name) if cls is not known]):
        raise ValueError(taken(name, others[0], f"the module {ALIASES.get(name, name)}"))
    check_name(name)


def taken(name: str, own: type[nn.Module], by: str) -> str:
    """That a class of the user needs another name."""
    return (
        f"{shown_file(class_file(name, own))}: class {name}: the name is taken by {by} of this project; rename the "
        f"class, e.g. My{name}"
    )


def canonical_name(name: str) -> str:
    """Canonical name of a module, given that name or an alias.

    Raises:
        ValueError: Nothing goes by this name; the message gives the nearest known names.
    """
    check_free(name)
    if attention_class(name) is not None:
        return ALIASES.get(name, name)
    if find_class(name) is not None:
        raise ValueError(
            f"{name} takes the channels of input and output, so it is a block for the rows of a model YAML; if it "
            f'keeps its map, @register("{name}") above the class makes it an attention module (from models.attention '
            "import register)"
        )
    own = [own for own in names() if attention_class(own) is not None]
    known = {known.lower(): known for known in (*ATTENTION, *ALIASES, *own)}
    near = [known[match] for match in get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(list_attention())}"
    raise ValueError(
        f"Expected the name of an attention module but got {name!r}; {hint} A class of your own goes into "
        "models/common.py or a file named with --module"
    )


def accepted_options(name: str) -> dict[str, Any]:
    """Options of a module with their defaults, without `start`.

    Raises:
        ValueError: The name is unknown.
    """
    return dict(read_signature(_class(name)).options)


def positional_options(name: str) -> tuple[str, ...]:
    """The options that may follow the channels by position, in order; see `Attention.POSITIONAL`.

    Raises:
        ValueError: The name is unknown.
    """
    cls = _class(name)
    signature = read_signature(cls)
    second = (OUT_CHANNELS,) if signature.channels == 2 else ()
    return getattr(cls, "POSITIONAL", ()) or (*second, *signature.positional)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check the names of a module's options.

    Raises:
        ValueError: Unknown module, unknown option, or an option without a default that is not given.
    """
    canonical, signature = canonical_name(name), read_signature(_class(name))
    unknown = sorted(set(options) - set(signature.options) - {"start"})
    if unknown and not signature.passes_on:
        takes = ", ".join(["start", *signature.options])
        raise ValueError(f"{canonical} has no option {', '.join(map(repr, unknown))}; it takes {takes}")
    missing = [option for option, default in signature.options.items() if default is REQUIRED and option not in options]
    if missing:
        raise ValueError(f"{canonical} has no default for its option {missing[0]!r}; give it, {{{missing[0]}: …}}")


def check_attention(name: str, channels: int, options: Mapping[str, Any]) -> None:
    """`check_options`, and a class of the user has to keep a map of these channels; it is not built for good.

    Raises:
        ValueError: As `check_options`, or a class of the user fails or changes its map.
    """
    check_options(name, options)
    cls = _class(name)
    if not issubclass(cls, Attention):
        own = {option: value for option, value in options.items() if option != "start"}
        check_keeps_map(cls, (channels,) * read_signature(cls).channels, own, channels)


def create_attention(name: str, channels: int, /, *, start: str = "paper", **options: Any) -> nn.Module:  # noqa: ANN401
    """Build an attention module by name.

    Args:
        name: Canonical name or alias.
        channels: Number of channels of the map, kept by the module.
        start: "paper", or "identity": returns its input exactly until trained.
        options: The module's own options; defaults are in `accepted_options(name)`.

    Raises:
        ValueError: Unknown name, start or option, or a value or channel count that the module cannot take.
    """
    check_attention(name, channels, options)
    cls = _class(name)
    signature = read_signature(cls)
    if signature.has_start:
        return cls(channels, start=start, **options)
    check_choice("start", start, STARTS)
    module = cls(*(channels,) * signature.channels, **options)
    return _from_identity(module) if start == "identity" else module


def _class(name: str) -> type[nn.Module]:
    cls = attention_class(canonical_name(name))
    assert cls is not None  # it has a canonical name
    return cls


def _from_identity(module: nn.Module) -> nn.Module:
    """Let a class without `start` begin as the identity: x + t (module(x) - x), with a learned number t from 0.

    Nothing is known about its inside, so this is one more pass over the map. t learns from the first step, the class
    from the second. Its own parameters keep their names; t is `identity_strength`.
    """
    module.identity_strength = nn.Parameter(torch.zeros(1))
    module.register_forward_hook(_blend)
    return module


def _blend(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    strength: Any = module.identity_strength
    return torch.lerp(inputs[0], output.to(inputs[0].dtype), strength.to(inputs[0].dtype))
