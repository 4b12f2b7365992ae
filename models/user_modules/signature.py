"""What a row passes to a class, read from the names of its parameters as YOLOv5 and its forks write them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from torch import nn

REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""

# What the first parameter is called where it is the input's channels although it has a default.
_INPUT = re.compile(
    "c|c1|c_?in|ch|ch_in|channels?|dim|dim_in|d_model|inp|planes|num_channels|in_?(c|ch|channels?|dim|features|planes)"
)
# What the second one is called where it is the output's channels.
_OUTPUT = re.compile("c2|c_?out|ch_out|dim_out|oup|outp|out_?(c|ch|channels?|dim|features|planes)")


class Signature(NamedTuple):
    """The parameters of a class.

    Attributes:
        channels: How many channel counts come first: none, one of the map, which is kept, or one each of input and
            output.
        repeats: Whether the number of repeats comes next, as in `C3(c1, c2, n)`.
        options: Every other parameter and its default, `REQUIRED` where there is none.
        positional: Those of them that may be given by position, in order.
        has_start: Whether it takes `start`, "paper" or "identity".
        passes_on: Whether it takes options that it does not name.
    """

    channels: int
    repeats: bool
    options: Mapping[str, Any]
    positional: tuple[str, ...]
    has_start: bool
    passes_on: bool


@lru_cache
def read_signature(cls: type[nn.Module]) -> Signature:
    """The parameters of a class, by name.

    The first one is the map's channels if it has no default or a name such as `channels` or `c1`; the second is the
    output's if it is called `c2`, `out_channels` or the like; the third is the repeats if it is called `n`.
    """
    parameters = list(inspect.signature(cls).parameters.values())
    ordered = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_input = bool(ordered) and (ordered[0].default is REQUIRED or _INPUT.fullmatch(ordered[0].name) is not None)
    takes_output = takes_input and len(ordered) > 1 and _OUTPUT.fullmatch(ordered[1].name) is not None
    channels = takes_input + takes_output
    repeats = takes_output and len(ordered) > 2 and ordered[2].name == "n"
    start = next((p for p in parameters if p.name == "start" and p.default in ("paper", "identity")), None)
    behind = [p for p in ordered[channels + repeats :] if p is not start]
    named = [*behind, *(p for p in parameters if p.kind is p.KEYWORD_ONLY and p is not start)]
    return Signature(
        channels,
        repeats,
        {p.name: p.default for p in named},
        tuple(p.name for p in behind),
        start is not None,
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )
