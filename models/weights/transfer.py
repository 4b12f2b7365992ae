"""Weights from one model into another, past inserted rows, with a report of every tensor's fate.

Rows are matched first: exactly where both layer lists descend from one base, else by aligning the two lists by module,
shapes and the graph. Then tensors are copied row by row, so that an inserted row shifts keys but loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from models.graph.checked import analyse
from models.graph.stock_graphs import may_be_inserted
from models.spec.model_spec import ModelSpec
from models.weights.checkpoint import Checkpoint, read_checkpoint
from models.weights.match_rows import align
from models.yolo import DetectionModel

FATES = ("loaded", "shifted", "partly", "new", "unused")


class Entry(NamedTuple):
    """The fate of one tensor."""

    fate: str  # one of FATES
    target: str  # key in the model; "" for an unused one
    source: str  # key in the source; "" for a new one
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class TransferReport:
    """What `transfer` did, tensor by tensor; `str(report)` is a table."""

    source: str
    entries: tuple[Entry, ...]
    question: str = ""  # asked where what was left over would fit what starts at random

    def count(self, fate: str) -> int:
        """How many tensors met this fate."""
        return sum(entry.fate == fate for entry in self.entries)

    @property
    def summary(self) -> str:
        """One line: how many tensors of the source arrived, and how many of the model are new."""
        arrived = self.count("loaded") + self.count("shifted") + self.count("partly")
        total = arrived + self.count("unused")
        parts = ", ".join(f"{self.count(fate)} {fate}" for fate in FATES if self.count(fate))
        return f"{arrived} of {total} tensors of {self.source} arrived ({parts})"

    @property
    def overview(self) -> str:
        """The summary, then a line for each reason why tensors are not whole: fate, their number, their rows, why."""
        groups: dict[tuple[str, str], list[int]] = {}
        for entry in self.entries:
            if entry.fate in ("partly", "new", "unused"):
                groups.setdefault((entry.fate, entry.reason), []).append(_split(entry.target or entry.source)[0])
        lines = [
            f"{fate:<8}{len(rows):>4} in row {', '.join(map(str, dict.fromkeys(rows)))}"
            f"{' of the source' if fate == 'unused' else ''}: {reason}"
            for (fate, reason), rows in groups.items()
        ]
        return "\n".join([self.summary, *lines, *([self.question] if self.question else [])])

    def __str__(self) -> str:
        """The summary, then a line for every tensor that was not simply loaded under its own key."""
        rows = [e for e in self.entries if e.fate != "loaded"]
        width = max((len(e.target or e.source) for e in rows), default=0)
        lines = [f"{e.fate:<8}{e.target or e.source:<{width}}  {list(e.shape)!s:<20} {e.reason}" for e in rows]
        return "\n".join([self.summary, *lines])

    def save(self, path: str | Path) -> None:
        """Write the table as CSV: fate, key in the model, key in the source, shape, reason."""
        import csv

        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Entry._fields)
            writer.writerows(e._replace(shape="x".join(map(str, e.shape))) for e in self.entries)  # type: ignore[arg-type]


def transfer(model: DetectionModel, source: Checkpoint | DetectionModel | str | Path) -> TransferReport:
    """Copy every weight of `source` that has a place in `model`, in place.

    A different number of classes keeps the box and objectness channels of the head and starts the class channels
    afresh. Anchors travel with the head.

    Args:
        model: The model to fill; what finds no counterpart keeps its fresh weights.
        source: A checkpoint, a model, or the path of a weights file.

    Raises:
        ValueError: If two ways to match the rows are equally good, or nothing at all fits.
    """
    spec, state, name = _source(source)
    rows = match_rows(spec, model.spec)
    head = Head(len(model.spec.layers) - 1, _levels(spec, model.spec), model.detect.na)
    report = copy_rows(model.state_dict(), state, rows, name, head)
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
    left = [e for e in entries if e.fate == "unused" and _split(e.source)[0] >= first]
    shapes, fresh = Counter(e.shape for e in left), []
    for entry in entries:
        row = _split(entry.target)[0]
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


def _source(source: Checkpoint | DetectionModel | str | Path) -> tuple[ModelSpec, Mapping[str, Tensor], str]:
    if isinstance(source, DetectionModel):
        if source.is_fused:
            raise ValueError(f"{source.spec.file}: a fused model is no source of weights; take it before fuse()")
        return source.spec, source.state_dict(), source.spec.file
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    name = checkpoint.path.name if checkpoint.path else checkpoint.spec.file
    return checkpoint.spec, checkpoint.state_dict, name


class Head(NamedTuple):
    """The head of the model that is filled, an anchor-based Detect."""

    row: int
    levels: Mapping[int, int]  # from its levels to those of the source's head, by stride
    anchors_a_level: int


class _Plan(NamedTuple):
    """Where each tensor of the model comes from."""

    rows: Mapping[int, int]  # from rows of the model to rows of the source
    available: Mapping[int, Mapping[str, tuple[str, Tensor]]]  # by row of the source and name: key, tensor
    head: Head | None


def copy_rows(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    rows: Mapping[int, int],
    name: str,
    head: Head | None = None,
) -> TransferReport:
    """Copy the tensors of matched rows, in place.

    Args:
        target: State dict to fill, with keys `model.<row>.…`.
        source: State dict to read, with such keys.
        rows: From rows of `target` to rows of `source`.
        name: Of the source, for the report.
        head: The row that is copied level by level; None copies every tensor whole or not at all.
    """
    plan = _Plan(rows, _by_row(source), head)
    with torch.no_grad():
        entries = [_copy(key, tensor, plan) for key, tensor in target.items()]
    used, matched = {entry.source for entry in entries}, set(rows.values())
    for key, tensor in source.items():
        if key not in used:
            reason = "no such tensor in the matched row" if _split(key)[0] in matched else "its row has no counterpart"
            entries.append(Entry("unused", "", key, tuple(tensor.shape), reason))
    return TransferReport(name, tuple(entries))


def _by_row(state: Mapping[str, Tensor]) -> dict[int, dict[str, tuple[str, Tensor]]]:
    rows: dict[int, dict[str, tuple[str, Tensor]]] = {}
    for key, tensor in state.items():
        row, rest = _split(key)
        rows.setdefault(row, {})[rest] = (key, tensor)
    return rows


def _levels(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """The levels of the two heads that have the same stride and input channels, from the target's to the source's."""

    def levels(spec: ModelSpec) -> list[tuple[Fraction, int]]:
        graph = analyse(spec)
        return [(graph[s].stride, graph[s].channels) for s in graph[-1].layer.source]

    there = levels(source)
    return {i: there.index(level) for i, level in enumerate(levels(target)) if level in there}


def _split(key: str) -> tuple[int, str]:
    """`model.17.cv1.conv.weight` -> (17, `cv1.conv.weight`); row -1 for a key of another form."""
    parts = key.split(".", 2)
    if len(parts) == 3 and parts[0] == "model" and parts[1].isdecimal():
        return int(parts[1]), parts[2]
    return -1, key


def _copy(key: str, tensor: Tensor, plan: _Plan) -> Entry:
    row, rest = _split(key)
    shape = tuple(tensor.shape)
    if row not in plan.rows:
        return Entry("new", key, "", shape, "inserted row, or no row of the source fits")
    available = plan.available.get(plan.rows[row], {})
    if plan.head is not None and row == plan.head.row:
        return _copy_head(key, tensor, plan.head, available)
    if rest not in available:
        return Entry("new", key, "", shape, f"row {plan.rows[row]} of the source has no such tensor")
    return _copy_whole(key, tensor, *available[rest])


def _copy_whole(key: str, tensor: Tensor, source_key: str, value: Tensor) -> Entry:
    shape = tuple(tensor.shape)
    if value.shape != tensor.shape:
        return Entry("new", key, "", shape, f"the source has the shape {list(value.shape)}")
    tensor.copy_(value)
    fate = "loaded" if source_key == key else "shifted"
    return Entry(fate, key, source_key, shape, "" if fate == "loaded" else f"from {source_key}")


def _copy_head(key: str, tensor: Tensor, head: Head, available: Mapping[str, tuple[str, Tensor]]) -> Entry:
    """A tensor of Detect: anchors, or the weight or bias of one level's convolution, from the level of its stride."""
    _, rest = _split(key)
    anchors_key, anchors = available.get("anchors", ("", torch.empty(0, 0, 2)))
    if rest == "anchors":
        return _copy_anchors(key, tensor, anchors_key, anchors, head.levels)
    _, level, name = rest.split(".", 2)
    source_key, value = available.get(f"m.{head.levels.get(int(level), -1)}.{name}", ("", None))
    if value is None:
        return Entry("new", key, "", tuple(tensor.shape), "the source's head has no level of this stride and width")
    here = head.anchors_a_level
    same = here == anchors.shape[1] and value.shape[1:] == tensor.shape[1:] and value.shape[0] % here == 0
    if value.shape == tensor.shape or not same:
        return _copy_whole(key, tensor, source_key, value)
    new = tensor.view(here, -1, *tensor.shape[1:])  # (anchors, 5 + classes, …)
    new[:, :5] = value.view(here, -1, *value.shape[1:])[:, :5]
    reason = "box and objectness channels; the classes differ in number"
    return Entry("partly", key, source_key, tuple(tensor.shape), reason)


def _copy_anchors(key: str, tensor: Tensor, source_key: str, value: Tensor, levels: Mapping[int, int]) -> Entry:
    """Anchors (levels, anchors, 2) of the levels that both heads have."""
    if value.shape == tensor.shape and all(levels.get(i) == i for i in range(len(tensor))):
        return _copy_whole(key, tensor, source_key, value)
    if value.shape[1:] != tensor.shape[1:] or not levels:
        reason = f"the source has {value.shape[1]} anchors on {len(value)} levels, {len(levels)} of them alike"
        return Entry("new", key, "", tuple(tensor.shape), reason)
    for here, there in levels.items():
        tensor[here] = value[there]
    return Entry("partly", key, source_key, tuple(tensor.shape), f"{len(levels)} levels of the same stride")
