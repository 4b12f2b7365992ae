"""Flags from Python: `train.run(epochs=3)` asks for what `python train.py --epochs 3` does, with the same checks.

What a program that calls it has on its own command line plays no part. Imports nothing heavy.
"""

from __future__ import annotations

import argparse
import difflib
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from engine.config.flags import flag_words
from engine.config.parser import ArgumentParser, errors_raised

T = TypeVar("T")


def options(parser: ArgumentParser, settings_class: type, *, known: bool = False) -> Namespace:
    """What YOLOv5's `parse_opt` gives: every flag of the process's command line with its value.

    Args:
        parser: The script's.
        settings_class: Knows the defaults that the parser leaves out.
        known: Leave aside what is unknown, such as what a notebook's kernel was started with.
    """
    given = parser.parse_known_args()[0] if known else parser.parse_args()
    return Namespace(**{**_defaults(parser, settings_class), **vars(given)})


def called(
    parse: Callable[[list[str]], T], parser: ArgumentParser, settings_class: type, flags: Mapping[str, Any]
) -> T:
    """What a script's `parse` makes of keywords.

    None and a flag's default are the same as no keyword, so that `run(**vars(parse_opt()))` is the command line again.

    Raises:
        ValueError: If a keyword is unknown, or for what the script refuses.
    """
    with errors_raised():
        usual = _defaults(parser, settings_class)
        words: list[str] = []
        for name, value in flags.items():
            if value is None or value is False:
                continue
            action = _action(parser, name)
            if isinstance(action, str):  # refused or ignored; the parser says why
                words += [action] if value is True else [action, str(value)]
            elif (some := flag_words(action, value)) != flag_words(action, usual.get(action.dest)):
                words += some
        return parse(words)


def _defaults(parser: ArgumentParser, settings_class: type) -> dict[str, Any]:
    usual = {one.name: one.default for one in fields(settings_class)}
    actions = [action for action in parser._actions if action.dest not in ("help", argparse.SUPPRESS)]
    return {
        action.dest: usual[action.dest] if action.default is argparse.SUPPRESS else action.default for action in actions
    }


def _action(parser: ArgumentParser, name: str) -> argparse.Action | str:
    """The flag of a keyword; its name alone where it does nothing here."""
    for flag in (f"--{name.replace('_', '-')}", f"--{name}"):
        action = parser._option_string_actions.get(flag)
        if flag in parser.refused or (action is not None and action.dest == argparse.SUPPRESS):
            return flag
        if action is not None and action.dest != "help":
            return action
    near = difflib.get_close_matches(name, _names(parser), n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(_names(parser))}"
    raise ValueError(f"{parser.prog.removesuffix('.py')}.run({name}=…): there is no such flag; {hint}")


def _names(parser: ArgumentParser) -> list[str]:
    return sorted(action.dest for action in parser._actions if action.dest not in ("help", argparse.SUPPRESS))
