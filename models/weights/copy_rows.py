"""Copies the tensors of matched rows: whole, a head level by level and class by class, first kernels by colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.weights.transfer_report import Entry, TransferReport, split_key


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
            reason = (
                "no such tensor in the matched row" if split_key(key)[0] in matched else "its row has no counterpart"
            )
            entries.append(Entry("unused", "", key, tuple(tensor.shape), reason))
    return TransferReport(name, tuple(entries))


def _by_row(state: Mapping[str, Tensor]) -> dict[int, dict[str, tuple[str, Tensor]]]:
    rows: dict[int, dict[str, tuple[str, Tensor]]] = {}
    for key, tensor in state.items():
        row, rest = split_key(key)
        rows.setdefault(row, {})[rest] = (key, tensor)
    return rows


def _copy(key: str, tensor: Tensor, plan: _Plan) -> Entry:
    row, rest = split_key(key)
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


def _copy_whole(key: str, tensor: Tensor, source_key: str, value: Tensor) -> Entry:
    shape = tuple(tensor.shape)
    if value.shape != tensor.shape:
        return Entry("new", key, "", shape, f"the source has the shape {list(value.shape)}")
    tensor.copy_(value)
    fate = "loaded" if source_key == key else "shifted"
    return Entry(fate, key, source_key, shape, "" if fate == "loaded" else f"from {source_key}")


def _copy_head(key: str, tensor: Tensor, head: Head, available: Mapping[str, tuple[str, Tensor]]) -> Entry:
    """A tensor of Detect: anchors, or the weight or bias of one level's convolution, from the level of its stride."""
    _, rest = split_key(key)
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
