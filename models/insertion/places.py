"""Where attention can be inserted: place names, resolved from the graph, and the text `Name(option=value)@place`."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from files.kinds import is_int
from files.text import shown
from models.attention import canonical_name
from models.graph.channels_and_strides import GraphRow
from models.graph.checked import analyse
from models.spec.model_spec import ModelSpec
from models.spec.parse_layer_list import literal

DEFAULT_PLACES = ("neck",)
"""Where `--attention CBAM` puts the module: on every map that Detect reads."""

EACH = "each"
"""The place of `--attention CBAM@each`, for compare.py: every named place in turn; see `each_place`."""

_POOLING = ("SPP", "SPPF", "C3SPP", "SimSPPF", "SPPCSPC", "SPPFCSPC")
_GROUPS = ("neck", "backbone")


@dataclass(frozen=True)
class Insertion:
    """One attention module and where it goes.

    Attributes:
        name: Name or alias of the module.
        places: Placement names or row numbers, of the base.
        options: The module's options, `start` among them.
        readers: Rows of the base that read the inserted module; None for every reader of the place.
    """

    name: str
    places: tuple[str | int, ...] = DEFAULT_PLACES
    options: tuple[tuple[str, Any], ...] = ()
    readers: tuple[int, ...] | None = None


def places(spec: ModelSpec) -> dict[str, int]:
    """Every placement name of a model and the row behind which it inserts.

    `backbone.Pk` is the last row of stride 2**k in the backbone before its pooling, `backbone.sppf` the pooling row,
    `neck.Pk` the map of stride 2**k that Detect reads.
    """
    return named_places(analyse(spec), spec.backbone_rows)


def named_places(graph: Sequence[GraphRow], backbone_rows: int) -> dict[str, int]:
    """`places` of a graph that is known already; only modules, sources and strides of its rows are read."""
    names: dict[str, int] = {}
    for row in range(backbone_rows):
        if graph[row].layer.module in _POOLING:
            names["backbone.sppf"] = row
        elif "backbone.sppf" not in names and (level := _level(graph[row])) is not None:
            names[f"backbone.P{level}"] = row
    for row in graph[-1].layer.source:
        if (level := _level(graph[row])) is not None:
            names[f"neck.P{level}"] = row
    return names


def resolve_places(wanted: Sequence[str | int], known: Mapping[str, int], spec: ModelSpec) -> list[int]:
    """The rows of placement names, groups of them (`neck`, `backbone`) and row numbers.

    Raises:
        ValueError: If there is no such place; names those that the model has.
    """
    rows: list[int] = []
    for place in wanted:
        if is_int(place) and 0 <= place < len(spec.layers) - 1:
            rows.append(place)
        elif isinstance(place, str) and place in known:
            rows.append(known[place])
        elif place in _GROUPS:
            rows += [row for name, row in known.items() if name.startswith(f"{place}.P")]
        elif place == EACH:
            raise ValueError(
                "@each is a study of every place in turn, for compare.py (--attention CBAM@each there); for one model "
                "name the places, e.g. CBAM@neck.P3,neck.P4"
            )
        else:
            names = ", ".join([*known, *_GROUPS])
            last = len(spec.layers) - 2
            raise ValueError(f"{spec.file}: no place {shown(place)}; it has {names}, and the rows 0 to {last}")
    return rows


def parse_request(text: str) -> Insertion:
    """Read `Name(option=value, …)@place,place`.

    Raises:
        ValueError: If the text has another form.
    """
    head, at, tail = text.strip().rpartition("@")
    if not at or ")" in tail:  # no place, or the sign belongs to an option's text
        head, at, tail = text.strip(), "", ""
    wanted = tuple(_place(p) for p in (p.strip() for p in tail.split(",")) if p)
    try:
        name, options = _call(head.strip(), f"{at}{tail}")
        if at and not wanted:
            raise ValueError("no place behind the @")
        options = literal(options, "options")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"attention {shown(text)}: expected Name, Name@place,place or Name(option=value)@place, "
            f"e.g. 'CBAM(kernel_size=3)@neck.P3,neck.P4' ({getattr(error, 'msg', error)})"
        ) from error
    canonical_name(name)
    return Insertion(name, wanted or DEFAULT_PLACES, tuple(options.items()))


def format_request(insertion: Insertion) -> str:
    """The inverse of `parse_request`."""
    options = ", ".join(f"{name}={value!r}" for name, value in insertion.options)
    call = f"{insertion.name}({options})" if options else insertion.name
    return f"{call}@{','.join(map(str, insertion.places))}"


def _place(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _call(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """`Name` or `Name(option=literal, …)`; `where` is what follows it, for the message."""
    call = ast.parse(text, mode="eval").body
    name = call.func if isinstance(call, ast.Call) else call
    if not isinstance(name, ast.Name) or (isinstance(call, ast.Call) and call.args):
        raise ValueError("no name, or an option without its name")
    options: dict[str, Any] = {}
    keywords = call.keywords if isinstance(call, ast.Call) else []
    for keyword in keywords:
        if keyword.arg is None or keyword.arg in options:
            raise ValueError(f"option {keyword.arg} is given twice" if keyword.arg else "** is no option")
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            advice = _with_quotes(name.id, keywords, where) if isinstance(keyword.value, ast.Name) else ""
            raise ValueError(f"option {keyword.arg} is no number, text or list{advice}") from None
    return name.id, options


def _with_quotes(name: str, keywords: Sequence[ast.keyword], where: str) -> str:
    """The request with quotes around every bare word that is an option's value, to paste."""
    renamed: dict[str | None, str] = {}
    if name == "Timm" and not any(k.arg == "layer" for k in keywords):
        renamed["name"] = "layer"
    values = {k.arg: repr(k.value.id) if isinstance(k.value, ast.Name) else ast.unparse(k.value) for k in keywords}
    options = ", ".join(f"{renamed.get(option, option)}={value}" for option, value in values.items())
    called = "; Timm's option is called layer" if renamed.keys() & values.keys() else ""
    return f': text needs quotes{called}; try --attention "{name}({options}){where}"'


def _level(row: GraphRow) -> int | None:
    """The k of a row of stride 2**k, where k is at least 1."""
    stride = row.stride
    if stride.denominator != 1 or stride < 2 or stride.numerator & (stride.numerator - 1):
        return None
    return stride.numerator.bit_length() - 1
