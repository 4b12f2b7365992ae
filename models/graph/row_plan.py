"""From a YAML row to a module: what each block takes, what it gives, and by how much it shrinks the map.

A row's module is looked up in `BLOCKS`, then among the attention modules, then among the user's own classes, then as
`C3<attention>`; nothing is evaluated. `plan_row` builds nothing for good, so that a whole graph can be checked first:
only a class of the user is tried out, since nothing else says what it makes of a map.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from files.kinds import is_mapping
from models import common
from models.attention import ALIASES, ATTENTION, canonical_name, create_attention
from models.attention.parts.base import OUT_CHANNELS
from models.attention.parts.registry import (
    attention_class,
    check_attention,
    check_free,
    check_options,
    positional_options,
    taken,
)
from models.blocks import convolutions
from models.graph.block_table import BLOCKS, Block
from models.graph.row_arguments import bind_arguments, is_number, is_whole
from models.user_modules import add_table, find_class, names, output_of, read_signature

add_table(common)


class Row(NamedTuple):
    """A row with its place in the graph resolved."""

    module: str
    number: int  # repeats, after the depth multiple
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    inputs: tuple[int, ...]  # channels of each input
    width_multiple: float
    channel_multiple: int
    head_channels: int  # anchors * (5 + classes): a row of exactly these channels is an output and is not scaled


class RowPlan(NamedTuple):
    """What a row will be."""

    make: Callable[[], nn.Module]
    channels: int
    stride: Fraction  # input size / output size
    attention: str | None = None  # canonical name, for a row that is an attention module

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the row's state dict, found without memory where its class can be built without values."""
        try:
            with torch.device("meta"):
                state = self.make().state_dict()
        except (RuntimeError, NotImplementedError):  # a class of the user that reads a value
            state = self.make().state_dict()
        return {name: tuple(tensor.shape) for name, tensor in state.items()}


def known_modules() -> list[str]:
    """Every name that a row may have: blocks, attention modules, their aliases, the user's classes, and Detect."""
    return sorted({*BLOCKS, *ATTENTION, *ALIASES, *names(), "Detect"})


def is_attention(module: str) -> bool:
    """Whether a row of this name is an attention module, by canonical name or alias."""
    return module not in BLOCKS and attention_class(module) is not None


def inner_attention(module: str) -> str | None:
    """The attention module inside the bottlenecks of `C3<attention>`; None for every other name."""
    inner = module.removeprefix("C3")
    return inner if inner != module and find_class(module) is None and is_attention(inner) else None


def plan_row(row: Row) -> RowPlan:
    """Check a row and say what it will be.

    Raises:
        ValueError: If the module is unknown or an argument does not fit; the caller adds file and row.
    """
    if row.module in BLOCKS:
        return _plan_block(row, BLOCKS[row.module])
    if is_attention(row.module):
        return _plan_attention(row)
    if (own := find_class(row.module)) is not None:
        return _plan_user_block(row, own)
    if (inner := inner_attention(row.module)) is not None:
        return _plan_block(row._replace(options={"attention": inner, **row.options}), BLOCKS["C3"])
    raise ValueError(f"unknown module {row.module!r}; nearest: {', '.join(nearest_modules(row.module)) or 'none'}")


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


def scaled_channels(channels: int, row: Row) -> int:
    """Channels as written, times the width multiple, rounded up to the channel multiple."""
    if channels == row.head_channels:
        return channels
    return math.ceil(channels * row.width_multiple / row.channel_multiple) * row.channel_multiple


def _plan_block(row: Row, block: Block) -> RowPlan:
    if block.kind != "concat" and len(row.inputs) != 1:
        raise ValueError(f"expected one row to read but got {len(row.inputs)}")
    if block.kind == "concat" and row.number != 1:
        raise ValueError(f"expected number 1 but got {row.number}")
    repeats = row.number
    args = _block_arguments(row, block)
    if block.kind == "repeated":
        args.insert(2, repeats)
        repeats = 1
    options = dict(row.options)
    if "attention" in options:
        options["attention"] = _inner_attention(options["attention"], block)
    bound = partial(bind_arguments, block.cls, row.module, args, options, _written(row))
    stride = _stride(block, bound().arguments)
    channels = _out_channels(row, block, args, stride)
    _check_repeats(repeats, row, channels)
    return RowPlan(partial(_make, block.cls, bound, repeats), channels, stride**repeats)


def _plan_user_block(row: Row, cls: type[nn.Module]) -> RowPlan:
    """A class of the user that takes channels of input and output; without the latter in the row it keeps them.

    Where it reads several rows it gets the channels of each, and the list of their maps.
    """
    args, repeats = list(row.args), row.number
    c2 = scaled_channels(args.pop(0), row) if args and is_whole(args[0]) else row.inputs[0]
    args = [row.inputs[0] if len(row.inputs) == 1 else row.inputs, c2, *args]
    if read_signature(cls).repeats:
        args.insert(2, repeats)
        repeats = 1
    bound = partial(bind_arguments, cls, row.module, args, row.options, _written(row), ours=False)
    output = output_of(cls, bound().args, bound().kwargs, row.inputs)
    _check_repeats(repeats, row, output.channels)
    return RowPlan(partial(_make, cls, bound, repeats), output.channels, output.stride**repeats)


def _written(row: Row) -> str:
    return f"{list(row.args)!r}{f' {dict(row.options)!r}' if row.options else ''}"


def _check_repeats(repeats: int, row: Row, channels: int) -> None:
    if repeats > 1 and (channels,) != row.inputs:
        inputs = ", ".join(map(str, row.inputs))
        raise ValueError(f"{repeats} repeats need as many input as output channels but got {inputs} and {channels}")


def _make(cls: type[nn.Module], bound: Callable[[], inspect.BoundArguments], repeats: int) -> nn.Module:
    given = [bound() for _ in range(repeats)]  # each with an activation of its own
    modules = [cls(*arguments.args, **arguments.kwargs) for arguments in given]
    return modules[0] if repeats == 1 else nn.Sequential(*modules)


def _block_arguments(row: Row, block: Block) -> list[Any]:
    """The constructor's positional arguments, without the repeats."""
    if block.kind in ("scaled", "repeated"):
        return [row.inputs[0], scaled_channels(_channel_argument(row), row), *row.args[1:]]
    return [row.inputs[0]] if block.kind == "channels" else list(row.args)


def _out_channels(row: Row, block: Block, args: list[Any], stride: Fraction) -> int:
    if block.kind in ("scaled", "repeated"):
        return args[1]
    if block.kind == "concat":
        return sum(row.inputs)
    if block.kind in ("contract", "expand"):
        return int(row.inputs[0] * stride**2)  # an expansion's stride is below one
    return row.inputs[0]


def _channel_argument(row: Row) -> int:
    first = row.args[0] if row.args else None
    if not is_whole(first):
        raise ValueError(
            f"expected the output channels, from 1 to 65536, as first argument but got {list(row.args)!r}; "
            f"e.g. [{row.inputs[0]}]"
        )
    return first


def _stride(block: Block, arguments: Mapping[str, Any]) -> Fraction:
    if block.stride is None:
        return block.factor
    name = block.stride.removeprefix("1/")
    value = arguments.get(name)
    if value is None and block.cls is nn.MaxPool2d:
        value = arguments["kernel_size"]
    if not is_number(value) or Fraction(value).limit_denominator(64) == 0:
        raise ValueError(f"expected `{name}` to be a positive number but got {value!r}")
    factor = Fraction(value).limit_denominator(64)
    return block.factor * (1 / factor if block.stride.startswith("1/") else factor)


def _inner_attention(value: Any, block: Block) -> Callable[[int], nn.Module]:  # noqa: ANN401  (YAML value)
    """`CoordAtt` or `{CoordAtt: {reduction: 16}}` as a maker of attention modules."""
    if block.cls is not convolutions.C3 and block.cls is not convolutions.Bottleneck:
        raise ValueError(f"{block.cls.__name__} takes no `attention`; C3 and Bottleneck do")
    name, options = next(iter(value.items())) if is_mapping(value) and len(value) == 1 else (value, None)
    if not isinstance(name, str) or not (options is None or is_mapping(options)):
        raise ValueError(f"attention: expected a name, or one name with its options, but got {value!r}")
    options = dict(options or {})
    check_options(name, options)
    return lambda channels: create_attention(name, channels, **options)


def _plan_attention(row: Row) -> RowPlan:
    """An attention row: `[]`, a mapping of options, or a fork's row with the channels first."""
    if len(row.inputs) != 1:
        raise ValueError(f"expected one row to read but got {len(row.inputs)}")
    name, channels = canonical_name(row.module), row.inputs[0]
    args = list(row.args)
    if args and isinstance(args[0], int) and not isinstance(args[0], bool):
        _check_channels(args.pop(0), row)
    positional = positional_options(name)
    options = dict(row.options)
    if len(args) > len(positional):
        raise ValueError(f"{name} takes at most {len(positional)} arguments after the channels but got {args!r}")
    if args and positional[0] == OUT_CHANNELS and args[0] == row.args[0]:
        args.pop(0)  # a fork's `[inp, oup, …]`
    positional = [option for option in positional if option != OUT_CHANNELS]
    for option, value in zip(positional, args, strict=False):
        if option in options:
            raise ValueError(f"option {option!r} is given twice: {value!r} and {options[option]!r}")
        options[option] = value
    check_attention(name, channels, options)

    def make() -> nn.Module:
        modules = [create_attention(name, channels, **options) for _ in range(row.number)]
        return modules[0] if row.number == 1 else nn.Sequential(*modules)

    return RowPlan(make, channels, Fraction(1), name)


def _check_channels(written: int, row: Row) -> None:
    scaled = scaled_channels(written, row)
    if scaled != row.inputs[0]:
        raise ValueError(
            f"the channels {written} become {scaled} by the width multiple {row.width_multiple}, but the row it reads "
            f"has {row.inputs[0]}; leave them out, args [] or [{{option: value}}], and name the options"
        )
