"""Whether each row of a layer list reads the map that it should: certain for YOLOv5's own graphs, else a guess.

A row inserted by hand moves every row behind it, and an index that was forgotten then names another map, often one of
the same size: the model builds, trains, and is another model. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        judged = _Comparison(spec, reading)
        if best is None or len(judged.wrong) < len(best.wrong):
            best = judged
        if not best.wrong:
            break
    if best is None:
        return _apart(spec, Verdict(None, doubtful=tuple(doubtful_rows(spec))))
    inserted = tuple(row for row, own in enumerate(best.own) if own is None)
    return _apart(spec, Verdict(best.graph, inserted, tuple(best.wrong), tuple(best.passing())))


def corrected(spec: ModelSpec, remarks: Iterable[Remark]) -> ModelSpec:
    """The list with the remarked rows as they should be."""
    sources = {remark.row: remark.source for remark in remarks}
    layers = (replace(layer, source=sources.get(row, layer.source)) for row, layer in enumerate(spec.layers))
    return replace(spec, layers=tuple(layers))


def _apart(spec: ModelSpec, verdict: Verdict) -> Verdict:
    """The verdict with the rows that are marked as meant set apart."""

    def marked(remarks: Iterable[Remark], free: bool) -> tuple[Remark, ...]:
        return tuple(r for r in remarks if getattr(spec.layers[r.row], "free", False) == free)

    wrong, doubtful = verdict.wrong, verdict.doubtful
    return replace(
        verdict, wrong=marked(wrong, False), doubtful=marked(doubtful, False), free=marked((*wrong, *doubtful), True)
    )


class _Comparison:
    """A list beside the stock graph that it is read as."""

    def __init__(self, spec: ModelSpec, reading: Reading) -> None:
        self.layers = spec.layers
        self.graph, self.own = reading
        self.here = {own: row for row, own in enumerate(self.own) if own is not None}
        self.read = {source for layer in spec.layers for source in layer.source}

    @cached_property
    def wrong(self) -> list[Remark]:
        """A remark for each row that is wrong, in order."""
        found: dict[int, Remark] = {}
        for row, own in enumerate(self.own):
            if own is not None:
                found |= {remark.row: remark for remark in self._differences(row, self.graph.sources[own])}
        for row, own in enumerate(self.own):
            if own is None and row not in self.read:
                reader = self._reader_for(row, found)
                what = "is read by no later row, so that it would train to nothing"
                found[row] = Remark(row, what, self.layers[row].source)
                found |= {remark.row: remark for remark in reader}
        return [found[row] for row in sorted(found)]

    def passing(self) -> Iterator[Remark]:
        """Joins that read a map in front of the inserted row that the others read, as a forgotten index would."""
        joins = [
            row for row, layer in enumerate(self.layers[:-1]) if len(layer.source) > 1 and self.own[row] is not None
        ]
        ends = {(row, s): self._end(s, row) for row in joins for s in self.layers[row].source}
        past = [(row, s) for (row, s), end in ends.items() if end != s]
        through = [s for (row, s) in ends if s != IMAGE and self.own[s] is None and s != row - 1]
        if len(past) > 1 and not through:
            return  # all of them, and more than one: a design
        for row, s in past:
            source = tuple(ends[row, x] if x == s else x for x in self.layers[row].source)
            yield Remark(row, f"reads {self._named(s)} in front of {self._named(ends[row, s])}", source)

    def _differences(self, row: int, wanted: tuple[int, ...]) -> Iterator[Remark]:
        """The remark on a row of the graph, or on the inserted row that it reads, if there is one to make."""
        source, missing, astray = list(self.layers[row].source), list(wanted), []
        for position, read in enumerate(source):
            if (base := self._base(read)) in missing:
                missing.remove(base)
            else:
                astray.append(position)
        problems = []
        for position, stock in zip(astray, missing, strict=True):
            read = source[position]
            if self._misreads(read):
                yield Remark(read, self._contrast(self.layers[read].source[0], stock), (self.here[stock],))
                continue
            problems.append(self._contrast(read, stock))
            source[position] = self._end(self.here[stock], row)
        for position, read in enumerate(source if row == len(self.layers) - 1 else ()):
            end = self._end(read, row)
            if end != read and position not in astray:
                source[position] = end
                problems.append(
                    f"reads {self._named(read)} past {self._named(end)}, which would not reach the detections"
                )
        if problems:
            yield Remark(row, " and ".join(problems), tuple(source))

    def _reader_for(self, row: int, found: dict[int, Remark]) -> list[Remark]:
        """Let the first row that reads past an inserted one read it, if nothing that was found already does."""
        if any(row in remark.source for remark in found.values()):
            return []
        before = self._chain(row)
        for reader in range(row + 1, len(self.layers)):
            source = found[reader].source if reader in found else self.layers[reader].source
            if self.own[reader] is not None and (past := before & set(source)):
                moved = tuple(row if s in past else s for s in source)
                problem = found[reader].problem + " and " if reader in found else ""
                return [Remark(reader, f"{problem}passes by {self._named(row)}", moved)]
        return []

    def _contrast(self, read: int, stock: int) -> str:
        there = "the image" if stock == IMAGE else f"{self._named(self.here[stock])}, the stock graph's row {stock}"
        return f"reads {self._named(read)} in place of {there}"

    def _named(self, row: int) -> str:
        return "the image" if row == IMAGE else f"row {row} ({self.layers[row].module})"

    def _base(self, row: int) -> int:
        """The row of the graph that a row is, or that the inserted rows before it lead back to."""
        while row != IMAGE and self.own[row] is None:
            row = self.layers[row].source[0]
        return row if row == IMAGE else self.own[row]

    def _chain(self, row):
        chain = {row}
        while row != IMAGE and self.own[row] is None:
            row = self.layers[row].source[0]
            chain.add(row)
        return chain

    def _misreads(self, row: int) -> bool:
        """Whether an inserted row names its input by a number of its own, and only one row reads it."""
        if row == IMAGE or self.own[row] is not None or self.layers[row].source[0] in (row - 1, IMAGE):
            return False
        return sum(layer.source.count(row) for layer in self.layers) == 1

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
