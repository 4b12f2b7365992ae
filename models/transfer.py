"""Weights from one model into another, past inserted rows, with a report of every tensor's fate.

Rows are matched first: exactly where both layer lists descend from one base, else by aligning the two lists by module,
shapes and the graph. Then tensors are copied row by row, so that an inserted row shifts keys but loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from models.alignment import align
from models.checkpoint import Checkpoint, read_checkpoint
from models.spec import ModelSpec
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
    target = model.state_dict()
    by_row = _by_row(state)
    entries: list[Entry] = []
    used: set[str] = set()
    with torch.no_grad():
        for key, tensor in target.items():
            row, rest = _split(key)
            entry = _copy(key, tensor, rows.get(row), by_row.get(rows.get(row, -1), {}), rest, model)
            used.add(entry.source)
            entries.append(entry)
    if all(entry.fate == "new" for entry in entries):
        raise ValueError(
            f"nothing of {name} fits {model.spec.file}: are the size (width_multiple {spec.width_multiple} and "
            f"{model.spec.width_multiple}) and the layout those of one family?"
        )
    matched = set(rows.values())
    for key in state:
        if key not in used:
            reason = "no such tensor in the matched row" if _split(key)[0] in matched else "its row has no counterpart"
            entries.append(Entry("unused", "", key, tuple(state[key].shape), reason))
    return TransferReport(name, tuple(entries))


def match_rows(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """From each row of `target` to the row of `source` that it is.

    Raises:
        ValueError: If two alignments are equally good and differ in rows that hold weights.
    """
    return align(source, target)


def _source(source: Checkpoint | DetectionModel | str | Path) -> tuple[ModelSpec, Mapping[str, Tensor], str]:
    if isinstance(source, DetectionModel):
        return source.spec, source.state_dict(), source.spec.file
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    name = checkpoint.path.name if checkpoint.path else checkpoint.spec.file
    return checkpoint.spec, checkpoint.state_dict, name


def _by_row(state: Mapping[str, Tensor]) -> dict[int, dict[str, tuple[str, Tensor]]]:
    rows: dict[int, dict[str, tuple[str, Tensor]]] = {}
    for key, tensor in state.items():
        row, rest = _split(key)
        rows.setdefault(row, {})[rest] = (key, tensor)
    return rows


def _split(key: str) -> tuple[int, str]:
    """`model.17.cv1.conv.weight` -> (17, `cv1.conv.weight`)."""
    _, row, rest = key.split(".", 2)
    return int(row), rest


def _copy(
    key: str,
    tensor: Tensor,
    source_row: int | None,
    available: Mapping[str, tuple[str, Tensor]],
    rest: str,
    model: DetectionModel,
) -> Entry:
    shape = tuple(tensor.shape)
    if source_row is None:
        return Entry("new", key, "", shape, "inserted row")
    if rest not in available:
        return Entry("new", key, "", shape, f"row {source_row} of the source has no such tensor")
    source_key, value = available[rest]
    if value.shape == tensor.shape:
        tensor.copy_(value)
        fate = "loaded" if source_key == key else "shifted"
        return Entry(fate, key, source_key, shape, "" if fate == "loaded" else f"from {source_key}")
    is_head = _split(key)[0] == len(model.spec.layers) - 1
    if is_head and rest.startswith("m.") and _copy_boxes(tensor, value, model.detect.na):
        return Entry("partly", key, source_key, shape, "box and objectness channels; the classes differ in number")
    return Entry("new", key, "", shape, f"the source has the shape {list(value.shape)}")


def _copy_boxes(tensor: Tensor, value: Tensor, anchors: int) -> bool:
    """Copy the first five outputs of every anchor of a head convolution, where the rest of the shape agrees."""
    if tensor.shape[1:] != value.shape[1:] or value.shape[0] % anchors:
        return False
    new = tensor.view(anchors, -1, *tensor.shape[1:])  # (anchors, 5 + classes, …)
    new[:, :5] = value.view(anchors, -1, *value.shape[1:])[:, :5]
    return True
