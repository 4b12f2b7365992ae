"""What a row's module may be called: a block, an attention module, a class of the user, or a block with attention."""

from __future__ import annotations

import difflib
import re

from torch import nn

from models import common
from models.attention import ALIASES, ATTENTION
from models.attention.parts.registry import attention_class, check_free, taken
from models.graph.block_table import BLOCK_ALIASES, BLOCKS
from models.user_modules import add_table, find_class, names

add_table(common)


def known_modules() -> list[str]:
    """Every name that a row may have: blocks, attention modules, their aliases, the user's classes, and Detect."""
    return sorted({*BLOCKS, *ATTENTION, *ALIASES, *names(), "Detect"})


def is_attention(module: str) -> bool:
    """Whether a row of this name is an attention module, by canonical name or alias."""
    return module not in BLOCKS and attention_class(module) is not None


def inner_attention(module: str) -> str | None:
    """The attention module of `C3<attention>` and its like; None for every other name."""
    found = attending(module)
    return found and found[1]


def plain_module(module: str) -> str:
    """The block that a row's module is without attention and under its own name: C3 for C3CBAM and CBAMC3."""
    found = attending(module)
    block = found[0] if found else BLOCK_ALIASES.get(module, module)
    return block.removeprefix("Attention")


def attending(module: str) -> tuple[str, str] | None:
    """The block and the attention module of a name that is made of both, as forks write it.

    `C3CBAM`, `C3_CBAM` and `C2fCBAM` have it inside their bottlenecks; `CBAMC3` and `Conv_CBAM` behind.
    """
    if module in BLOCKS or find_class(module) is not None:
        return None
    for pattern, block in _ATTENDING:
        found = re.fullmatch(pattern, module)
        if found and is_attention(found[1]):
            return block, found[1]
    return None


_ATTENDING = (
    ("C3_?(.+)", "C3"),
    ("C2f_?(.+)", "C2f"),
    ("(.+?)_?C3", "AttentionC3"),
    ("Conv_?(.+)", "AttentionConv"),
    ("(.+?)_?Conv", "AttentionConv"),
)


def is_known(module: str) -> bool:
    """Whether a row may have this name.

    Raises:
        ValueError: If a class of the user has the name of something else in this project.
    """
    check_free(module)
    own = find_class(module)
    if own is None:
        return module in (*BLOCKS, "Detect") or is_attention(module) or inner_attention(module) is not None
    if module in (*BLOCKS, "Detect"):
        raise ValueError(taken(module, own, "a block"))
    if module.startswith("C3") and _is_ours(attention_class(module[2:])):
        raise ValueError(taken(module, own, f"C3 with {module[2:]} inside"))
    return True


def _is_ours(cls: type[nn.Module] | None) -> bool:
    return cls is not None and cls.__module__.startswith("models.attention.")


def nearest_modules(module: str) -> list[str]:
    """The known names most like an unknown one, nearest first."""
    known = {name.lower(): name for name in (*known_modules(), *(f"C3{name}" for name in (*ATTENTION, *ALIASES)))}
    near = difflib.get_close_matches(module.lower(), known, n=3, cutoff=0.5)
    return [known[name] for name in near if known[name] != "Detect"]
