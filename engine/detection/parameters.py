"""Messages for a caller in Python: they name its parameter where those of a script name the flag."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_FLAG = re.compile(r"--([a-z][a-z-]*)")


def speaks_of_parameters(function: Callable[P, R]) -> Callable[P, R]:
    """Make the flags in a function's error messages its parameters of the same names; other flags stay."""
    names = inspect.signature(function).parameters

    def parameter(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        return f"`{name}`" if name in names else flag[0]

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            text = _FLAG.sub(parameter, str(error))
            if text == str(error):
                raise
            raise ValueError(text) from error

    return told
