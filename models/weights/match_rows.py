"""Match the rows of two layer lists: which row of one model is which row of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from models.graph.channels_and_strides import GraphRow
from models.graph.checked import analyse
from models.graph.module_names import plain_module
from models.spec.model_spec import ModelSpec

_LIMIT = 128  # alignments compared; with more, two of them cannot be told apart by the graph


class _Key(NamedTuple):
    """What must agree for two rows to be the same row."""

    module: str
    stride: str  # of its output, in pixels of the image
    channels: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


class _Rows(NamedTuple):
    """The rows of a model with their keys."""

    spec: ModelSpec
    keys: list[_Key]


def align(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """From rows of `target` that hold weights to rows of `source`.

    Where both say which row of one base each of their rows is, the answer is exact; rows inserted behind the same row
    of the base are matched by module. Otherwise as many rows as possible are matched in order; among equally long
    alignments the one that agrees with more of the graph's connections is taken.

    Raises:
        ValueError: If two remain; shows both.
    """
    if source.channels != target.channels:
        source = replace(source, channels=target.channels)
    a, b = (_Rows(spec, _keys(spec)) for spec in (source, target))
    exact = _by_base(a, b)
    if exact is not None:
        return exact
    return _best(a, b)


def _keys(spec: ModelSpec) -> list[_Key]:
    graph = analyse(spec)
    return [*(_key(row) for row in graph[:-1]), _Key("Detect", "", 0, (("m", ()),))]


def _key(row: GraphRow) -> _Key:
    plan = row.plan
    assert plan is not None  # Detect is last and handled by the caller
    shapes = tuple((name, shape) for name, shape in plan.tensor_shapes().items() if not _may_differ(name))
    return _Key(plan.attention or plain_module(row.layer.module), str(row.stride), row.channels, shapes)


def _may_differ(tensor: str) -> bool:
    """Whether a row is the same row without this tensor: of attention inside it, or of an identity start."""
    return ".attention." in f".{tensor}" or tensor.endswith("identity_strength")


def _by_base(a: _Rows, b: _Rows) -> dict[int, int] | None:
    """The matching by `base_row`, if both descend from one base; None otherwise."""
    own_a, own_b = ({x.base_row: i for i, x in enumerate(r.spec.layers) if x.base_row is not None} for r in (a, b))
    whole = list(range(len(own_a)))
    if sorted(own_a) != whole or sorted(own_b) != whole or any(a.keys[own_a[r]] != b.keys[own_b[r]] for r in whole):
        return None
    matched = {own_b[row]: own_a[row] for row in whole}
    there = _inserted(a)
    for place, row in _inserted(b).items():
        if place in there:
            matched[row] = there[place]
    return matched


def _inserted(rows: _Rows) -> dict[tuple[int, _Key, int], int]:
    """The inserted rows by the row of the base that each is behind, its key, and its number among equal ones there."""
    found: dict[tuple[int, _Key, int], int] = {}
    for i, layer in enumerate(rows.spec.layers):
        if layer.base_row is not None:
            continue
        behind = layer
        while behind.base_row is None:
            behind = rows.spec.layers[behind.source[0]]
        number = 0
        while (behind.base_row, rows.keys[i], number) in found:
            number += 1
        found[behind.base_row, rows.keys[i], number] = i
    return found


def _best(a: _Rows, b: _Rows) -> dict[int, int]:
    best: list[dict[int, int]] = []
    best_score = -1
    for count, candidate in enumerate(_alignments(a, b)):
        if count == _LIMIT:
            raise ValueError(_ambiguous([*best, candidate], a.spec, b.spec, f"more than {_LIMIT} ways"))
        score = _graph_agreement(candidate, a, b)
        if score > best_score:
            best, best_score = [candidate], score
        elif score == best_score:
            best.append(candidate)
    if len(best) > 1:
        raise ValueError(_ambiguous(best, a.spec, b.spec, "two ways"))
    return best[0]


def _alignments(a: _Rows, b: _Rows) -> Iterator[dict[int, int]]:
    """Every longest in-order matching of the rows of `b` that hold weights to those of `a`; the heads always match."""
    rows_a, rows_b = ([i for i, key in enumerate(r.keys[:-1]) if key.shapes] for r in (a, b))
    keys_a, keys_b = [a.keys[i] for i in rows_a], [b.keys[i] for i in rows_b]
    length = _lengths(keys_a, keys_b)
    heads = {len(b.keys) - 1: len(a.keys) - 1}

    stack: list[tuple[int, int, dict[int, int]]] = [(0, 0, {})]
    while stack:
        i, j, matched = stack.pop()
        if length[i][j] == 0:
            yield {rows_b[m]: rows_a[k] for m, k in matched.items()} | heads
            continue
        # The next pair of the matching: going from pair to pair, each matching is met once.
        for k in range(i, len(keys_a)):
            if length[k][j] < length[i][j]:
                break
            for m in range(j, len(keys_b)):
                if length[k][m] < length[i][j]:
                    break
                if keys_a[k] == keys_b[m] and length[k + 1][m + 1] + 1 == length[i][j]:
                    stack.append((k + 1, m + 1, {**matched, m: k}))


def _lengths(a: Sequence[_Key], b: Sequence[_Key]) -> list[list[int]]:
    """At [i][j]: how many rows of `a` from i on and of `b` from j on can be matched in order."""
    length = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            same = length[i + 1][j + 1] + 1 if a[i] == b[j] else 0
            length[i][j] = max(same, length[i + 1][j], length[i][j + 1])
    return length


def _graph_agreement(matched: Mapping[int, int], a: _Rows, b: _Rows) -> int:
    """How many rows of `b` read, past rows without weights or without a match, what their match in `a` reads."""
    before_a = _sources(a, frozenset(matched.values()))
    before_b = _sources(b, frozenset(matched))
    return sum(tuple(matched[r] for r in before_b[t]) == before_a[s] for t, s in matched.items())


def _sources(rows: _Rows, kept: frozenset[int]) -> list[tuple[int, ...]]:
    """For each row the rows of `kept` that it reads, directly or through others."""
    before: list[tuple[int, ...]] = []
    for layer in rows.spec.layers:
        found: dict[int, None] = {}
        for s in layer.source:
            if s >= 0:
                found |= dict.fromkeys([s] if s in kept else before[s])
        before.append(tuple(found))
    return before


def _ambiguous(best: Sequence[Mapping[int, int]], source: ModelSpec, target: ModelSpec, how_many: str) -> str:
    first, second = best[0], next(c for c in best[1:] if c != best[0])
    rows = sorted(t for t in {*first, *second} if first.get(t) != second.get(t))

    def shown(matching: Mapping[int, int]) -> str:
        return ", ".join(f"row {t} from {matching.get(t, 'nothing')}" for t in rows)

    return (
        f"{target.file}: {how_many} to take the weights of {source.file} are equally good: {shown(first)}; or "
        f"{shown(second)}. Write the model as an overlay (base and insert), which says which row is which"
    )
