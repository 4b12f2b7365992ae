"""Which rows are not trained: `--freeze 10`, `--freeze 0 1 2`, `--freeze 0-9`, `--freeze 'backbone,!attention'`.

Numbers are rows of the base model, so that an insertion moves nothing: an inserted row has no number and is trained
unless a name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from torch import nn

from models.attention import canonical_name
from models.blocks.convolutions import Bottleneck
from models.blocks.more_stages import AttentionC3, AttentionConv
from models.graph.module_names import is_attention
from models.insertion.places import places
from models.spec.model_spec import ModelSpec
from models.yolo import DetectionModel


class Frozen(NamedTuple):
    """What `freeze` did."""

    rows: frozenset[int]  # of the model, inserted ones included
    tensors: int  # parameters that are not trained
    total: int  # parameters of the model

    def __str__(self) -> str:
        """One line for the log."""
        if not self.tensors:
            return "nothing is frozen"
        return f"frozen: rows {_ranges(self.rows) or 'none'}, {self.tensors} of {self.total} parameter tensors"


class _Selection(NamedTuple):
    rows: frozenset[int]
    inner: bool | None  # attention inside C3: frozen, trained, or None for as its row


def frozen_rows(spec: ModelSpec, wanted: Sequence[str | int]) -> frozenset[int]:
    """The rows of a model that `--freeze` names.

    Args:
        spec: The model.
        wanted: Words, each of which may hold several separated by commas:
            one number and nothing else: as in YOLOv5 the first so many rows of the base, 0 for none;
            a number among others: that row of the base;
            `3-9`: rows 3 to 9 of the base, both included;
            `backbone`, `neck`, `head` (neck and Detect, as in the YAML), `detect`, with the rows inserted there;
            `attention`: every attention module; a place (`backbone.P3`, `neck.P4`, `backbone.sppf`): its row of the
            base; a module's name (`C3`, `CBAM`): its rows;
            `!` before any of them takes it out again; with nothing else it takes it out of the whole model.

    Raises:
        ValueError: If a word names no row; says what the model has.
    """
    return _select(spec, wanted).rows


def freeze(model: DetectionModel, wanted: Sequence[str | int], *, only_inserted: bool = False) -> Frozen:
    """Stop training what `--freeze` names, and train all else. The norms of frozen rows stay in eval mode.

    Args:
        model: The model; `model.train()` leaves the frozen norms in eval mode from now on.
        wanted: As in `frozen_rows`. Attention inside C3 belongs to its row, unless `attention` or `!attention` says so.
        only_inserted: Beside that, train nothing but inserted rows and attention modules, wherever they are: the warm
            start of `--thaw-after`.

    Raises:
        ValueError: As `frozen_rows`, or if nothing is left to train.
    """
    selection = _select(model.spec, wanted)
    model.requires_grad_(True)
    parts = [model.model[row] for row in sorted(selection.rows)]
    for part in parts:
        part.requires_grad_(False)
    inner = [m for row, top in enumerate(model.model) for m in _attention_inside(top, row, model.spec)]
    if selection.inner is not None:
        for module in inner:
            module.requires_grad_(not selection.inner)
    rows = selection.rows | _freeze_base(model) if only_inserted else selection.rows
    parameters = list(model.parameters())
    tensors = sum(not p.requires_grad for p in parameters)
    if tensors == len(parameters):
        during = " in the warm start of --thaw-after" if only_inserted else ""
        raise ValueError(f"--freeze {' '.join(map(str, wanted))}: nothing is left to train{during}")
    model.keep_in_eval(m for m in model.modules() if _is_frozen_norm(m))
    return Frozen(rows, tensors, len(parameters))


def _freeze_base(model: DetectionModel) -> frozenset[int]:
    """Freeze all but inserted rows and attention modules; returns the rows that are neither."""
    base = [i for i, x in enumerate(model.spec.layers) if x.base_row is not None and not is_attention(x.module)]
    added = [top for row, top in enumerate(model.model) if row not in base]
    added += [m for row in base for m in _attention_inside(model.model[row], row, model.spec)]
    kept = {id(p) for m in added for p in m.parameters()}
    if not kept:
        why = "its attention modules have no parameters" if added else "it has none; add --attention, e.g. CBAM@neck.P3"
        raise ValueError(f"--thaw-after: expected inserted modules to train in {model.spec.file}, but {why}")
    for parameter in model.parameters():
        if id(parameter) not in kept:
            parameter.requires_grad_(False)
    return frozenset(base)


def _select(spec: ModelSpec, wanted: Sequence[str | int]) -> _Selection:
    words = [word.strip() for item in wanted for word in str(item).split(",") if word.strip()]
    included = [word for word in words if not word.startswith("!")]
    alone = len(included) == 1 and included[0].isdecimal()
    chosen: set[int] = set()
    taken_out: set[int] = set()
    inner: bool | None = None
    for word in words:
        name = word.removeprefix("!").strip()
        rows = _first(spec, name) if alone and name == word else _named(spec, name)
        (chosen if name == word else taken_out).update(rows)
        if name == "attention":
            inner = name == word
    if words and not included:
        chosen = set(range(len(spec.layers)))
    return _Selection(frozenset(chosen - taken_out), inner)


def _first(spec: ModelSpec, name: str) -> list[int]:
    """The first so many rows of the base."""
    base = _base_rows(spec)
    if int(name) > len(base):
        raise ValueError(f"--freeze {name}: the base of {spec.file} has {len(base)} rows")
    return [row for number, row in base.items() if number < int(name)]


def _named(spec: ModelSpec, name: str) -> list[int]:
    base, last = _base_rows(spec), len(spec.layers) - 1
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", name):
        first, end = int(match[1]), int(match[2] or match[1])
        if not first <= end < len(base):
            turned = f"; write {end}-{first}" if end < first < len(base) else ""
            raise ValueError(f"--freeze {name}: the base of {spec.file} has the rows 0 to {len(base) - 1}{turned}")
        return [base[number] for number in range(first, end + 1)]
    groups = {
        "backbone": range(spec.backbone_rows),
        "neck": range(spec.backbone_rows, last),
        "head": range(spec.backbone_rows, last + 1),
        "detect": [last],
        "attention": [row for row, layer in enumerate(spec.layers) if is_attention(layer.module)],
    }
    if name in groups:
        return list(groups[name])
    known = places(spec)
    if name in known:
        row = known[name]
        while spec.layers[row].base_row is None:
            row = spec.layers[row].source[0]
        return [row]
    rows = [row for row, layer in enumerate(spec.layers) if _canonical(layer.module) == _canonical(name)]
    if not rows:
        names = ", ".join([*groups, *known])
        modules = ", ".join(dict.fromkeys(layer.module for layer in spec.layers[:-1]))
        raise ValueError(
            f"--freeze {name}: expected a number of rows, a range such as 0-9, one of {names}, or a module of "
            f"{spec.file}: {modules}; ! before a name takes it out"
        )
    return rows


def _base_rows(spec: ModelSpec) -> dict[int, int]:
    """From the number of a row in the base to its row in the model."""
    return {layer.base_row: row for row, layer in enumerate(spec.layers) if layer.base_row is not None}


def _canonical(module: str) -> str:
    return canonical_name(module) if is_attention(module) else module


def _attention_inside(top: nn.Module, row: int, spec: ModelSpec) -> Iterator[nn.Module]:
    """The attention modules inside a row that is not itself one."""
    if not is_attention(spec.layers[row].module):
        holders = (m for m in top.modules() if isinstance(m, (Bottleneck, AttentionC3, AttentionConv)))
        yield from (m.attention for m in holders if not isinstance(m.attention, nn.Identity))


def _is_frozen_norm(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and bool(own) and not any(p.requires_grad for p in own)


def _ranges(rows: frozenset[int]) -> str:
    """{0, 1, 2, 5} as `0-2, 5`."""
    runs = []
    for _, pairs in groupby(enumerate(sorted(rows)), lambda pair: pair[1] - pair[0]):
        run = [row for _, row in pairs]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(runs)
