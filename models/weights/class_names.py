"""Which class of one model is which of another: by name, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping


def match_classes(source: Mapping[int, str], target: Mapping[int, str], class_map: Mapping[str, str]) -> dict[int, int]:
    """From classes of the target to those of the source: by `class_map`, else by name.

    Case, spaces and underscores make no difference; numbers, which stand for classes without names, are no names.

    Args:
        source: From number to name.
        target: From number to name.
        class_map: From a name of the target to one of the source.

    Raises:
        ValueError: If a name of `class_map` is not there; says which are.
    """
    known = {_even(name): number for number, name in source.items() if not name.isdecimal()}
    found = {number: known[_even(name)] for number, name in target.items() if _even(name) in known}
    asked = {_number(here, target): _number(there, source) for here, there in class_map.items()}
    return dict(sorted({**found, **asked}.items()))


def _even(name: str) -> str:
    return name.casefold().replace(" ", "").replace("_", "")


def _number(name: str, names: Mapping[int, str]) -> int:
    for number, other in names.items():
        if _even(other) == _even(name):
            return number
    raise ValueError(f"--class-map: there is no class {name!r}; expected one of {', '.join(names.values())}")
