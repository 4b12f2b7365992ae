"""The graph of a spec: every row's channels and stride, and the mistakes that only they show.

In other implementations a row inserted by hand without renumbering builds without a word and trains to nothing. Here
the checks of `analyse` stop it: a map joined to one of another size, a row that nobody reads, a detection level that is
not the last of its size, strides that do not ascend, anchors for another number of levels.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from models.graph.module_names import is_known, nearest_modules
from models.graph.row_plan import Row, RowPlan, plan_row
from models.spec.model_spec import (
    FREE,
    IMAGE,
    LayerSpec,
    ModelSpec,
    SpecError,
    flow,
    is_free,
    readers,
    row_text,
    where,
)

MAX_STRIDE = 512
_MIN_STRIDE = Fraction(1, 4)
_MAX_CHANNELS = 65_536


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


def resolve(spec: ModelSpec) -> tuple[GraphRow, ...]:
    """Channels and strides of every row of a spec whose indices are right; `checked.analyse` looks for a remedy too.

    Raises:
        SpecError: Names the file, the row, what was read, what was expected and the row to write.
    """
    _check_names(spec)
    rows: list[GraphRow] = []
    for index in range(len(spec.layers) - 1):
        rows.append(_resolve_row(spec, index, rows))
    head = spec.layers[-1]
    if IMAGE in head.source:
        raise SpecError(f"{where(spec, len(rows))}: reads the image", "let it read the last row of each level")
    rows.append(GraphRow(head, 0, Fraction(0), tuple(rows[s].channels for s in head.source), None))
    _check_head(spec, rows)
    return tuple(rows)


def head_anchors(spec: ModelSpec) -> Anchors:
    """The anchors of each detection level; placeholders where the spec gives only their number."""
    levels = len(spec.layers[-1].source)
    if isinstance(spec.anchors, int):
        return Anchors((tuple(float(i) for i in range(2 * spec.anchors)),) * levels, True)
    return Anchors(spec.anchors, False)


def _check_names(spec: ModelSpec) -> None:
    """Every unknown module at once, so that a file from a fork is judged in one go."""
    unknown = [row for row in range(len(spec.layers)) if not _is_known(spec, row)]
    if not unknown:
        return
    parts: list[str] = []
    for row in unknown:
        near = nearest_modules(spec.layers[row].module)
        names = f"nearest known: {', '.join(near)}; e.g. {row_text(spec, row, module=near[0])}" if near else ""
        parts.append(f"row {row} {spec.layers[row].module!r} ({names or 'no known name is near'})")
    count = "an unknown module" if len(unknown) == 1 else f"{len(unknown)} rows with unknown modules"
    remedy = "a class of your own goes into models/common.py or a file named with --module"
    raise SpecError(f"{spec.file}: {count}: {'; '.join(parts)}", remedy)


def _is_known(spec: ModelSpec, row: int) -> bool:
    try:
        return is_known(spec.layers[row].module)
    except ValueError as error:
        raise SpecError(f"{where(spec, row)}: {error}", "") from error


def _resolve_row(spec: ModelSpec, index: int, rows: list[GraphRow]) -> GraphRow:
    layer = spec.layers[index]
    inputs = tuple(spec.channels if s == IMAGE else rows[s].channels for s in layer.source)
    strides = {Fraction(1) if s == IMAGE else rows[s].stride for s in layer.source}
    if len(strides) > 1:
        raise _mixed_strides(spec, index, rows)
    try:
        plan = plan_row(_row(spec, layer, inputs))
    except ValueError as error:
        raise SpecError(f"{where(spec, index)}: {row_text(spec, index)}: {error}", "") from error
    stride = strides.pop() * plan.stride
    if not _MIN_STRIDE <= stride <= MAX_STRIDE or not 1 <= plan.channels <= _MAX_CHANNELS:
        raise SpecError(
            f"{where(spec, index)}: {row_text(spec, index)}: gives {plan.channels} channels at stride {stride}",
            f"expected 1 to {_MAX_CHANNELS} channels and a stride from {_MIN_STRIDE} to {MAX_STRIDE}",
        )
    return GraphRow(layer, plan.channels, stride, inputs, plan)


def _row(spec: ModelSpec, layer: LayerSpec, inputs: tuple[int, ...]) -> Row:
    number = max(round(layer.number * spec.depth_multiple), 1) if layer.number > 1 else layer.number
    head_channels = len(head_anchors(spec).levels[0]) // 2 * (spec.nc + 5)
    return Row(
        layer.module,
        number,
        layer.args,
        {name: value for name, value in layer.options.items() if name not in FREE},
        inputs,
        spec.width_multiple,
        spec.channel_multiple,
        head_channels,
    )


def _mixed_strides(spec: ModelSpec, index: int, rows: list[GraphRow]) -> SpecError:
    """The rows read have different strides: keep the first and offer the nearest row of its stride for the others."""
    source = spec.layers[index].source
    strides = [Fraction(1) if s == IMAGE else rows[s].stride for s in source]
    have = ", ".join(
        f"row {s} ({spec.layers[s].module}) has stride {stride}" if s != IMAGE else "the image has stride 1"
        for s, stride in zip(source, strides, strict=True)
    )
    fixed: list[int] = []
    for s, stride in zip(source, strides, strict=True):
        fitting = [i for i, row in enumerate(rows) if row.stride == strides[0] and i not in (*source, *fixed)]
        fixed.append(s if stride == strides[0] or not fitting else min(fitting, key=lambda i: (abs(i - s), i)))
    remedy = f"e.g. {row_text(spec, index, tuple(fixed))}" if tuple(fixed) != source else ""
    return SpecError(f"{where(spec, index)}: reads {list(source)}: expected maps of one size but {have}", remedy)


def _check_head(spec: ModelSpec, rows: list[GraphRow]) -> None:
    sources = spec.layers[-1].source
    prefix = where(spec, len(rows) - 1)
    if len(set(sources)) != len(sources):
        unique = tuple(dict.fromkeys(sources))
        raise SpecError(f"{prefix}: reads {list(sources)}: a row twice", f"e.g. {_head_text(spec, unique)}")
    for source in sources:
        _check_level(spec, rows, source, prefix)
    strides = [rows[s].stride for s in sources]
    if any(a >= b for a, b in pairwise(strides)):
        shown = ", ".join(map(str, strides))
        finest = {rows[s].stride: s for s in sorted(sources)}  # one row a stride, the last
        ascending = tuple(finest[stride] for stride in sorted(finest))
        raise SpecError(
            f"{prefix}: reads rows {list(sources)} with strides {shown}: expected strides that ascend",
            f"paste {_head_text(spec, ascending)} and order the anchors alike",
        )
    if any(stride.denominator != 1 for stride in strides):
        raise SpecError(f"{prefix}: reads rows of strides {', '.join(map(str, strides))}: expected whole pixels", "")
    _check_anchors(spec, sources)


def _check_anchors(spec: ModelSpec, sources: tuple[int, ...]) -> None:
    """One list a level, small boxes on the finest level."""
    levels = head_anchors(spec).levels
    if len(levels) != len(sources):
        raise SpecError(
            f"{spec.file}: anchors: expected one list for each of the {len(sources)} rows that Detect reads, "
            f"{list(sources)}, but got {len(levels)}",
            f"add or remove lists, or let them be computed from the data: anchors: {len(levels[0]) // 2}",
        )
    areas = [sum(w * h for w, h in zip(level[::2], level[1::2], strict=True)) for level in levels]
    if len(areas) > 1 and areas[0] > areas[-1]:
        raise SpecError(
            f"{spec.file}: anchors: expected the smallest on the first level, which is the finest, but their areas "
            f"descend",
            f"paste anchors: {flow(levels[::-1])}",
        )


def _check_level(spec: ModelSpec, rows: list[GraphRow], source: int, prefix: str) -> None:
    """A detection level is the last map of its size on its path: nothing of the same size reads it.

    Rows that an overlay inserted for some readers only are left out: they were put beside the level on purpose.
    """
    last = len(rows) - 1
    if is_free(spec.layers[last]):
        return

    def following(row: int) -> list[int]:
        return [r for r in readers(spec, row) if r != last and rows[r].stride == rows[row].stride]

    later = [r for r in following(source) if spec.layers[r].base_row is not None]
    if not later:
        return
    end = later[0]
    while following(end):
        end = following(end)[0]
    fixed = tuple(dict.fromkeys(end if s == source else s for s in spec.layers[last].source))
    raise SpecError(
        f"{prefix}: reads row {source} ({rows[source].layer.module}), but row {later[0]} "
        f"({rows[later[0]].layer.module}) goes on from it at the same stride {rows[source].stride}, so what follows "
        f"would not reach the detections; expected the last row of the level",
        f"e.g. {_head_text(spec, fixed)}",
    )


def _head_text(spec: ModelSpec, source: tuple[int, ...]) -> str:
    return f"row {len(spec.layers) - 1}: {row_text(spec, len(spec.layers) - 1, source)}"
