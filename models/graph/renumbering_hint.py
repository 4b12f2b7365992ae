"""The rows to change when a layer list is wrong because a row was inserted by hand without renumbering.

Every set of rows that may have been inserted is tried: the absolute indices behind it are raised, and where the graph
is right after that, the changed rows are the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from models.graph.channels_and_strides import resolve
from models.graph.module_names import is_attention
from models.spec.model_spec import IMAGE, LayerSpec, ModelSpec, SpecError, check_references, row_text

_MAX_ROWS = 200  # beyond that no search


def explained(spec: ModelSpec, error: SpecError) -> SpecError:
    """The error, with renumbered rows as its remedy where they make the graph right."""
    found = renumbered(spec)
    if found is None:
        return error
    fixed, inserted = found
    changed = [i for i, layer in enumerate(fixed.layers) if layer != spec.layers[i]]
    rows = "; ".join(f"row {i}: {row_text(spec, i)} -> {row_text(fixed, i)}" for i in changed)
    what = " and ".join(f"row {i} ({spec.layers[i].module})" for i in inserted)
    known = all(is_attention(spec.layers[i].module) for i in inserted)
    return SpecError(
        error.problem, f"if {what if known else 'a row'} was inserted by hand without renumbering, change {rows}"
    )


def renumbered(spec: ModelSpec) -> tuple[ModelSpec, tuple[int, ...]] | None:
    """The list renumbered so that its graph is right, and the rows taken for inserted; None if there is none."""
    if any(not IMAGE <= s < row for row, layer in enumerate(spec.layers) for s in layer.source):
        return None
    for inserted in _candidates(spec):
        fixed = _renumber(spec, inserted)
        if fixed is not None and fixed != spec and _is_right(fixed):
            return fixed, inserted
    return None


def _candidates(spec: ModelSpec) -> Iterator[tuple[int, ...]]:
    """What may have been inserted: all attention rows, each of them, any other row that reads the row above it."""
    count = len(spec.layers) - 1
    if count > _MAX_ROWS:
        return
    single = [i for i in range(1, count) if spec.layers[i].source == (i - 1,)]
    attention = [i for i in single if is_attention(spec.layers[i].module)]
    if len(attention) > 1:
        yield tuple(attention)
    yield from ((i,) for i in attention)
    yield from ((i,) for i in single if i not in attention)


def _renumber(spec: ModelSpec, inserted: tuple[int, ...]) -> ModelSpec | None:
    """The spec with every absolute index read as one of the list without the inserted rows; None if that is no list.

    An index of the row directly above counts as -1, which needs no renumbering; who read the row before an inserted one
    reads the inserted one.
    """
    own = [i for i in range(len(spec.layers)) if i not in inserted]
    own += [len(spec.layers)] * len(inserted)  # beyond the end: refused below

    def moved(reader: int, source: int) -> int:
        if source in (IMAGE, reader - 1):
            return source
        target = own[source]
        while target + 1 in inserted and target + 1 < reader:
            target += 1
        return target

    layers: list[LayerSpec] = []
    for i, layer in enumerate(spec.layers):
        source = layer.source if i in inserted else tuple(moved(i, s) for s in layer.source)
        if any(s >= i for s in source):
            return None
        layers.append(replace(layer, source=source))
    return replace(spec, layers=tuple(layers))


def _is_right(spec: ModelSpec) -> bool:
    try:
        check_references(spec)
        resolve(spec)
    except ValueError:
        return False
    return True
