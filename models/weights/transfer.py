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

from files.text import write_rows
from models.graph.checked import analyse
from models.graph.stock_graphs import may_be_inserted
from models.spec.model_spec import IMAGE, ModelSpec
from models.weights.checkpoint import Checkpoint, read_checkpoint
from models.weights.class_names import match_classes
from models.weights.match_rows import align
from models.yolo import DetectionModel

_LUMINANCE = (0.299, 0.587, 0.114)  # the shares of RGB in grey
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
    classes: tuple[tuple[str, str], ...] = ()  # class of the model, and the source's that it was carried from

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
        if self.classes:
            pairs = ", ".join(a if a == b else f"{a} (from {b})" for a, b in self.classes)
            lines.append(f"classes carried by name: {pairs}")
        return "\n".join([self.summary, *lines, *([self.question] if self.question else [])])

    def __str__(self) -> str:
        """The summary, then a line for every tensor that was not simply loaded under its own key."""
        rows = [e for e in self.entries if e.fate != "loaded"]
        width = max((len(e.target or e.source) for e in rows), default=0)
        lines = [f"{e.fate:<8}{e.target or e.source:<{width}}  {list(e.shape)!s:<20} {e.reason}" for e in rows]
        return "\n".join([self.summary, *lines])

    def save(self, path: str | Path) -> None:
        """Write the table as CSV: fate, key in the model, key in the source, shape, reason."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            rows = (e._replace(shape="x".join(map(str, e.shape))) for e in self.entries)  # type: ignore[arg-type]
            write_rows(file, [Entry._fields, *rows])


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
    left = [e for e in entries if e.fate == "unused" and _split(e.source)[0] >= first]
    shapes = Counter(e.shape for e in left)
    fresh: list[int] = []
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


class Head(NamedTuple):
    """The head of the model that is filled, an anchor-based Detect."""

    row: int
    levels: Mapping[int, int]  # from its levels to those of the source's head, by stride
    anchors_a_level: int
    classes: Mapping[int, int] = {}  # from its classes to those of the source; empty: by position, if as many


class Colours(NamedTuple):
    """How the source's images are made of those of the model that is filled."""

    rows: frozenset[int]  # rows of the model that read the image
    mix: Tensor  # (channels of the source, channels of the model)


class _Plan(NamedTuple):
    """Where each tensor of the model comes from."""

    rows: Mapping[int, int]  # from rows of the model to rows of the source
    available: Mapping[int, Mapping[str, tuple[str, Tensor]]]  # by row of the source and name: key, tensor
    head: Head | None
    colours: Colours | None


def copy_rows(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    rows: Mapping[int, int],
    name: str,
    head: Head | None = None,
    colours: Colours | None = None,
) -> TransferReport:
    """Copy the tensors of matched rows, in place.

    Args:
        target: State dict to fill, with keys `model.<row>.…`.
        source: State dict to read, with such keys.
        rows: From rows of `target` to rows of `source`.
        name: Of the source, for the report.
        head: The row that is copied level by level; None copies every tensor whole or not at all.
        colours: How kernels that read the image are mixed; None where the images are the same.
    """
    plan = _Plan(rows, _by_row(source), head, colours)
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
    source_key, value = available[rest]
    if plan.colours is not None and row in plan.colours.rows and value.shape != tensor.shape:
        return _copy_mixed(key, tensor, source_key, value, plan.colours.mix)
    return _copy_whole(key, tensor, source_key, value)


def _copy_mixed(key: str, tensor: Tensor, source_key: str, value: Tensor, mix: Tensor) -> Entry:
    """A kernel (out, n * C, h, w) that reads n pixels (Focus: 4, else 1) of an image of other channels."""
    there, here = mix.shape
    pixels, rest = divmod(value.shape[1], there) if value.ndim == 4 else (0, 0)
    if not pixels or rest or tensor.shape != (len(value), pixels * here, *value.shape[2:]):
        return _copy_whole(key, tensor, source_key, value)
    parts = value.float().reshape(len(value), pixels, there, *value.shape[2:])
    tensor.copy_(torch.einsum("opchw,cd->opdhw", parts, mix).flatten(1, 2))
    return Entry("partly", key, source_key, tuple(tensor.shape), f"kernels for {there} channels mixed for {here}")


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
    by_position = value.shape == tensor.shape and all(a == b for a, b in head.classes.items())
    if by_position or not same:
        return _copy_whole(key, tensor, source_key, value)
    new = tensor.view(here, -1, *tensor.shape[1:])  # (anchors, 5 + classes, …)
    old = value.view(here, -1, *value.shape[1:])
    new[:, :5] = old[:, :5]
    for target, source in head.classes.items():
        new[:, 5 + target] = old[:, 5 + source]
    reason = f"box and objectness channels; classes by name: {len(head.classes) or 'none'}"
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
