"""Match the rows of two layer lists: which row of one model is which row of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import torch

from models.graph import GraphRow, analyse
from models.rows import BLOCKS
from models.spec import ModelSpec

_LIMIT = 512  # alignments compared before giving up on telling them apart


class _Key(NamedTuple):
    """What must agree for two rows to be the same row."""

    module: str
    stride: str  # of its output, in pixels of the image
    channels: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


def align(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """From rows of `target` to rows of `source`.

    Where the target's rows say which row of a base they are and the source is that base, the answer is exact. Otherwise
    as many rows as possible are matched in order; among equally long alignments the one that agrees with more of the
    graph's connections is taken.

    Raises:
        ValueError: If two remain that differ in rows with weights; shows both.
    """
    a, b = _keys(source), _keys(target)
    exact = {i: layer.base_row for i, layer in enumerate(target.layers) if layer.base_row is not None}
    if sorted(exact.values()) == list(range(len(a))) and all(a[s] == b[t] for t, s in exact.items()):
        return exact
    best: list[dict[int, int]] = []
    best_score = -1
    for candidate in _alignments(a, b):
        score = _graph_agreement(candidate, source, target)
        if score > best_score:
            best, best_score = [candidate], score
        elif score == best_score:
            best.append(candidate)
    weighted = {frozenset((t, s) for t, s in c.items() if b[t].shapes) for c in best}
    if len(weighted) > 1:
        raise ValueError(_ambiguous(best, source, target))
    return best[0]


def _keys(spec: ModelSpec) -> list[_Key]:
    graph = analyse(spec)
    keys = [_key(row) for row in graph[:-1]]
    return [*keys, _Key("Detect", "", len(graph[-1].inputs), (("m", graph[-1].inputs),))]


def _key(row: GraphRow) -> _Key:
    plan = row.plan
    assert plan is not None  # Detect is last and handled by the caller
    with torch.device("meta"):
        state = plan.make().state_dict()
    shapes = tuple((name, tuple(t.shape)) for name, t in state.items() if ".attention." not in name)
    module = plan.attention or (row.layer.module if row.layer.module in BLOCKS else "C3")
    return _Key(module, str(row.stride), row.channels, shapes)


def _alignments(a: Sequence[_Key], b: Sequence[_Key]) -> Iterator[dict[int, int]]:
    """Every in-order matching of `b` to `a` of the greatest weight; a row with weights counts for more."""

    @cache
    def weight(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        best = max(weight(i + 1, j), weight(i, j + 1))
        return max(best, weight(i + 1, j + 1) + _value(a[i])) if a[i] == b[j] else best

    stack: list[tuple[int, int, dict[int, int]]] = [(0, 0, {})]
    found = 0
    while stack and found < _LIMIT:
        i, j, matched = stack.pop()
        if weight(i, j) == 0:
            found += 1
            yield matched
            continue
        # The next pair of the matching: going from pair to pair, each matching is met once.
        for k, m in product(range(i, len(a)), range(j, len(b))):
            if a[k] == b[m] and weight(k + 1, m + 1) + _value(a[k]) == weight(i, j):
                stack.append((k + 1, m + 1, {**matched, m: k}))


def _value(key: _Key) -> int:
    return 16 if key.shapes else 1


def _graph_agreement(matched: Mapping[int, int], source: ModelSpec, target: ModelSpec) -> int:
    """How many connections of the target lead, past unmatched rows, to the rows that the source's lead to."""
    agreeing = 0
    for t, s in matched.items():
        wanted = [_through(i, matched, target) for i in target.layers[t].source]
        agreeing += sum(w == o for w, o in zip(wanted, source.layers[s].source, strict=False))
    return agreeing


def _through(row: int, matched: Mapping[int, int], spec: ModelSpec) -> int:
    """The source row behind a target row: its own match, or that of what an inserted row reads."""
    while row >= 0 and row not in matched:
        row = spec.layers[row].source[0]
    return matched.get(row, row)


def _ambiguous(best: Sequence[Mapping[int, int]], source: ModelSpec, target: ModelSpec) -> str:
    first, second = best[0], next(c for c in best[1:] if c != best[0])
    rows = sorted(t for t in {*first, *second} if first.get(t) != second.get(t))

    def shown(matching: Mapping[int, int]) -> str:
        return ", ".join(f"row {t} from {matching.get(t, 'nothing')}" for t in rows)

    return (
        f"{target.file}: two ways to take the weights of {source.file} are equally good: {shown(first)}; or "
        f"{shown(second)}. Write the model as an overlay (base and insert), which says which row is which"
    )
