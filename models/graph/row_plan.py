"""From a YAML row to a module: what each block takes, what it gives, and by how much it shrinks the map.

A row's module is looked up in `BLOCKS`, then among the attention modules, then among the user's own classes, then as a
block with attention, `C3<attention>`; nothing is evaluated. `plan_row` builds nothing for good, so that a whole graph
can be checked first: only a class that is read by its signature is tried out, since nothing else says what it makes of
a map.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from files.kinds import is_mapping
from models.attention import canonical_name, create_attention
from models.attention.parts.base import OUT_CHANNELS
from models.attention.parts.registry import (
    check_attention,
    check_options,
    positional_options,
)
from models.graph.block_table import BLOCKS, Block
from models.graph.module_names import attending, is_attention, nearest_modules
from models.graph.row_arguments import bind_arguments, is_number, is_whole
from models.user_modules import find_class, output_of, read_signature


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
        return _plan_by_signature(row, own, ours=False)
    if (found := attending(row.module)) is not None:
        return _plan_block(row._replace(options={"attention": found[1], **row.options}), BLOCKS[found[0]])
    raise ValueError(f"unknown module {row.module!r}; nearest: {', '.join(nearest_modules(row.module)) or 'none'}")


def scaled_channels(channels: int, row: Row) -> int:
    """Channels as written, times the width multiple, rounded up to the channel multiple."""
    if channels == row.head_channels:
        return channels
    return math.ceil(channels * row.width_multiple / row.channel_multiple) * row.channel_multiple


def _plan_block(row: Row, block: Block) -> RowPlan:
    if block.kind == "signature":
        return _plan_by_signature(row, block.cls, ours=True)
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


def _plan_by_signature(row: Row, cls: type[nn.Module], *, ours: bool) -> RowPlan:
    """A class that says by the names of its parameters what it takes; without output channels in the row it keeps them.

    Where it reads several rows it gets the channels of each, and the list of their maps.
    """
    signature, repeats, args = read_signature(cls), row.number, list(row.args)
    if signature.channels == 2:
        if ours and not signature.positional and len(args) == 2:  # a fork's `[c1, c2]`
            row = _as_written(args.pop(0), row)
        c2 = scaled_channels(args.pop(0), row) if args and is_whole(args[0]) else row.inputs[0]
        args.insert(0, c2)
    if signature.channels:
        args.insert(0, row.inputs[0] if len(row.inputs) == 1 else row.inputs)
    if signature.repeats:
        args.insert(2, repeats)
        repeats = 1
    bound = partial(bind_arguments, cls, row.module, args, row.options, _written(row), ours=ours)
    if ours:
        with torch.device("meta"):
            cls(*bound().args, **bound().kwargs)  # its own errors, before those of a class that is tried out
    output = output_of(cls, bound().args, bound().kwargs, row.inputs)
    _check_repeats(repeats, row, output.channels)
    return RowPlan(partial(_make, cls, bound, repeats), output.channels, output.stride**repeats)


def _as_written(c1: Any, row: Row) -> Row:  # noqa: ANN401  (YAML value)
    """The row with channels that are not scaled, where the input's as written are those of the map."""
    if c1 == row.inputs[0]:
        return row._replace(width_multiple=1.0)
    if is_whole(c1):
        _check_channels(c1, row)
    return row


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
    if "attention" not in inspect.signature(block.cls).parameters:
        raise ValueError(f"{block.cls.__name__} takes no `attention`; C3, C2f and Bottleneck do")
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
