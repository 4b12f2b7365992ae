"""The arguments of a block's row: bound to the constructor's names, then checked by name before anything is built."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from torch import nn

from files.kinds import is_int, is_tuple

_ACTIVATIONS = ("SiLU", "ReLU", "ReLU6", "LeakyReLU", "Hardswish", "Mish", "GELU", "ELU", "Sigmoid", "Identity")
_MAX_SIDE = 255  # of a kernel, a padding or a dilation; anything larger is a mistake


class _Check(NamedTuple):
    expected: str
    test: Callable[[object], bool]


def bind_arguments(
    cls: type[nn.Module],
    module: str,
    args: Sequence[Any],
    options: Mapping[str, Any],
    written: object,
    *,
    ours: bool = True,
) -> inspect.BoundArguments:
    """The constructor's arguments, with defaults, each checked; an activation's text becomes the activation.

    Args:
        cls: The class.
        module: Its name in the row.
        args: Positional arguments, input channels first where the class takes them.
        options: Keyword arguments.
        written: The arguments as written, for the message.
        ours: Whether the class is the project's, in which a parameter's name says what it may be.

    Raises:
        ValueError: If they do not fit; the message gives what the class takes.
    """
    signature = inspect.signature(cls)
    try:
        bound = signature.bind(*args, **options)
    except TypeError as error:
        takes = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in signature.parameters.values())
        raise ValueError(f"arguments {written} do not fit {module}({takes}): {error}") from error
    bound.apply_defaults()
    if isinstance(bound.arguments.get("act"), str):
        bound.arguments["act"] = parse_activation(bound.arguments["act"])
    for name, value in bound.arguments.items():
        check = _CHECKS.get(name)
        if ours and check is not None and value is not signature.parameters[name].default and not check.test(value):
            raise ValueError(f"{module}: `{name}`: expected {check.expected} but got {value!r}")
    return bound


def parse_activation(text: str) -> nn.Module:
    """An activation from its text, e.g. `nn.LeakyReLU(0.1)`; literal arguments only.

    Raises:
        ValueError: If it is no known activation.
    """
    match = re.fullmatch(r"(?:torch\.)?(?:nn\.)?(\w+)(?:\((.*)\))?", text.strip())
    if match is None or match[1] not in _ACTIVATIONS:
        known = ", ".join(f"nn.{name}()" for name in _ACTIVATIONS)
        raise ValueError(f"activation: expected one of {known} but got {text!r}")
    try:
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call):
            raise SyntaxError("not the arguments of a call")
        args = [ast.literal_eval(arg) for arg in call.args]
        options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        return getattr(nn, match[1])(*args, **options)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"activation: {text!r} cannot be read: {error}") from error


def is_whole(value: object, least: int = 1, most: int = 65_536) -> TypeGuard[int]:
    """Whether a value is a whole number in a range; booleans are none."""
    return is_int(value) and least <= value <= most


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a positive, finite number; booleans are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


def _side(value: object, least: int = 1) -> bool:
    """A whole number, or one for the height and one for the width."""
    if is_tuple(value):
        return len(value) == 2 and all(is_whole(v, least, _MAX_SIDE) for v in value)
    return is_whole(value, least, _MAX_SIDE)


def _kernel(value: object) -> bool:
    return _side(value) or (is_tuple(value) and bool(value) and all(is_whole(v, 1, _MAX_SIDE) for v in value))


def _padding(value: object) -> bool:
    """As `_side`, from 0; four numbers for nn.ZeroPad2d."""
    four = is_tuple(value) and len(value) == 4 and all(is_whole(v, 0, _MAX_SIDE) for v in value)
    return value is None or four or _side(value, 0)


def _activation(value: object) -> bool:
    return isinstance(value, (bool, nn.Module))


def _flag(value: object) -> bool:
    return isinstance(value, bool) or value in (0, 1)


def _scale(value: object) -> bool:
    return is_number(value) and value <= 64


def _up_to_64(value: object) -> bool:
    return is_whole(value, 1, 64)


def _none_or_up_to_64(value: object) -> bool:
    return value is None or is_whole(value, 1, 64)


def _one(value: object) -> bool:
    return not isinstance(value, bool) and value == 1


_SIDE = _Check("a whole number from 1 to 255, or a pair of them", _side)
_KERNEL = _Check("a whole number from 1 to 255, or a list of them", _kernel)
_PADDING = _Check("a whole number from 0 to 255, or a list of them", _padding)
_FLAG = _Check("True or False", _flag)
_COUNT = _Check("a whole number of at least 1", is_whole)
_SCALE = _Check("a number above 0, at most 64", _scale)

_CHECKS: dict[str, _Check] = {
    "k": _KERNEL,
    "kernel_size": _SIDE,
    "s": _Check("a whole number from 1 to 64", _up_to_64),
    "stride": _Check("a whole number from 1 to 64", _none_or_up_to_64),
    "p": _PADDING,
    "p1": _PADDING,
    "p2": _PADDING,
    "padding": _PADDING,
    "output_padding": _PADDING,
    "d": _SIDE,
    "dilation": _SIDE,
    "g": _COUNT,
    "groups": _COUNT,
    "n": _COUNT,
    "e": _Check("a number above 0, at most 64", _SCALE.test),
    "bottleneck_e": _Check("a number above 0, at most 64", _SCALE.test),
    "shortcut": _FLAG,
    "bias": _FLAG,
    "act": _Check("True, False or an activation such as nn.ReLU()", _activation),
    "gain": _Check("a whole number from 1 to 64", _up_to_64),
    "scale_factor": _SCALE,
    "dimension": _Check("1, the channels", _one),
}
"""By the name of a constructor's parameter; the same names mean the same in every block."""
