"""A flag is stated once, at the field of the settings that it sets: name, type, default, help, what it may be.

`add_flags` makes argparse's declarations of a dataclass of settings, `settings` the values for it of what was parsed,
`check` refuses values out of range. Imports nothing heavy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from types import NoneType
from typing import Any, NamedTuple, cast, get_args, get_origin, get_type_hints

_SIDES = tuple[int, int]  # height and width; one number is both


@dataclass(frozen=True)
class Check:
    """What a setting may be."""

    holds: Callable[[float], bool]
    expected: str  # in words


class _Flag(NamedTuple):
    names: tuple[str, ...]
    help: str
    check: Check | None
    group: str
    options: Mapping[str, Any]


def flag(
    default: Any,  # noqa: ANN401  (any setting)
    text: str,
    /,
    *names: str,
    check: Check | None = None,
    group: str = "",
    **options: Any,  # noqa: ANN401  (argparse's own)
) -> Any:  # noqa: ANN401  (a dataclass field)
    """A field of settings with its flag; type and arity come from the annotation.

    Args:
        default: The value without the flag.
        text: What --help says.
        names: Names beside the field's own.
        check: What a value that is not None, or each of several, has to be.
        group: Title of the flag's part of --help.
        options: More for `add_argument`; `default=argparse.SUPPRESS` keeps the default out of --help.
    """
    return field(default=default, metadata={"flag": _Flag(names, text, check, group, options)})


def at_least(low: int) -> Check:
    """A number from `low` on."""
    return Check(lambda value: value >= low, f"at least {low}")


MODULE_TEXT = "run these Python files, whose nn.Module classes rows and --attention may then name"
PRECISIONS = ("auto", "32", "bf16", "16")
SHARE = Check(lambda value: 0 <= value <= 1, "a number from 0 to 1")


def add_flags(parser: argparse.ArgumentParser, settings_class: type) -> dict[str, Callable[..., argparse.Action]]:
    """Declare the flags of a dataclass of settings, in the order of its fields.

    Returns:
        From the title of each part of --help to what adds a flag to it.
    """
    hints = get_type_hints(settings_class)
    add: dict[str, Callable[..., argparse.Action]] = {"": parser.add_argument}
    for one in _with_flags(settings_class):
        stated: _Flag = one.metadata["flag"]
        if stated.group not in add:
            add[stated.group] = parser.add_argument_group(stated.group).add_argument
        options = {**_kind(hints[one.name], one.default), **stated.options}
        add[stated.group](_name(one), *stated.names, dest=one.name, help=stated.help, **options)
    return add


def settings(settings_class: type, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields' values among what argparse gives.

    Raises:
        ValueError: If more than two sides are given.
    """
    hints = get_type_hints(settings_class)
    values = {one.name: parsed[one.name] for one in _with_flags(settings_class) if one.name in parsed}
    several: dict[str, list[Any]] = {name: value for name, value in values.items() if isinstance(value, list)}
    for name, items in several.items():
        sides = hints[name] == _SIDES
        if sides and len(items) > 2:
            raise ValueError(f"--{name} {' '.join(map(str, items))}: expected one number, or height and width")
        values[name] = (items[0], items[-1]) if sides else tuple(items)
    return values


def check(given: Any) -> None:  # noqa: ANN401  (settings)
    """Refuse settings out of range.

    Raises:
        ValueError: Naming the flag, the value and what was expected.
    """
    for one in _with_flags(cast("type[Any]", type(given))):
        wanted, value = one.metadata["flag"].check, getattr(given, one.name)
        items = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
        for item in items:
            if wanted is not None and item is not None and not wanted.holds(item):
                raise ValueError(f"{_name(one)} {item}: expected {wanted.expected}")


def given_names(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> set[str]:
    """Names of the settings that stand on the command line."""
    unset: list[str] = []  # argparse appends to a copy, so that identity tells for repeatable flags too
    namespace = argparse.Namespace(**{action.dest: unset for action in parser._actions})
    return {name for name, value in vars(parser.parse_args(words, namespace)).items() if value is not unset}


def flag_words(action: argparse.Action, value: Any) -> list[str]:  # noqa: ANN401  (any setting)
    """One setting as words of a command line, none where it has no value."""
    if value is None or value is False or value == [] or value == ():
        return []
    name = max(action.option_strings, key=len)
    if action.nargs == 0 or value is True:
        return [name] if value else []
    items = list(map(str, cast("Sequence[Any]", value))) if isinstance(value, (list, tuple)) else [str(value)]
    if action.dest == "attention":  # may be repeated
        return [word for item in items for word in (name, item)]
    return [f"{name}={items[0]}"] if len(items) == 1 and items[0].startswith("-") else [name, *items]


def _with_flags(settings_class: type) -> list[Field[Any]]:
    return [one for one in fields(settings_class) if "flag" in one.metadata]


def _name(one: Field[Any]) -> str:
    return f"--{one.name.replace('_', '-')}"


def _kind(hint: Any, default: Any) -> dict[str, Any]:  # noqa: ANN401  (a type; any setting)
    """What `add_argument` is told of a type."""
    if hint is bool:
        return {"action": "store_true"}
    if NoneType in get_args(hint):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    options: dict[str, Any] = {"default": default}
    if get_origin(hint) is tuple:
        if default is not None:
            options["default"] = list(dict.fromkeys(default) if hint == _SIDES else default)
        options["nargs"], hint = "+", get_args(hint)[0]
    return options if hint is str else {**options, "type": hint}
