"""Whether each row of a layer list reads the map that it should: certain for YOLOv5's own graphs, else a guess.

A row inserted by hand moves every row behind it, and an index that was forgotten then names another map, often one of
the same size: the model builds, trains, and is another model. Nothing here needs torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from models.graph.stock_graphs import Reading, StockGraph, readings
from models.graph.unlikely_reads import unlikely_reads
from models.spec.model_spec import IMAGE, ModelSpec, is_free


@dataclass(frozen=True)
class Remark:
    """What is wrong with a row, or may be."""

    row: int
    problem: str
    source: tuple[int, ...]  # what it should read


@dataclass(frozen=True)
class Verdict:
    """What is known of a list's wiring.

    Attributes:
        graph: The stock graph that it is without `inserted`; None for a graph of its own.
        inserted: Its rows that the stock graph does not have.
        wrong: Rows that do not read what they read there, or that nobody reads.
        doubtful: Rows that may not read what they should.
        free: Rows of either kind that the list marks as meant.
    """

    graph: StockGraph | None
    inserted: tuple[int, ...] = ()
    wrong: tuple[Remark, ...] = ()
    doubtful: tuple[Remark, ...] = ()
    free: tuple[Remark, ...] = ()


def judge(spec: ModelSpec) -> Verdict:
    """Compare a list's wiring with that of the stock graph that it is, or look for unlikely indices in its own."""
    best = None
    for reading in readings(spec):
        compared = _Comparison(spec, reading)
        if best is None or len(compared.wrong) < len(best.wrong):
            best = compared
        if not best.wrong:
            break
    if best is None:
        return _verdict(spec, None, (), [], _unlikely(spec))
    inserted = tuple(row for row, own in enumerate(best.own) if own is None)
    return _verdict(spec, best.graph, inserted, best.wrong, list(best.passing()))


def corrected(spec: ModelSpec, verdict: Verdict) -> ModelSpec:
    """The list with the rows that are wrong, and those that probably are, as they should be."""
    sources = {remark.row: remark.source for remark in (*verdict.doubtful, *verdict.wrong)}
    layers = (replace(layer, source=sources.get(row, layer.source)) for row, layer in enumerate(spec.layers))
    return replace(spec, layers=tuple(layers))


def _verdict(
    spec: ModelSpec,
    graph: StockGraph | None,
    inserted: tuple[int, ...],
    wrong: list[Remark],
    doubtful: list[Remark],
) -> Verdict:
    """The verdict, with the rows that are marked as meant set apart."""
    free = tuple(r for r in (*wrong, *doubtful) if is_free(spec.layers[r.row]))
    return Verdict(
        graph, inserted, tuple(r for r in wrong if r not in free), tuple(r for r in doubtful if r not in free), free
    )


def _unlikely(spec: ModelSpec) -> list[Remark]:
    found: dict[int, Remark] = {}
    for row, read, end in unlikely_reads(spec):
        what = f"reads {_named(spec, read)} in the middle of a stage that goes on to {_named(spec, end)}"
        before = found.get(row, Remark(row, "", spec.layers[row].source))
        source = tuple(end if s == read else s for s in before.source)
        found[row] = Remark(row, " and ".join(filter(None, (before.problem, what))), source)
    return list(found.values())


def _named(spec: ModelSpec, row: int) -> str:
    return "the image" if row == IMAGE else f"row {row} ({spec.layers[row].module})"


class _Comparison:
    """A list beside the stock graph that it is read as."""

    def __init__(self, spec: ModelSpec, reading: Reading) -> None:
        self.spec, self.layers = spec, spec.layers
        self.graph, self.own = reading
        self.here = {own: row for row, own in enumerate(self.own) if own is not None}
        self.read = Counter(source for layer in spec.layers for source in layer.source)

    @cached_property
    def wrong(self) -> list[Remark]:
        """A remark for each row that is wrong, in order."""
        found: dict[int, Remark] = {}
        for own, row in self.here.items():
            found |= {remark.row: remark for remark in self._differences(row, self.graph.sources[own])}
        for row, own in enumerate(self.own):
            if own is None and row not in self.read:
                readers = self._reader_for(row, found)
                what = "is read by no later row, so that it would train to nothing"
                found |= {remark.row: remark for remark in (Remark(row, what, self.layers[row].source), *readers)}
        return [found[row] for row in sorted(found)]

    def passing(self) -> Iterator[Remark]:
        """Reads from afar of a map in front of what was inserted behind it, as with a forgotten index.

        Where those of several maps all do, it is a design: attention in the trunk alone.
        """
        joins = [row for own, row in self.here.items() if self.graph.sources[own] != (own - 1,)][:-1]
        reads = [(row, read, self._end(read, row)) for row in joins for read in self.layers[row].source]
        past = [(row, read, end) for row, read, end in reads if end != read]
        through = [read for row, read, _ in reads if read not in (row - 1, IMAGE) and self.own[read] is None]
        for row, read, end in past if through or len({read for _, read, _ in past}) == 1 else ():
            source = tuple(end if s == read else s for s in self.layers[row].source)
            yield Remark(row, f"reads {self._named(read)} in front of {self._named(end)}", source)

    def _differences(self, row: int, wanted: tuple[int, ...]) -> Iterator[Remark]:
        """The remark on a row of the graph, or on the inserted row that it reads, if there is one to make."""
        source = list(self.layers[row].source)
        bases = [self._base(read) for read in source]
        problems: list[str] = []
        astray = [] if Counter(bases) == Counter(wanted) else [i for i, b in enumerate(bases) if b != wanted[i]]
        for position in astray:
            read, stock = source[position], wanted[position]
            if self._misreads(read):
                yield Remark(read, self._contrast(self.layers[read].source[0], stock), (self.here[stock],))
                continue
            problems.append(self._contrast(read, stock))
            source[position] = self._end(self.here[stock], row)
        for position, read in enumerate(source if row == len(self.layers) - 1 else ()):
            if position not in astray and (end := self._end(read, row)) != read:
                source[position] = end
                problems.append(f"reads {self._named(read)} past {self._named(end)}, which would not reach it")
        if problems:
            yield Remark(row, " and ".join(problems), tuple(source))

    def _reader_for(self, row: int, found: Mapping[int, Remark]) -> Iterator[Remark]:
        """Let the first row that reads past an inserted one read it, if nothing that was found already does."""
        if any(row in remark.source for remark in found.values()):
            return
        before = set(self._chain(row))
        for reader in (reader for reader in self.here.values() if reader > row):
            source = found[reader].source if reader in found else self.layers[reader].source
            if before & set(source):
                problem = f"{found[reader].problem} and " if reader in found else ""
                moved = tuple(row if s in before else s for s in source)
                yield Remark(reader, f"{problem}reads past {self._named(row)}", moved)
                return

    def _contrast(self, read: int, stock: int) -> str:
        there = "the image" if stock == IMAGE else f"{self._named(self.here[stock])}, the stock graph's row {stock}"
        return f"reads {self._named(read)} in place of {there}"

    def _named(self, row: int) -> str:
        return _named(self.spec, row)

    def _chain(self, row: int) -> list[int]:
        """A row, and the rows that it leads back to through inserted ones; the last is of the graph, or the image."""
        chain = [row]
        while row != IMAGE and self.own[row] is None:
            row = self.layers[row].source[0]
            chain.append(row)
        return chain

    def _base(self, row: int) -> int | None:
        """The row of the graph that a row is, or that it leads back to."""
        base = self._chain(row)[-1]
        return base if base == IMAGE else self.own[base]

    def _misreads(self, row: int) -> bool:
        """Whether an inserted row names its input by a number of its own, and only one row reads it."""
        if row == IMAGE or self.own[row] is not None or self.layers[row].source[0] in (row - 1, IMAGE):
            return False
        return self.read[row] == 1

    def _end(self, row: int, reader: int) -> int:
        """The last of the inserted rows behind a row and before its reader; one that nobody reads yet goes first.

        Those that a tool inserted for some readers only are left out: they are beside the row on purpose.
        """
        while behind := [i for i in range(row + 1, reader) if self._goes_on(row, i)]:
            row = min(behind, key=lambda i: (i in self.read, i))
        return row

    def _goes_on(self, row: int, later: int) -> bool:
        layer = self.layers[later]
        return self.own[later] is None and layer.source == (row,) and layer.base_row is not None
