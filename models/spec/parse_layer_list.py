"""From the mapping of a model YAML to a `ModelSpec` whose indices `models.graph.checked` checks. Imports no torch.

Nothing is evaluated: numbers, strings, lists and mappings only. Every error names the file, the row, what was read,
what was expected, and the row to write instead.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from files.kinds import is_dict, is_int, is_items, is_list, is_mapping
from files.text import shown
from models.spec.model_spec import FREE, IMAGE, LayerSpec, ModelSpec, flow

MODEL_KEYS = {
    "nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head", "ch", "activation", "channel_multiple",
    "inplace", "inserted", "modules", "wiring",
}  # fmt: skip
_LARGEST = {"nc": 100_000, "depth_multiple": 100, "width_multiple": 100, "channel_multiple": 4096}
MAX_REPEATS = 1000
_MAX_ANCHORS = 100  # a level
_MAX_DEPTH = 8  # of nested lists and mappings
_HEAD_ARGS = ("nc", "anchors")


def parse_spec(data: Mapping[str, Any], file: str = "model") -> ModelSpec:
    """Check the mapping of a complete layer list, in YOLOv5's format.

    Args:
        data: The mapping. Beside YOLOv5's keys it may have `inserted`, the rows that the base model does not have, and
            `wiring: free`, which marks every other row.
        file: The file's name for messages.

    Raises:
        ValueError: As `load_spec`.
    """
    check_keys(data, MODEL_KEYS, ("nc", "anchors", "backbone", "head"), file)
    rows = [*_rows(data, "backbone", file), *_rows(data, "head", file)]
    layers = [_parse_row(i, row, len(data["backbone"]), file) for i, row in enumerate(rows)]
    spec = ModelSpec(
        layers=_marked(_numbered(layers, data.get("inserted", []), file), data.get("wiring"), file),
        nc=number(data, "nc", int, file),
        anchors=parse_anchors(data["anchors"], file),
        depth_multiple=number(data, "depth_multiple", float, file, 1.0),
        width_multiple=number(data, "width_multiple", float, file, 1.0),
        backbone_rows=len(data["backbone"]),
        channels=parse_channels(data.get("ch", 3), f"{file}: ch"),
        channel_multiple=number(data, "channel_multiple", int, file, 8),
        activation=parse_activation_name(data.get("activation"), file),
        file=file,
    )
    return _with_plain_head(spec)


def check_keys(data: Mapping[str, Any], known: set[str], needed: Sequence[str], file: str) -> None:
    """Raise ValueError unless the mapping has every needed key and only known ones."""
    missing = [key for key in needed if key not in data]
    if missing:
        raise ValueError(f"{file}: expected the keys {', '.join(needed)} but {', '.join(missing)} is missing")
    for key in data:
        if key not in known:
            raise ValueError(f"{file}: unknown key {shown(key)}; known keys: {', '.join(sorted(known))}")


def number(data: Mapping[str, Any], key: str, kind: type, file: str, default: float | None = None) -> Any:  # noqa: ANN401  (int or float, by `kind`)
    """The positive number under a key.

    Raises:
        ValueError: If it is no such number, or so large that it can only be a mistake.
    """
    value = data.get(key, default)
    if kind is float and is_int(value) and abs(value) <= _LARGEST[key]:
        value = float(value)
    largest = _LARGEST[key]
    if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value <= largest:
        name = "whole number" if kind is int else "number"
        raise ValueError(f"{file}: {key}: expected a positive {name}, at most {largest}, but got {shown(value)}")
    return value


def parse_channels(value: Any, where: str) -> int:  # noqa: ANN401  (YAML value)
    """The channels of the images that a model reads.

    Raises:
        ValueError: If images are not read in so many.
    """
    if not is_int(value) or not 1 <= value <= 4:
        raise ValueError(
            f"{where}: expected 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha), in which images are read, "
            f"but got {shown(value)}"
        )
    return value


def parse_anchors(value: Any, file: str) -> tuple[tuple[float, ...], ...] | int:  # noqa: ANN401  (YAML value)
    """Anchors in pixels, or the number of anchors a level.

    Raises:
        ValueError: If it is neither.
    """
    if is_int(value) and 0 < value <= _MAX_ANCHORS:
        return value
    levels: list[Any] = list(value) if is_items(value) and all(map(is_items, value)) else []
    lengths = {len(level) for level in levels} if all(_is_size(x) for level in levels for x in level) else set[int]()
    if len(lengths) != 1 or min(lengths) < 2 or min(lengths) % 2:
        raise ValueError(
            f"{file}: anchors: expected one list of w, h pairs a level, all of the same length and in pixels, or the "
            f"number of anchors a level (at most {_MAX_ANCHORS}), but got {shown(value)}; try anchors: 3"
        )
    return tuple(tuple(float(x) for x in level) for level in levels)


def parse_activation_name(value: Any, file: str) -> str | None:  # noqa: ANN401  (YAML value)
    """The text of the activation, which `models.graph.row_plan.parse_activation` reads when the model is built.

    Raises:
        ValueError: If it is no text.
    """
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{file}: activation: expected a text such as nn.LeakyReLU(0.1) but got {shown(value)}")
    return value


def literal(value: Any, where: str, depth: int = 0) -> Any:  # noqa: ANN401  (YAML value)
    """The value with lists as tuples.

    YOLOv5 writes some literals as Python text (`None`, `True`); any other text stays the string it is.

    Raises:
        ValueError: If it is, or holds, anything but finite numbers, strings, booleans, lists, and mappings from names.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where}: args: nested more than {_MAX_DEPTH} deep")
    if is_items(value):
        return tuple(literal(v, where, depth + 1) for v in value)
    if is_dict(value) and all(isinstance(k, str) for k in value):
        return {k: literal(v, where, depth + 1) for k, v in value.items()}
    if isinstance(value, str):
        return ast.literal_eval(value) if value in ("None", "True", "False") else value
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(
        f"{where}: args: expected numbers, texts, lists, or mappings from option names but got {shown(value)}"
    )


def _is_size(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1e6


def _rows(data: Mapping[str, Any], part: str, file: str) -> list[Any]:
    rows = data[part]
    if not is_list(rows) or not rows:
        raise ValueError(f"{file}: {part}: expected a list of rows [from, number, module, args] but got {shown(rows)}")
    return rows


def _parse_row(row: int, value: Any, backbone_rows: int, file: str) -> LayerSpec:  # noqa: ANN401  (YAML value)
    part = "backbone" if row < backbone_rows else "head"
    where = f"{file}: row {row} ({part}[{row - (0 if row < backbone_rows else backbone_rows)}])"
    if not is_list(value) or len(value) not in (3, 4):
        raise ValueError(
            f"{where}: expected [from, number, module, args] but got {shown(value)}; e.g. [-1, 3, C3, [128]]"
        )
    source, repeats, module, args = _entries(value)
    if not isinstance(module, str):
        raise ValueError(f"{where}: module: expected a name but got {shown(module)}; e.g. {_pasted(value, 2, 'C3')}")
    if not is_int(repeats) or not 1 <= repeats <= MAX_REPEATS:
        raise ValueError(
            f"{where}: number: expected a whole number of repeats from 1 to {MAX_REPEATS} but got {shown(repeats)}; "
            f"write {_pasted(value, 1, 1)}"
        )
    if is_mapping(args):
        args = [args]
    if not is_list(args):
        raise ValueError(
            f"{where}: args: expected a list, or a mapping of options, but got {shown(args)}; "
            f"write {_pasted(value, 3, [args])}"
        )
    literals = [literal(a, where) for a in args]
    options: dict[str, Any] = literals.pop() if literals and isinstance(literals[-1], dict) else {}
    _check_wiring(options.get("wiring"), where)
    return LayerSpec(_parse_sources(source, row, value, where), repeats, module, tuple(literals), options)


def _parse_sources(source: Any, row: int, value: list[Any], where: str) -> tuple[int, ...]:  # noqa: ANN401  (YAML value)
    """The absolute indices of a `from`; negative entries count back from the row itself."""
    written = source if is_list(source) else [source]
    wrong = next((i for i, s in enumerate(written) if not is_int(s) or not _in_range(s, row)), None)
    if wrong is None and written:
        return tuple(IMAGE if row == 0 else row + s if s < 0 else s for s in written)
    fixed = [-1 if i == wrong else s for i, s in enumerate(written)] or [-1]
    remedy = f"write {_pasted(value, 0, fixed if isinstance(source, list) else fixed[0])}"
    if wrong is None or not is_int(written[wrong]):
        got = "an empty list" if wrong is None else shown(written[wrong])
        raise ValueError(f"{where}: from: expected the index of a row, or a list of them, but got {got}; {remedy}")
    if row == 0:
        raise ValueError(f"{where}: from: expected -1, the image, in the first row but got {written[wrong]}; {remedy}")
    index = written[wrong] + (row if written[wrong] < 0 else 0)
    raise ValueError(
        f"{where}: from: {shown(written[wrong])} points to row {shown(index)}, but only the rows 0 to {row - 1} come "
        f"before it; {remedy}"
    )


def _in_range(source: int, row: int) -> bool:
    return source == -1 if row == 0 else -row <= source < row


def _entries(value: Sequence[Any]) -> list[Any]:
    """The four entries of a row; arguments left out are `[]`."""
    entries: list[Any] = [*value, []]
    return entries[:4]


def _pasted(value: Sequence[Any], position: int, new: Any) -> str:  # noqa: ANN401  (YAML value)
    """A row with one entry replaced, as YAML; `…` for what is no literal."""
    row = _entries(value)
    row[position] = new
    try:
        return flow([literal(v, "") for v in row])
    except ValueError:
        return flow([v if isinstance(v, (int, str)) else "…" for v in row])


def _numbered(layers: Sequence[LayerSpec], inserted: Any, file: str) -> tuple[LayerSpec, ...]:  # noqa: ANN401  (YAML value)
    """The rows with their `base_row`: counted from 0, leaving out those that were inserted."""
    last = len(layers) - 1
    good = is_list(inserted) and all(is_int(i) and 0 <= i < last for i in inserted)
    if not good or len(set(inserted)) != len(inserted):
        raise ValueError(
            f"{file}: inserted: expected the indices of the rows that the base model does not have, from 0 to "
            f"{last - 1}, but got {shown(inserted)}; leave the key out if you edit the rows"
        )
    own = [i for i in range(len(layers)) if i not in set(inserted)]
    base_rows: dict[int, int] = {row: number for number, row in enumerate(own)}
    return tuple(replace(layer, base_row=base_rows.get(i)) for i, layer in enumerate(layers))


def _marked(layers: tuple[LayerSpec, ...], wiring: Any, file: str) -> tuple[LayerSpec, ...]:  # noqa: ANN401  (YAML value)
    """The rows, with every one of the base marked as meant where the file says `wiring: free`."""
    _check_wiring(wiring, file)
    if wiring is None:
        return layers
    return tuple(x if x.base_row is None else replace(x, options={**x.options, **FREE}) for x in layers)


def _check_wiring(value: Any, where: str) -> None:  # noqa: ANN401  (YAML value)
    if value not in (None, FREE["wiring"]):
        raise ValueError(f"{where}: wiring: expected free, for what is meant to differ, but got {shown(value)}")


def _with_plain_head(spec: ModelSpec) -> ModelSpec:
    """Detect's arguments as `[nc, anchors]`; numbers in their place must be those of the file.

    Raises:
        ValueError: If they are anything else, which YOLOv5 would build and this project would ignore.
    """
    head = spec.layers[-1]
    if head.module != "Detect":
        return spec
    given = tuple(flow(a) for a in head.args)
    allowed = ("nc", str(spec.nc)), ("anchors", flow(_numbers(spec.anchors)))
    same = (
        head.number == 1 and len(given) == 2 and given[0] in allowed[0] and flow(_numbers(head.args[1])) in allowed[1]
    )
    if not same or head.options not in ({}, FREE):
        row = len(spec.layers) - 1
        raise ValueError(
            f"{spec.file}: row {row} (Detect): expected the args [nc, anchors], or the file's own nc and anchors as "
            f"numbers, but got {shown([*head.args, *([dict(head.options)] if head.options else [])])}; write "
            f"[{flow(head.source)}, 1, Detect, [nc, anchors]]"
        )
    return replace(spec, layers=(*spec.layers[:-1], replace(head, args=_HEAD_ARGS)))


def _numbers(value: Any) -> Any:  # noqa: ANN401  (nested literals)
    """Nested numbers with 10.0 and 10 made equal."""
    if is_items(value):
        return [_numbers(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
