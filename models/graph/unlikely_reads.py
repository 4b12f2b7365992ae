"""Reads that are probably mistakes in a list that is no stock graph: a guess from where in its stage a map is read.

A stage is a run of rows of one size, each reading the one above. What jumps to a stage from afar nearly always reads
its end; an index that was forgotten points into its middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from models.graph.stock_graphs import BLOCK, CONV, MAX_POOL, POOL, kinds_of
from models.spec.model_spec import IMAGE, LayerSpec, ModelSpec


class UnlikelyRead(NamedTuple):
    """A row that reads into the middle of a stage."""

    row: int
    read: int
    end: int  # of the stage


def unlikely_reads(spec: ModelSpec) -> list[UnlikelyRead]:
    """Reads of joins and Detect that stop short of a stage's end where it can hardly be meant.

    That is a convolution in front of its own block, always; and any other row in the middle, if attention stands above
    the reader and more of the reads from afar go to the end of a stage. A join that also reads further down the same
    stage gathers it on purpose.
    """
    layers = spec.layers
    reads = [
        UnlikelyRead(row, read, _end(layers, read, row))
        for row, layer in enumerate(layers)
        for read in layer.source
        if len(layer.source) > 1 and read not in (row - 1, IMAGE)
    ]
    early = [r for r in reads if r.end != r.read and not _gathers(layers, r)]
    few = 2 * len(early) < len(reads)
    return [r for r in early if _is_in_front_of_its_block(layers, r.read) or (few and _has_attention(layers[: r.row]))]


def _is_in_front_of_its_block(layers: Sequence[LayerSpec], row: int) -> bool:
    return CONV in kinds_of(layers[row]) and kinds_of(layers[row + 1]) == BLOCK


def _has_attention(layers: Sequence[LayerSpec]) -> bool:
    from models.graph.module_names import is_attention  # with torch, which other lists do not wait for

    return any(is_attention(layer.module) for layer in layers)


def _end(layers: Sequence[LayerSpec], row: int, reader: int) -> int:
    while row + 1 < reader and layers[row + 1].source == (row,) and _keeps_size(layers[row + 1]):
        row += 1
    return row


def _gathers(layers: Sequence[LayerSpec], read: UnlikelyRead) -> bool:
    return any(read.read in _before(layers, other) for other in layers[read.row].source)


def _before(layers: Sequence[LayerSpec], row: int) -> Iterator[int]:
    """The rows of a row's stage in front of it."""
    while row > 0 and len(layers[row].source) == 1 and _keeps_size(layers[row]):
        row = layers[row].source[0]
        yield row


def _keeps_size(layer: LayerSpec) -> bool:
    """Whether the map stays as large, as far as the arguments of YOLOv5's modules tell."""
    kinds = kinds_of(layer)
    if layer.module == "Focus" or len(layer.source) > 1:
        return False
    if kinds and kinds[-1] in (CONV, MAX_POOL) and kinds != BLOCK:
        position = 1 if layer.module == "nn.MaxPool2d" else 2
        return layer.args[position : position + 1] in ((), (1,))
    return kinds in (BLOCK, POOL, BLOCK + POOL) or (not kinds and _has_attention([layer]))
