"""What a class of the user makes of a map: one is passed through it, without memory where the class allows that."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.user_modules.table import reason

_MAP_HW = (32, 64)  # not square, so that a class that confuses height and width is found


class Output(NamedTuple):
    """The map that a class makes."""

    channels: int
    stride: Fraction  # input size / output size


_KNOWN: dict[tuple[type, str], Output] = {}


def output_of(cls: type[nn.Module], args: Sequence[Any], options: Mapping[str, Any], inputs: Sequence[int]) -> Output:
    """Build a class, pass a map through it in eval mode, and say what comes out.

    Args:
        cls: The class.
        args: Its positional arguments.
        options: Its named arguments.
        inputs: Channels of each map that it reads; it gets the map, or a list of several.

    Raises:
        ValueError: If it cannot be built or run, or what comes out is no map; gives the line of the user's file.
    """
    key = (cls, repr((args, options, inputs)))
    if key not in _KNOWN:
        _KNOWN[key] = _checked(cls, _pass_map(cls, args, options, inputs), inputs)
    return _KNOWN[key]


def check_keeps_map(cls: type[nn.Module], args: Sequence[Any], options: Mapping[str, Any], channels: int) -> None:
    """Raise ValueError unless a class keeps the channels and the size of a map, as an attention module does."""
    output = output_of(cls, args, options, [channels])
    if output != (channels, 1):
        raise ValueError(
            f"{cls.__name__} takes no output channels, so it is an attention module and has to keep its map, but of "
            f"{channels} channels it makes {output.channels} at stride {output.stride}; a block that changes its map "
            "takes the channels of input and output first: (c1, c2, …)"
        )


def _pass_map(cls: type[nn.Module], args: Sequence[Any], options: Mapping[str, Any], inputs: Sequence[int]) -> object:
    error: Exception | None = None
    for device in ("meta", "cpu"):  # some code cannot run without values
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device(device):
                maps = [torch.zeros(1, channels, *_MAP_HW) for channels in inputs]
                return cls(*args, **options).eval()(maps[0] if len(maps) == 1 else maps)
        except Exception as raised:  # noqa: BLE001  (the user's code may raise anything)
            error = raised
    given = ", ".join([*map(str, args), *(f"{name}={value!r}" for name, value in options.items())])
    shapes = " and ".join(f"(1, {channels}, {_MAP_HW[0]}, {_MAP_HW[1]})" for channels in inputs)
    file = Path(inspect.getfile(cls))
    raise ValueError(f"{cls.__name__}({given}) fails on a map {shapes}: {reason(error, file)}") from error


def _checked(cls: type[nn.Module], output: object, inputs: Sequence[int]) -> Output:
    if not isinstance(output, Tensor) or output.dim() != 4:
        got = f"a map {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(f"{cls.__name__}.forward: expected to get one map (B, C, H, W) but got {got}")
    _, channels, height, width = output.shape
    strides = {Fraction(_MAP_HW[0], max(height, 1)), Fraction(_MAP_HW[1], max(width, 1))}
    stride = strides.pop()
    if strides or 1 not in (stride.numerator, stride.denominator):
        raise ValueError(
            f"{cls.__name__}.forward makes {height}x{width} of {_MAP_HW[0]}x{_MAP_HW[1]}; expected the same size, or a "
            "whole number of times smaller or larger on both sides"
        )
    return Output(channels, stride)
