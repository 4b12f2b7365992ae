"""YOLOv5's own graphs as data, and which of them a layer list is once its inserted rows are taken out. No torch.

A row of a graph is a letter for what it does and the rows that it reads. The letters are coarse on purpose: C3TR in
place of C3, GhostConv in place of Conv, other widths and repeats leave a graph what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice
from typing import NamedTuple

from models.spec.model_spec import LayerSpec, ModelSpec

_MAX_ROWS = 200  # no stock graph is longer, with all that one inserts into it
_MAX_READINGS = 64

CONV, BLOCK, POOL, UPSAMPLE, MAX_POOL, PAD, JOIN, DETECT = "cbpumzjd"
_KINDS = {
    **dict.fromkeys(("Conv", "DWConv", "GhostConv", "Focus", "CrossConv", "Contract"), CONV),
    **dict.fromkeys(("Bottleneck", "BottleneckCSP", "C3", "C3x", "C3TR", "C3Ghost"), BLOCK),
    **dict.fromkeys(("SPP", "SPPF"), POOL),
    **dict.fromkeys(("nn.Upsample", "nn.ConvTranspose2d", "DWConvTranspose2d", "Expand"), UPSAMPLE),
    "C3SPP": BLOCK + POOL,
    "GhostBottleneck": BLOCK + CONV,
    "nn.MaxPool2d": MAX_POOL + CONV,
    "nn.ZeroPad2d": PAD,
    "Concat": JOIN,
    "Detect": DETECT,
}
_BY_NAME = (
    *(("SPP", POOL), ("CSP", BLOCK), ("C3", BLOCK), ("C2", BLOCK)),
    *(("Conv", CONV), ("DCN", CONV), ("RepVGG", CONV), ("CARAFE", UPSAMPLE)),
)
"""What a module that YOLOv5 does not have stands for by its name, if by anything: SimSPPF, C2f, RepConv."""

_REPLACEABLE = CONV + BLOCK + POOL + UPSAMPLE  # by a module whose name tells nothing
_REPLACED = 10  # the price of that
_HIGHEST_PRICE = 39  # three such rows; with more it is another backbone


class StockGraph(NamedTuple):
    """A graph of YOLOv5."""

    name: str  # for messages
    kinds: tuple[str, ...]  # what each row does: its letter, or letters where releases differ
    sources: tuple[tuple[int, ...], ...]  # what each row reads


class Reading(NamedTuple):
    """A layer list as a stock graph with rows inserted."""

    graph: StockGraph
    own: tuple[int | None, ...]  # the row of the graph that each row is; None for an inserted one


def kinds_of(layer: LayerSpec) -> str:
    """What a row may do in a graph; empty where neither the module nor its name tells, as for attention."""
    if len(layer.source) > 1 and layer.module != "Detect":
        return JOIN
    by_name = next((kind for part, kind in _BY_NAME if part in layer.module), "")
    return _KINDS.get(layer.module, by_name)


def may_be_inserted(layer: LayerSpec) -> bool:
    """Whether this is no module of YOLOv5: attention, C3 with attention in its bottlenecks, or unknown."""
    return len(layer.source) == 1 and (layer.module not in _KINDS or "attention" in layer.options)


def readings(spec: ModelSpec) -> Iterator[Reading]:
    """Every way to read the list as a stock graph: its rows in order, inserted ones between them.

    Only modules that YOLOv5 does not have, and C3 with attention, count as inserted; they stand for rows of the graph
    where those would be missing otherwise.
    """
    weighted = any(len(x.source) > 2 and x.module != "Concat" for x in spec.layers[:-1])  # a BiFPN of its own
    if len(spec.layers) <= _MAX_ROWS and spec.layers[-1].module == "Detect" and not weighted:
        rows = tuple((kinds_of(layer), may_be_inserted(layer)) for layer in spec.layers)
        for graph in _by_shape().get(_shape([layer.source for layer in spec.layers]), ()):
            yield from (Reading(graph, own) for own in _alignments(rows, graph.kinds))


@lru_cache(maxsize=64)
def _alignments(rows: tuple[tuple[str, bool], ...], graph: tuple[str, ...]) -> tuple[tuple[int | None, ...], ...]:
    """The cheapest ways to take rows for inserted ones, each row of the graph being left exactly once.

    Args:
        rows: What each row may do, and whether it may be inserted.
        graph: What each row of the graph does.
    """
    stock, never = len(graph), float("inf")

    def steps(i: int, j: int) -> Iterator[tuple[int, int, int]]:
        kinds, insertable = rows[i]
        if insertable:
            yield int(bool(kinds)), i + 1, j
        if j < stock and set(kinds or _REPLACEABLE) & set(graph[j]):
            yield 0 if kinds else _REPLACED, i + 1, j + 1

    @cache
    def price(i: int, j: int) -> float:
        if i == len(rows) or len(rows) - i < stock - j:
            return 0 if i == len(rows) and j == stock else never
        return min((cost + price(*to) for cost, *to in steps(i, j)), default=never)

    def walk(i: int, j: int) -> Iterator[tuple[int | None, ...]]:
        if i == len(rows):
            yield ()
            return
        for cost, *to in steps(i, j):
            if cost + price(*to) == price(i, j):
                yield from ((j if to[1] > j else None, *rest) for rest in walk(*to))

    return tuple(islice(walk(0, 0), _MAX_READINGS)) if price(0, 0) <= _HIGHEST_PRICE else ()


def _shape(sources: list[tuple[int, ...]] | tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """How many rows each join reads, then how many Detect reads: what no insertion changes."""
    return (*(len(s) for s in sources[:-1] if len(s) > 1), -len(sources[-1]))


@cache
def _by_shape() -> dict[tuple[int, ...], tuple[StockGraph, ...]]:
    found: dict[tuple[int, ...], dict[StockGraph, None]] = {}
    for graph in stock_graphs():
        found.setdefault(_shape(graph.sources), {})[graph] = None
    return {shape: tuple(graphs) for shape, graphs in found.items()}


@cache
def stock_graphs() -> tuple[StockGraph, ...]:
    """The pyramids of YOLOv5's releases and hub (P5, P6, P7, from P2 on, BiFPN), its FPN, and YOLOv3 in three sizes."""
    pyramids = [
        _pyramid(top, finest, coarsest, early_pool, bifpn)
        for top in (5, 6, 7)
        for finest in (3, 2, 4)
        for coarsest in range(top, finest, -1)
        for early_pool in (False, True)
        for bifpn in (False, True)
    ]
    p5 = "ccbcbcbcb"
    return (
        *pyramids,
        _graph("YOLOv5 with an FPN", [*p5, "p", *"bujcbujcbd"], {12: (-1, 6), 16: (-1, 4), 19: (18, 14, 10)}),
        _graph(
            "YOLOv3",
            [*"ccbcbcbcbcb", "b", "pc", *"ccccujbbcccujbbd"],
            {16: (-2,), 18: (-1, 8), 23: (-2,), 25: (-1, 6), 28: (27, 22, 15)},
        ),
        _graph("YOLOv3-tiny", [*"cmcmcmcmcmczm", *"ccccujcd"], {16: (-2,), 18: (-1, 8), 20: (19, 15)}),
    )


def _pyramid(top: int, finest: int, coarsest: int, early_pool: bool, bifpn: bool) -> StockGraph:
    """Down from the backbone's top level to the finest with lateral joins, then up again to the coarsest.

    The stage of level k ends with row 2 * k - 2. Releases before 6.0 pool before the last block.
    """
    kinds = [*"c", *"cb" * (top - 1), "p"]
    if early_pool:
        kinds[-2:] = "pb"
    joins: dict[int, tuple[int, ...]] = {}
    lateral: dict[int, int] = {}
    for level in range(top - 1, finest - 1, -1):
        lateral[level + 1] = len(kinds)
        joins[len(kinds) + 2] = (-1, 2 * level - 2)
        kinds += "cujb"
    outputs = [len(kinds) - 1]
    for level in range(finest + 1, coarsest + 1):
        joins[len(kinds) + 1] = (-1, lateral[level], *([2 * level - 2] if bifpn and level < top else []))
        kinds += "cjb"
        outputs.append(len(kinds) - 1)
    joins[len(kinds)] = tuple(outputs)
    backbone = f" on a P{top} backbone" if top != coarsest else ""
    return _graph(f"YOLOv5 P{finest} to P{coarsest}{backbone}{' with a BiFPN' * bifpn}", [*kinds, "d"], joins)


def _graph(name: str, kinds: list[str], joins: dict[int, tuple[int, ...]]) -> StockGraph:
    """A graph whose other rows read the row above; negative indices count back, as in a YAML."""
    written = [joins.get(row, (-1,)) for row in range(len(kinds))]
    sources = [tuple(row + s if s < 0 else s for s in read) for row, read in enumerate(written)]
    return StockGraph(name, tuple(kinds), tuple(sources))
