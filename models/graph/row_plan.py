"""From a YAML row to a module: what each block takes, what it gives, and by how much it shrinks the map.

A row's module is looked up in `BLOCKS`, then among the attention modules, then as `C3<attention>`; nothing is
evaluated. `plan_row` answers without building anything, so that a whole graph can be checked first.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from torch import nn

from models.attention import ALIASES, ATTENTION, accepted_options, canonical_name, create_attention
from models.attention.parts.base import OUT_CHANNELS
from models.blocks import convolutions, ghost, pooling, transformer
from models.graph.row_arguments import bind_arguments, is_number, is_whole


@dataclass(frozen=True)
class Block:
    """How rows of one module are read.

    Attributes:
        cls: The class.
        kind: "scaled": args[0] is the output channels, times the width multiple; "repeated": the same, and the
            number of repeats goes in as third argument; "kept": channels unchanged, args passed as they are;
            "channels": built from the channel count alone; "concat"; "contract" and "expand".
        stride: The name of the argument by which the map shrinks, or None.
        factor: A further fixed factor by which it shrinks.
    """

    cls: type[nn.Module]
    kind: str
    stride: str | None = None
    factor: Fraction = Fraction(1)


BLOCKS: dict[str, Block] = {
    "Conv": Block(convolutions.Conv, "scaled", "s"),
    "DWConv": Block(convolutions.DWConv, "scaled", "s"),
    "Focus": Block(convolutions.Focus, "scaled", "s", Fraction(2)),
    "Bottleneck": Block(convolutions.Bottleneck, "scaled"),
    "CrossConv": Block(convolutions.CrossConv, "scaled", "s"),
    "SPP": Block(pooling.SPP, "scaled"),
    "SPPF": Block(pooling.SPPF, "scaled"),
    "C3SPP": Block(pooling.C3SPP, "scaled"),
    "GhostConv": Block(ghost.GhostConv, "scaled", "s"),
    "GhostBottleneck": Block(ghost.GhostBottleneck, "scaled", "s"),
    "DWConvTranspose2d": Block(convolutions.DWConvTranspose2d, "scaled", "1/s"),
    "nn.ConvTranspose2d": Block(nn.ConvTranspose2d, "scaled", "1/stride"),
    "BottleneckCSP": Block(convolutions.BottleneckCSP, "repeated"),
    "C3": Block(convolutions.C3, "repeated"),
    "C3x": Block(convolutions.C3x, "repeated"),
    "C3TR": Block(transformer.C3TR, "repeated"),
    "C3Ghost": Block(ghost.C3Ghost, "repeated"),
    "Concat": Block(convolutions.Concat, "concat"),
    "Contract": Block(convolutions.Contract, "contract", "gain"),
    "Expand": Block(convolutions.Expand, "expand", "1/gain"),
    "nn.Upsample": Block(nn.Upsample, "kept", "1/scale_factor"),
    "nn.MaxPool2d": Block(nn.MaxPool2d, "kept", "stride"),
    "nn.ZeroPad2d": Block(nn.ZeroPad2d, "kept"),
    "nn.Identity": Block(nn.Identity, "kept"),
    "nn.BatchNorm2d": Block(nn.BatchNorm2d, "channels"),
}
"""Every module that a row may name, besides the attention modules and Detect."""


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


def known_modules() -> list[str]:
    """Every name that a row may have: blocks, attention modules, their aliases, and Detect."""
    return sorted({*BLOCKS, *ATTENTION, *ALIASES, "Detect"})


def is_attention(module: str) -> bool:
    """Whether a row of this name is an attention module, by canonical name or alias."""
    return module not in BLOCKS and (module in ATTENTION or module in ALIASES)


def plan_row(row: Row) -> RowPlan:
    """Check a row and say what it will be.

    Raises:
        ValueError: If the module is unknown or an argument does not fit; the caller adds file and row.
    """
    if row.module in BLOCKS:
        return _plan_block(row, BLOCKS[row.module])
    if is_attention(row.module):
        return _plan_attention(row)
    inner = row.module.removeprefix("C3")
    if inner != row.module and is_attention(inner):
        return _plan_block(row._replace(options={"attention": inner, **row.options}), BLOCKS["C3"])
    raise ValueError(f"unknown module {row.module!r}; nearest: {', '.join(nearest_modules(row.module)) or 'none'}")


def is_known(module: str) -> bool:
    """Whether a row other than the last may have this name."""
    return module in BLOCKS or is_attention(module) or (module.startswith("C3") and is_attention(module[2:]))


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
    c1, repeats = row.inputs[0], row.number
    args = _block_arguments(row, block)
    if block.kind == "repeated":
        args.insert(2, repeats)
        repeats = 1
    options = dict(row.options)
    if "attention" in options:
        options["attention"] = _inner_attention(options["attention"], block)
    written = f"{list(row.args)!r}{f' {dict(row.options)!r}' if row.options else ''}"

    def bound() -> inspect.BoundArguments:
        return bind_arguments(block.cls, row.module, args, options, written)

    stride = _stride(block, bound().arguments)
    channels = _out_channels(row, block, args, stride)
    if repeats > 1 and channels != c1:
        raise ValueError(f"{repeats} repeats need as many input as output channels but got {c1} and {channels}")

    def make() -> nn.Module:
        given = [bound() for _ in range(repeats)]  # each with an activation of its own
        modules = [block.cls(*arguments.args, **arguments.kwargs) for arguments in given]
        return modules[0] if repeats == 1 else nn.Sequential(*modules)

    return RowPlan(make, channels, stride**repeats)


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
    one = isinstance(value, Mapping) and len(value) == 1
    name, options = next(iter(value.items())) if one else (value, None)
    if not isinstance(name, str) or not (options is None or isinstance(options, Mapping)):
        raise ValueError(f"attention: expected a name, or one name with its options, but got {value!r}")
    options = dict(options or {})
    _check_options(canonical_name(name), options)
    return lambda channels: create_attention(name, channels, **options)


def _plan_attention(row: Row) -> RowPlan:
    """An attention row: `[]`, a mapping of options, or a fork's row with the channels first."""
    if len(row.inputs) != 1:
        raise ValueError(f"expected one row to read but got {len(row.inputs)}")
    name, channels = canonical_name(row.module), row.inputs[0]
    args = list(row.args)
    if args and isinstance(args[0], int) and not isinstance(args[0], bool):
        _check_channels(args.pop(0), row)
    positional = list(ATTENTION[name].POSITIONAL)
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
    _check_options(name, options)

    def make() -> nn.Module:
        modules = [create_attention(name, channels, **options) for _ in range(row.number)]
        return modules[0] if row.number == 1 else nn.Sequential(*modules)

    return RowPlan(make, channels, Fraction(1), name)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - set(accepted_options(name)) - {"start"})
    if unknown and name != "Timm":
        known = ", ".join(["start", *accepted_options(name)])
        raise ValueError(f"{name} has no option {', '.join(map(repr, unknown))}; it takes {known}")


def _check_channels(written: int, row: Row) -> None:
    scaled = scaled_channels(written, row)
    if scaled != row.inputs[0]:
        raise ValueError(
            f"the channels {written} become {scaled} by the width multiple {row.width_multiple}, but the row it reads "
            f"has {row.inputs[0]}; leave them out, args [] or [{{option: value}}], and name the options"
        )
