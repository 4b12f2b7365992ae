"""Flags stated at the fields of settings: what argparse is told of them, and what comes back."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import dataclass

import pytest

from engine.config.flags import SHARE, Check, add_flags, at_least, check, flag, given_names, settings


@dataclass(frozen=True)
class Kitchen:
    """One field of every kind."""

    cook: str = flag("Bo", "who cooks")
    pots: int = flag(2, "how many", "--pans", check=at_least(1), group="things")
    salt: float = flag(0.5, "a share", check=SHARE, default=SUPPRESS)
    open_late: bool = flag(False, "after ten", group="things")
    dishes: tuple[str, ...] = flag(("soup",), "what is served", choices=("soup", "rice"))
    oven: tuple[int, int] = flag((30, 30), "height and width", check=Check(lambda side: side % 10 == 0, "tens"))
    guests: int | None = flag(None, "how many come", check=at_least(1))
    closed: bool = True  # without a flag


@pytest.fixture
def parser() -> ArgumentParser:
    made = ArgumentParser()
    add_flags(made, Kitchen)
    return made


def read(parser: ArgumentParser, line: str) -> Kitchen:
    return Kitchen(**settings(Kitchen, vars(parser.parse_args(line.split()))))


def test_without_words_the_fields_keep_their_defaults(parser):
    assert read(parser, "") == Kitchen()
    assert "salt" not in vars(parser.parse_args([]))  # left to the dataclass
    assert vars(parser.parse_args([]))["oven"] == [30]  # as it is typed


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--cook Al", "cook", "Al"),
        ("--pots 3", "pots", 3),
        ("--pans 3", "pots", 3),
        ("--salt 1", "salt", 1.0),
        ("--open-late", "open_late", True),
        ("--dishes rice soup", "dishes", ("rice", "soup")),
        ("--oven 10", "oven", (10, 10)),
        ("--oven 10 20", "oven", (10, 20)),
        ("--guests 4", "guests", 4),
    ],
)
def test_type_and_arity_come_from_the_annotation(parser, line, name, value):
    got = getattr(read(parser, line), name)
    assert got == value
    assert type(got) is type(value)


def test_help_has_texts_defaults_and_groups(parser):
    text = parser.format_help()
    assert "--pots POTS, --pans POTS" in text
    assert text.index("things:") < text.rindex("--open-late")
    assert "--closed" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pots": 0}, "--pots 0: expected at least 1"),
        ({"salt": 1.5}, "--salt 1.5: expected a number from 0 to 1"),
        ({"oven": (20, 25)}, "--oven 25: expected tens"),
        ({"guests": 0}, "--guests 0: expected at least 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_flag(changes, message):
    with pytest.raises(ValueError, match=message):
        check(Kitchen(**changes))


def test_three_sides_are_refused(parser):
    with pytest.raises(ValueError, match="--oven 1 2 3: expected one number, or height and width"):
        read(parser, "--oven 1 2 3")


def test_what_stands_on_the_command_line_is_told_from_defaults(parser):
    assert given_names(parser, ["--pots", "2", "--open-late"]) == {"pots", "open_late"}
