"""The graph of a spec: every row's channels and stride, and the mistakes that only they show.

In other implementations a row inserted by hand without renumbering builds without a word and trains to nothing. Here
the checks of `analyse` stop it: a map joined to one of another size, a row that nobody reads, a detection level that is
not the last of its size, strides that do not ascend, anchors for another number of levels.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from models.rows import Row, RowPlan, plan_row
from models.spec import IMAGE, LayerSpec, ModelSpec, check_references, readers


class GraphRow(NamedTuple):
    """A row of the graph."""

    layer: LayerSpec
    channels: int  # of its output
    stride: Fraction  # image pixels a cell of its output
    inputs: tuple[int, ...]  # channels of each input
    plan: RowPlan | None  # None for Detect


class Anchors(NamedTuple):
    """The head's anchors."""

    levels: tuple[tuple[float, ...], ...]  # w, h, w, h, … in pixels, one entry a level, finest level first
    automatic: bool  # placeholders, to be computed from the data


def analyse(spec: ModelSpec) -> tuple[GraphRow, ...]:
    """Resolve channels and strides of every row, and check the graph.

    Raises:
        ValueError: Naming the file, the row, what was read, what was expected and the remedy.
    """
    check_references(spec)
    rows: list[GraphRow] = []
    for index, layer in enumerate(spec.layers[:-1]):
        inputs = tuple(spec.channels if s == IMAGE else rows[s].channels for s in layer.source)
        strides = {Fraction(1) if s == IMAGE else rows[s].stride for s in layer.source}
        if len(strides) > 1:
            raise ValueError(f"{where(spec, index)}: {_mixed_strides(layer, rows)}")
        try:
            plan = plan_row(_row(spec, layer, inputs))
        except ValueError as error:
            raise ValueError(f"{where(spec, index)}: {error}") from error
        rows.append(GraphRow(layer, plan.channels, strides.pop() * plan.stride, inputs, plan))
    head = spec.layers[-1]
    if IMAGE in head.source:
        raise ValueError(f"{where(spec, len(rows))}: Detect cannot read the image")
    rows.append(GraphRow(head, 0, Fraction(0), tuple(rows[s].channels for s in head.source), None))
    _check_head(spec, rows)
    return tuple(rows)


def where(spec: ModelSpec, row: int) -> str:
    """File, row and module, to begin a message with."""
    return f"{spec.file}: row {row} ({spec.layers[row].module})"


def head_anchors(spec: ModelSpec) -> Anchors:
    """The anchors of each detection level; placeholders where the spec gives only their number."""
    levels = len(spec.layers[-1].source)
    if isinstance(spec.anchors, int):
        return Anchors((tuple(float(i) for i in range(2 * spec.anchors)),) * levels, True)
    return Anchors(spec.anchors, False)


def _row(spec: ModelSpec, layer: LayerSpec, inputs: tuple[int, ...]) -> Row:
    number = max(round(layer.number * spec.depth_multiple), 1) if layer.number > 1 else layer.number
    head_channels = len(head_anchors(spec).levels[0]) // 2 * (spec.nc + 5)
    return Row(
        layer.module,
        number,
        layer.args,
        layer.options,
        inputs,
        spec.width_multiple,
        spec.channel_multiple,
        head_channels,
    )


def _mixed_strides(layer: LayerSpec, rows: list[GraphRow]) -> str:
    have = ", ".join(f"row {s} ({rows[s].layer.module}) has stride {rows[s].stride}" for s in layer.source if s >= 0)
    target = rows[layer.source[0]].stride
    fitting = [i for i, row in enumerate(rows) if row.stride == target and i not in layer.source]
    hint = f"; rows of stride {target}: {', '.join(map(str, fitting))}" if fitting else ""
    return f"expected maps of one size but {have}{hint}. An index that was not renumbered after an insertion does this"


def _check_head(spec: ModelSpec, rows: list[GraphRow]) -> None:
    last = len(rows) - 1
    sources = spec.layers[last].source
    prefix = where(spec, last)
    if len(set(sources)) != len(sources):
        raise ValueError(f"{prefix}: reads {list(sources)}: a row twice")
    for source in sources:
        _check_level(spec, rows, source, prefix)
    strides = [rows[s].stride for s in sources]
    if any(a >= b for a, b in pairwise(strides)):
        order = [s for _, s in sorted(zip(strides, sources, strict=True))]
        shown = ", ".join(map(str, strides))
        raise ValueError(f"{prefix}: reads rows {list(sources)} with strides {shown}, which do not ascend; try {order}")
    if any(stride.denominator != 1 for stride in strides):
        raise ValueError(f"{prefix}: strides must be whole pixels but are {', '.join(map(str, strides))}")
    levels = len(head_anchors(spec).levels)
    if levels != len(sources):
        raise ValueError(
            f"{spec.file}: anchors: expected one list for each of the {len(sources)} rows that Detect reads "
            f"{list(sources)} but got {levels}; add or remove lists, or write the number of anchors a level, e.g. 3"
        )


def _check_level(spec: ModelSpec, rows: list[GraphRow], source: int, prefix: str) -> None:
    """A detection level is the last map of its size on its path: nothing of the same size reads it."""
    last = len(rows) - 1
    later = [r for r in readers(spec, source) if r != last and rows[r].stride == rows[source].stride]
    if not later:
        return
    end = later[0]
    while True:
        following = [r for r in readers(spec, end) if r != last and rows[r].stride == rows[end].stride]
        if not following:
            break
        end = following[0]
    fixed = [end if s == source else s for s in spec.layers[last].source]
    raise ValueError(
        f"{prefix}: reads row {source} ({rows[source].layer.module}), but row {later[0]} "
        f"({rows[later[0]].layer.module}) goes on from it at the same stride {rows[source].stride}, so what follows "
        f"would not reach the detections. If a row was inserted above, renumber: [{fixed}, 1, Detect, [nc, anchors]]"
    )
