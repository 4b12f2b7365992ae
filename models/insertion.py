"""Insert attention into a spec: `insert`, the `insert:` part of an overlay, and `python -m models.insertion`.

An insertion is a pure function from spec to spec. Every later reader of the row reads the inserted module instead, all
later indices move with it, and places have names that are resolved from the graph, so that they hold for any layout.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.attention import canonical_name
from models.graph import GraphRow, analyse
from models.spec import LayerSpec, ModelSpec, load_spec

DEFAULT_PLACES = ("neck",)
"""Where `--attention CBAM` puts the module: on every map that Detect reads."""

EACH = "each"
_POOLING = ("SPP", "SPPF", "C3SPP")


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


def insert(spec: ModelSpec, request: str | Insertion | Sequence[str], *, start: str | None = None) -> ModelSpec:
    """Insert attention modules.

    Args:
        spec: The model.
        request: `"CoordAtt@neck.P3,neck.P4"`, `"CBAM(kernel_size=3)@backbone.P5"`, `"SE"` (the default places), an
            `Insertion`, or a list of such texts. Row numbers and names are those of `spec`, whatever is inserted first.
        start: "paper" or "identity" for every module whose options do not say.

    Returns:
        The new spec; rows of `spec` keep their `base_row`.

    Raises:
        ValueError: If a module, an option or a place is unknown; names the known ones.
    """
    single = isinstance(request, (str, Insertion))
    insertions = [parse_request(r) if isinstance(r, str) else r for r in ([request] if single else request)]
    known = places(spec)
    result = replace(spec, layers=tuple(replace(layer, base_row=i) for i, layer in enumerate(spec.layers)))
    for insertion in insertions:
        options = dict(insertion.options)
        if start is not None:
            options.setdefault("start", start)
        layer = LayerSpec((), 1, canonical_name(insertion.name), (), options)
        for row in _resolve(insertion.places, known, spec):
            result = _insert_at_base_row(result, row, layer, insertion.readers)
    analyse(result)
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


def places(spec: ModelSpec) -> dict[str, int]:
    """Every placement name of a model and the row behind which it inserts.

    `backbone.Pk` is the last row of stride 2**k in the backbone before its pooling, `backbone.sppf` the pooling row,
    `neck.Pk` the map of stride 2**k that Detect reads.
    """
    graph = analyse(spec)
    names: dict[str, int] = {}
    for row in range(spec.backbone_rows):
        if graph[row].layer.module in _POOLING:
            names["backbone.sppf"] = row
        elif "backbone.sppf" not in names and (level := _level(graph[row])) is not None:
            names[f"backbone.P{level}"] = row
    for row in graph[-1].layer.source:
        if (level := _level(graph[row])) is not None:
            names[f"neck.P{level}"] = row
    return names


def parse_request(text: str) -> Insertion:
    """Read `Name(option=value, …)@place,place`.

    Raises:
        ValueError: If the text has another form.
    """
    head, at, tail = text.strip().partition("@")
    wanted = tuple(int(p) if p.isdigit() else p for p in (p.strip() for p in tail.split(",")) if p)
    try:
        call = ast.parse(head.strip(), mode="eval").body
        name = call.func if isinstance(call, ast.Call) else call
        if not isinstance(name, ast.Name) or (at and not wanted) or (isinstance(call, ast.Call) and call.args):
            raise SyntaxError("no name, no place, or an option without its name")
        keywords = call.keywords if isinstance(call, ast.Call) else []
        options = tuple((str(k.arg), ast.literal_eval(k.value)) for k in keywords)
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"--attention {text!r}: expected Name, Name@place,place or Name(option=value)@place, "
            f"e.g. 'CBAM(kernel_size=3)@neck.P3,neck.P4' ({error})"
        ) from error
    canonical_name(name.id)
    return Insertion(name.id, wanted or DEFAULT_PLACES, options)


def apply_overlay(spec: ModelSpec, entries: Any) -> ModelSpec:  # noqa: ANN401  (YAML value)
    """Apply the `insert:` list of an overlay to its base.

    Raises:
        ValueError: Naming the file and the entry.
    """
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"{spec.file}: insert: expected a list of {{after: place, attention: Name}} but got {entries!r}"
        )
    insertions = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not {"after", "attention"} <= set(entry):
            raise ValueError(
                f"{spec.file}: insert[{number}]: expected {{after: place, attention: Name, …}} but got {entry!r}"
            )
        after = entry["after"] if isinstance(entry["after"], list) else [entry["after"]]
        readers = tuple(entry["readers"]) if "readers" in entry else None
        options = tuple((k, v) for k, v in entry.items() if k not in ("after", "attention", "readers"))
        insertions.append(Insertion(str(entry["attention"]), tuple(after), options, readers))
    try:
        return insert(spec, insertions)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(spec.file) else f"{spec.file}: insert: {message}") from error


def _insert_at_base_row(spec: ModelSpec, base_row: int, layer: LayerSpec, readers: Collection[int] | None) -> ModelSpec:
    """Insert behind a row of the base, after what was inserted there before, so that modules apply in order."""
    at = next(i for i, old in enumerate(spec.layers) if old.base_row == base_row)
    if readers is None:
        while spec.layers[at + 1].base_row is None and spec.layers[at + 1].source == (at,):
            at += 1
        return insert_after(spec, at, layer)
    only = {i for i, old in enumerate(spec.layers) if old.base_row in readers}
    reading = {i for i in only if at in spec.layers[i].source}
    if len(reading) != len(set(readers)):
        have = [old.base_row for old in spec.layers if at in old.source]
        raise ValueError(
            f"readers: expected some of the rows that read row {base_row}, {have}, but got {list(readers)}"
        )
    return insert_after(spec, at, layer, reading)


def _resolve(wanted: Sequence[str | int], known: Mapping[str, int], spec: ModelSpec) -> list[int]:
    rows: list[int] = []
    for place in wanted:
        if isinstance(place, int) and 0 <= place < len(spec.layers) - 1:
            rows.append(place)
        elif place in known:
            rows.append(known[place])
        elif place in ("neck", "backbone"):
            rows += [row for name, row in known.items() if name.startswith(f"{place}.P")]
        elif place == EACH:
            raise ValueError("@each is a study of every place in turn, for compare.py; name the places for one model")
        else:
            names = ", ".join([*known, "neck", "backbone"])
            raise ValueError(
                f"{spec.file}: no place {place!r}; it has {names}, and the rows 0 to {len(spec.layers) - 2}"
            )
    return rows


def _level(row: GraphRow) -> int | None:
    """The k of a row of stride 2**k, where k is at least 1."""
    stride = row.stride
    if stride.denominator != 1 or stride < 2 or stride.numerator & (stride.numerator - 1):
        return None
    return stride.numerator.bit_length() - 1


def layer_list(spec: ModelSpec) -> str:
    """The complete layer list of a spec as YAML, with each row's index and stride in a comment."""
    graph = analyse(spec)
    lines = [f"nc: {spec.nc}", f"depth_multiple: {spec.depth_multiple}", f"width_multiple: {spec.width_multiple}"]
    if spec.channels != 3:
        lines.append(f"ch: {spec.channels}")
    if spec.channel_multiple != 8:
        lines.append(f"channel_multiple: {spec.channel_multiple}")
    if spec.activation is not None:
        lines.append(f"activation: {spec.activation}")
    if isinstance(spec.anchors, int):
        lines.append(f"anchors: {spec.anchors}")
    else:
        lines += ["anchors:", *(f"  - {_flow(level)}" for level in spec.anchors)]
    for index, row in enumerate(graph):
        if index in (0, spec.backbone_rows):
            lines += ["", "backbone:" if index == 0 else "head:"]
        lines.append(_row_line(index, row))
    return "\n".join(lines) + "\n"


def _row_line(index: int, row: GraphRow) -> str:
    layer = row.layer
    relative = [-1 if s == index - 1 else s for s in layer.source]
    args = [*layer.args, dict(layer.options)] if layer.options else list(layer.args)
    source = relative[0] if len(relative) == 1 and layer.module != "Concat" else relative
    text = f"  - [{_flow(source)}, {layer.number}, {layer.module}, {_flow(args)}]"
    note = f"stride {row.stride}, {row.channels} channels" if row.plan else "detections"
    if layer.base_row is None:
        note += ", inserted"
    return f"{text:<48}  # {index}: {note}"


def _flow(value: Any) -> str:  # noqa: ANN401  (nested literals)
    """A literal as YAML on one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def main() -> int:
    """Write the complete layer list of a model with attention inserted."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m models.insertion", description=main.__doc__)
    parser.add_argument("--cfg", required=True, help="model YAML, a path or a name in models/")
    parser.add_argument("--attention", action="append", default=[], help="e.g. 'CBAM(kernel_size=3)@neck.P3,neck.P4'")
    parser.add_argument("--start", choices=("paper", "identity"), help="start of every inserted module")
    parser.add_argument("--out", type=Path, help="file to write; the terminal if not given")
    options = parser.parse_args()
    try:
        spec = load_spec(options.cfg)
        if options.attention:
            spec = insert(spec, options.attention, start=options.start)
        title = f"# {options.cfg}" + "".join(f", {a}" for a in options.attention)
        text = f"{title}\n# places: {', '.join(places(spec))}\n\n{layer_list(spec)}"
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
