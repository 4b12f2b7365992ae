"""Weights from one model into another, past inserted rows, with a report of every tensor's fate.

Rows are matched first: exactly where both layer lists descend from one base, else by aligning the two lists by module,
shapes and the graph. Then tensors are copied row by row, so that an inserted row shifts keys but loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from models.graph.checked import analyse
from models.graph.stock_graphs import may_be_inserted
from models.spec.model_spec import IMAGE, ModelSpec
from models.weights.checkpoint import Checkpoint, read_checkpoint
from models.weights.class_names import match_classes
from models.weights.copy_rows import Colours, Head, copy_rows
from models.weights.match_rows import align
from models.weights.transfer_report import Entry, TransferReport, split_key
from models.yolo import DetectionModel

_LUMINANCE = (0.299, 0.587, 0.114)  # the shares of RGB in grey


def transfer(
    model: DetectionModel,
    source: Checkpoint | DetectionModel | str | Path,
    class_map: Mapping[str, str] | None = None,
) -> TransferReport:
    """Copy every weight of `source` that has a place in `model`, in place.

    Of the head, boxes and objectness are always carried, classes by name: "Traffic light" is `traffic_light`. Where no
    name is shared, as many classes are carried by their position, and another number of them starts afresh. Anchors
    travel with the head. Where the images have other channels, the kernels that read them are mixed so that the outputs
    stay the same: summed over the colours for grey, zero for an alpha that the source did not read.

    Args:
        model: The model to fill, its classes named; what finds no counterpart keeps its fresh weights.
        source: A checkpoint, a model, or the path of a weights file.
        class_map: From names of the model's classes to the source's that they take their weights from.

    Raises:
        ValueError: If two ways to match the rows are equally good, nothing at all fits, or `class_map` has a name that
            is not there.
    """
    spec, state, name, names = _source(source)
    rows = match_rows(spec, model.spec)
    classes = match_classes(names, model.names, class_map or {})
    head = Head(len(model.spec.layers) - 1, _levels(spec, model.spec), model.detect.na, classes)
    report = copy_rows(model.state_dict(), state, rows, name, head, _colours(spec, model.spec))
    if classes:
        told = tuple((model.names[here], names[there]) for here, there in classes.items())
        report = replace(report, classes=told)
    if all(entry.fate == "new" for entry in report.entries if entry.target):
        raise ValueError(
            f"nothing of {name} fits {model.spec.file}: are the size (width_multiple {spec.width_multiple} and "
            f"{model.spec.width_multiple}) and the layout those of one family?"
        )
    return replace(report, question=_question(report.entries, model.spec))


def _question(entries: Sequence[Entry], spec: ModelSpec) -> str:
    """Asks about the wiring where tensors behind an inserted row start at random that the source has left over."""
    inserted = {i for i, layer in enumerate(spec.layers[:-1]) if layer.base_row is None or may_be_inserted(layer)}
    if not inserted:
        return ""
    first = min(inserted)
    left = [e for e in entries if e.fate == "unused" and split_key(e.source)[0] >= first]
    shapes = Counter(e.shape for e in left)
    fresh: list[int] = []
    for entry in entries:
        row = split_key(entry.target)[0]
        if entry.fate == "new" and row > first and row not in inserted and shapes[entry.shape]:
            shapes[entry.shape] -= 1
            fresh.append(row)
    if not fresh:
        return ""
    rows = ", ".join(map(str, dict.fromkeys(fresh)))
    return (
        f"Is the wiring meant? Behind the inserted row {first} ({spec.layers[first].module}), {len(fresh)} tensors in "
        f"row {rows} start at random, and as many of their shapes are left over in the source: look at what these rows "
        "and the joins before them read, or ask python -m models.check"
    )


def match_rows(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """From each row of `target` to the row of `source` that it is.

    Raises:
        ValueError: If two alignments are equally good and differ in rows that hold weights.
    """
    return align(source, target)


def _source(
    source: Checkpoint | DetectionModel | str | Path,
) -> tuple[ModelSpec, Mapping[str, Tensor], str, Mapping[int, str]]:
    """Layer list, tensors, a name for the report, and class names."""
    if isinstance(source, DetectionModel):
        if source.is_fused:
            raise ValueError(f"{source.spec.file}: a fused model is no source of weights; take it before fuse()")
        return source.spec, source.state_dict(), source.spec.file, source.names
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    name = checkpoint.path.name if checkpoint.path else checkpoint.spec.file
    return checkpoint.spec, checkpoint.state_dict, name, checkpoint.names


def _levels(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """The levels of the two heads that have the same stride and input channels, from the target's to the source's."""

    def levels(spec: ModelSpec) -> list[tuple[Fraction, int]]:
        graph = analyse(spec)
        return [(graph[s].stride, graph[s].channels) for s in graph[-1].layer.source]

    there = levels(source)
    return {i: there.index(level) for i, level in enumerate(levels(target)) if level in there}


def _colours(source: ModelSpec, target: ModelSpec) -> Colours | None:
    """The source's grey or RGB as a sum of the target's; its alpha is the target's, or is left out."""
    if source.channels == target.channels:
        return None
    (there, own_alpha), (here, alpha) = (divmod(spec.channels - 1, 2) for spec in (source, target))
    same = there == here
    colour = torch.eye(3 if here else 1) if same else torch.ones(3, 1) if there else torch.tensor([_LUMINANCE])
    mix = torch.zeros(source.channels, target.channels)
    mix[: len(colour), : colour.shape[1]] = colour
    if own_alpha and alpha:
        mix[-1, -1] = 1
    rows = frozenset(i for i, layer in enumerate(target.layers) if IMAGE in layer.source)
    return Colours(rows, mix)
