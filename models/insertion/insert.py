"""Insert attention into a spec: `insert`, and the `insert:` part of an overlay.

An insertion is a pure function from spec to spec. Every later reader of the row reads the inserted module instead, all
later indices move with it, and places have names that are resolved from the graph, so that they hold for any layout.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from files.kinds import is_int, is_list, is_mapping
from files.text import shown
from models.attention import canonical_name
from models.graph.checked import analyse
from models.insertion.identity_check import check_identity
from models.insertion.layer_list import layer_list
from models.insertion.places import (
    DEFAULT_PLACES,
    EACH,
    Insertion,
    format_request,
    parse_request,
    places,
    resolve_places,
)
from models.spec.model_spec import IMAGE, LayerSpec, ModelSpec
from models.spec.parse_layer_list import literal

__all__ = [
    "DEFAULT_PLACES",
    "EACH",
    "Insertion",
    "apply_overlay",
    "each_place",
    "insert",
    "insert_after",
    "insert_rows",
    "layer_list",
    "parse_entries",
    "parse_request",
    "places",
]


def insert(
    spec: ModelSpec, request: str | Insertion | Sequence[str | Insertion], *, start: str | None = None
) -> ModelSpec:
    """Insert attention modules.

    Args:
        spec: The model.
        request: `"CoordAtt@neck.P3,neck.P4"`, `"CBAM(kernel_size=3)@backbone.P5"`, `"SE"` (the default places), an
            `Insertion`, or a list of such texts. Row numbers and names are those of `spec`, whatever is inserted first.
        start: "paper" or "identity" for every module whose options do not say.

    Returns:
        The new spec; rows of `spec` keep their `base_row`. Of several modules at one place the later reads the earlier.

    Raises:
        ValueError: If a module, an option or a place is unknown; names the known ones. If a module that is to start as
            the identity does not.
    """
    added = insert_rows(spec, request, places(spec), start=start)
    layers = [
        layer if layer.base_row is None else replace(layer, base_row=spec.layers[layer.base_row].base_row)
        for layer in added.layers
    ]
    result = replace(added, layers=tuple(layers), base=spec.base or spec.file)
    graph = analyse(result)
    for row, layer in enumerate(added.layers):
        if layer.base_row is None:
            check_identity(layer.module, graph[row].channels, layer.options)
    return result


def insert_rows(
    spec: ModelSpec,
    request: str | Insertion | Sequence[str | Insertion],
    known: Mapping[str, int],
    *,
    start: str | None = None,
) -> ModelSpec:
    """`insert` by the rows' indices alone, for a graph that is known already.

    Args:
        spec: The model.
        request: As in `insert`.
        known: From placement names to rows of `spec`.
        start: As in `insert`.

    Returns:
        The new spec, unchecked; `base_row` is the row of `spec` that each row is, None for a new one.
    """
    single = isinstance(request, (str, Insertion))
    insertions = [parse_request(r) if isinstance(r, str) else r for r in ([request] if single else request)]
    result = replace(spec, layers=tuple(replace(layer, base_row=i) for i, layer in enumerate(spec.layers)))
    for insertion in insertions:
        options = dict(insertion.options)
        if start is not None:
            options.setdefault("start", start)
        layer = LayerSpec((), 1, canonical_name(insertion.name), (), options)
        for row in resolve_places(insertion.places, known, spec):
            result = _insert_at(result, row, layer, insertion.readers)
    return result


def insert_after(spec: ModelSpec, at: int, new: LayerSpec, only: Collection[int] | None = None) -> ModelSpec:
    """Insert a row behind row `at`; the readers of `at` (those in `only`, or all) read it instead."""

    def moved(index: int, layer: LayerSpec) -> LayerSpec:
        redirected = only is None or index in only
        return replace(layer, source=tuple(s + (s > at or (s == at and redirected)) for s in layer.source))

    later = [moved(i, layer) for i, layer in enumerate(spec.layers)][at + 1 :]
    return replace(
        spec,
        layers=(*spec.layers[: at + 1], replace(new, source=(at,), base_row=None), *later),
        backbone_rows=spec.backbone_rows + (at < spec.backbone_rows),
    )


def each_place(spec: ModelSpec, request: str) -> list[str]:
    """`"CBAM@each"` as one request for every named place of the model, for trying each in turn.

    A request with other places comes back alone, as it is.

    Raises:
        ValueError: If the request cannot be read, or names other places beside `each`.
    """
    insertion = parse_request(request)
    if EACH not in insertion.places:
        return [request]
    if len(insertion.places) > 1:
        raise ValueError(f"attention {request!r}: expected `each` alone, or places by name")
    return [format_request(replace(insertion, places=(place,))) for place in places(spec)]


def apply_overlay(spec: ModelSpec, entries: Any) -> ModelSpec:  # noqa: ANN401  (YAML value)
    """Apply the `insert:` list of an overlay to its base.

    Raises:
        ValueError: Naming the file and the entry.
    """
    insertions = parse_entries(entries, spec.file)
    try:
        return insert(spec, insertions)
    except ValueError as error:
        raise ValueError(_prefixed(error, f"{spec.file}: insert")) from error


def parse_entries(entries: Any, file: str) -> list[Insertion]:  # noqa: ANN401  (YAML value)
    """Read the `insert:` list of an overlay.

    Raises:
        ValueError: Naming the file and the entry.
    """
    example = "{after: neck.P3, attention: CoordAtt}"
    if not is_list(entries) or not entries:
        raise ValueError(f"{file}: insert: expected a list such as [{example}] but got {shown(entries)}")
    insertions: list[Insertion] = []
    for number, entry in enumerate(entries):
        where = f"{file}: insert[{number}]"
        if not is_mapping(entry) or not {"after", "attention"} <= set(entry):
            raise ValueError(f"{where}: expected {example}, with options beside, but got {shown(entry)}")
        try:
            insertions.append(_entry(entry, where))
        except ValueError as error:
            raise ValueError(_prefixed(error, where)) from error
    return insertions


def _entry(entry: Mapping[str, Any], where: str) -> Insertion:
    after = entry["after"] if is_list(entry["after"]) else [entry["after"]]
    if not after or not all(isinstance(place, str) or is_int(place) for place in after):
        raise ValueError(f"after: expected a place, a row of the base, or a list of them, but got {shown(after)}")
    if not isinstance(entry["attention"], str):
        raise ValueError(f"attention: expected the name of a module but got {shown(entry['attention'])}")
    readers = entry.get("readers")
    if "readers" in entry and not (is_list(readers) and readers and all(map(is_int, readers))):
        raise ValueError(f"readers: expected rows of the base, e.g. [18], but got {shown(readers)}")
    options = literal({k: v for k, v in entry.items() if k not in ("after", "attention", "readers")}, where)
    canonical_name(entry["attention"])
    chosen = None if readers is None else tuple(readers)
    return Insertion(entry["attention"], tuple(after), tuple(options.items()), chosen)


def _prefixed(error: ValueError, where: str) -> str:
    message = str(error)
    return message if message.startswith(where.split(":")[0]) else f"{where}: {message}"


def _insert_at(spec: ModelSpec, row: int, layer: LayerSpec, readers: Collection[int] | None) -> ModelSpec:
    """Insert behind a row of the base, after what was inserted there before, so that modules apply in order.

    Where those before were given to some readers only, the new module goes before them if every reader is to have it.
    """
    base = next(i for i, old in enumerate(spec.layers) if old.base_row == row)
    reading = {i: _ends(spec, base, i) for i, old in enumerate(spec.layers) if old.base_row is not None and i != base}
    reading = {i: ends for i, ends in reading.items() if ends}
    if readers is None:
        ends = {end for found in reading.values() for end in found}
        return insert_after(spec, ends.pop() if len(ends) == 1 else base, layer)
    chosen = {i: ends for i, ends in reading.items() if spec.layers[i].base_row in readers}
    ends = {end for found in chosen.values() for end in found}
    if len(chosen) != len(set(readers)) or len(ends) != 1:
        have = [spec.layers[i].base_row for i in reading]
        raise ValueError(
            f"readers: expected some of the rows that read row {row}, {have}, which read one and the same map, but got "
            f"{list(readers)}"
        )
    return insert_after(spec, ends.pop(), layer, set(chosen))


def _ends(spec: ModelSpec, base: int, reader: int) -> list[int]:
    """The rows that a reader reads which are `base`, or lead back to it through inserted rows alone."""
    found: list[int] = []
    for source in spec.layers[reader].source:
        row = source
        while row not in (base, IMAGE) and spec.layers[row].base_row is None:
            row = spec.layers[row].source[0]
        if row == base:
            found.append(source)
    return found
