"""Attention in the newer family: the ultralytics package's own detection YAMLs (yolov5u, yolov8, yolo11, yolo26).

That package builds the model, then rows are inserted into what it built, because its parser takes modules from its own
globals only. Placement names, requests, overlays, renumbering and the report are those of `models.insertion.insert` and
`models.weights.transfer`; channels and strides come from one forward pass. The result is the package's
`DetectionModel`, with its forward pass and head. Its trainer builds every model anew from a YAML and so is not used;
its parser stops at the inserted row of such a YAML instead of leaving it out.

The package is imported when a model is built, not before. Its checkpoints are read without running anything in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from models.attention import create_attention
from models.graph.channels_and_strides import GraphRow
from models.insertion.identity_check import check_identity
from models.insertion.insert import Insertion, insert_rows, parse_entries
from models.insertion.places import named_places
from models.newer_family.ultralytics_yaml import check_rows, find_yaml, read_mapping, scale_letter
from models.spec.model_spec import LayerSpec, ModelSpec
from models.spec.parse_layer_list import check_keys, number
from models.weights.copy_rows import copy_rows
from models.weights.safe_unpickler import DAMAGED, RefusedGlobalError, read_weights
from models.weights.state_dicts import stub_state_dict
from models.weights.transfer_report import TransferReport
from models.yolo import start_norms

if TYPE_CHECKING:
    from ultralytics.nn.tasks import DetectionModel

_TRY_OUT_PX = 256  # what the package itself finds strides with
_UNFIT = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError, AssertionError, NameError)


def build(
    cfg: str | Path, attention: str | Sequence[str] = (), *, nc: int | None = None, start: str | None = None
) -> DetectionModel:
    """Build a detection model of the ultralytics package, with attention inserted.

    Args:
        cfg: One of its YAMLs by name with the letter of the scale (`yolo11n.yaml`, `yolov5nu.yaml`), a file in its
            format whose name has that letter or which says `scale: n`, or an overlay (`base` and `insert`) on either.
        attention: Requests such as `"CBAM@neck"`, inserted beside what the overlay says.
        nc: Number of classes; the file's own if None.
        start: "paper" or "identity" for every module whose options do not say.

    Returns:
        The package's `DetectionModel` with fresh weights, in training mode.

    Raises:
        ValueError: If a file, a module, an option or a place is wrong.
    """
    file = find_yaml(cfg)
    data = read_mapping(file)
    insertions: list[str | Insertion] = []
    if "base" in data:
        check_keys(data, {"base", "insert", "nc"}, ("base", "insert"), file.name)
        insertions += parse_entries(data["insert"], file.name)
        beside = file.parent / str(data["base"])
        nc = data.get("nc", nc) if nc is None else nc
        file = beside if beside.is_file() else find_yaml(str(data["base"]))
        cfg, data = data["base"], read_mapping(file)
    insertions += [attention] if isinstance(attention, str) else attention
    if nc is not None:
        number({"nc": nc}, "nc", int, file.name)
    data["scale"] = scale_letter(data, Path(cfg).name)
    data["yaml_file"] = Path(cfg).name
    from ultralytics.nn import tasks

    check_rows(data, tasks, file)
    config: Any = data  # its stub wants a file's name alone
    try:
        model = tasks.DetectionModel(config, ch=data.get("channels", 3), nc=nc, verbose=False)
    except _UNFIT as error:
        raise ValueError(f"{file.name}: the ultralytics package cannot build it: {error}") from error
    if insertions:
        insert(model, insertions, start=start)
    return model


def places(model: DetectionModel) -> dict[str, int]:
    """Every placement name of a model and the row behind which it inserts, as `models.insertion.places.places`."""
    return named_places(_graph(model), len(_layer_list(model)["backbone"]))


def insert(
    model: DetectionModel, request: str | Insertion | Sequence[str | Insertion], *, start: str | None = None
) -> None:
    """Insert attention into a model of the package, in place; its weights stay.

    Args:
        model: The model. Rows of its own keep their number as `base_row`; inserted ones have None there.
        request: As in `models.insertion.insert.insert`.
        start: As there.

    Raises:
        ValueError: If a module, an option or a place is unknown; names the known ones.
    """
    graph, spec = _graph(model), _spec(model)
    wide = insert_rows(spec, request, named_places(graph, spec.backbone_rows), start=start)
    old, parameter = _children(model), next(model.parameters())
    modules: list[nn.Module] = []
    for layer in wide.layers:
        if layer.base_row is None:
            behind = wide.layers[layer.source[0]]
            while (row := behind.base_row) is None:
                behind = wide.layers[behind.source[0]]
            module = _attention(layer, graph[row], spec, row)
            modules.append(module.to(device=parameter.device, dtype=parameter.dtype).train(model.training))
        else:
            modules.append(old[layer.base_row])
    _rewire(model, wide, modules)


def transfer(model: DetectionModel, source: DetectionModel | str | Path) -> TransferReport:
    """Copy the weights of a model of the same layer list, with or without attention, in place.

    Modules at the same place travel too. Where the classes differ in number, what depends on it starts afresh.

    Args:
        model: The model to fill.
        source: A checkpoint of the ultralytics package, read without running anything in it, or a model.

    Raises:
        ValueError: If the file holds no such model, or one of another layer list or scale.
    """
    here, there = _rows(_children(model)), _read_source(source)
    pairs = _match(here, there)
    state = model.state_dict()
    for key, tensor in state.items():
        row, rest = int(key.split(".")[1]), key.split(".", 2)[2]
        if here.base[row] is None or row == len(here.modules) - 1:  # the head depends on the number of classes
            continue
        other = there.state.get(f"model.{pairs[row]}.{rest}")
        if other is None or other.shape != tensor.shape:
            found = "is missing" if other is None else f"is {list(other.shape)}"
            raise ValueError(
                f"{there.name}: {key} {found} there and {list(tensor.shape)} here; expected weights of the same scale, "
                "not fused"
            )
    return copy_rows(state, there.state, pairs, there.name)


class _Rows(NamedTuple):
    """The rows of a model or of a checkpoint."""

    modules: list[str]  # class names
    base: list[int | None]  # the row of the base that each is; None for an inserted one
    behind: list[int]  # the row that each reads first
    state: Mapping[str, Tensor]
    name: str


def _rows(children: Sequence[Any], state: Mapping[str, Tensor] | None = None, name: str = "the model") -> _Rows:
    """Of modules or of stubs: both have the package's attributes `f` and, where something was inserted, `base_row`."""
    found = [vars(child) for child in children]
    sources = [values["f"] if isinstance(values["f"], int) else values["f"][0] for values in found]
    return _Rows(
        [type(child).__name__ for child in children],
        [values.get("base_row", i) for i, values in enumerate(found)],
        [i + s if s < 0 else s for i, s in enumerate(sources)],
        state or {},
        name,
    )


def _read_source(source: DetectionModel | str | Path) -> _Rows:
    if isinstance(source, nn.Module):
        return _rows(_children(source), source.state_dict())
    file = Path(source)
    try:
        data = read_weights(file, newer=True)
        root: Any = (data.get("ema") or data.get("model")) if isinstance(data, Mapping) else data
        children = list(vars(vars(root)["_modules"]["model"])["_modules"].values())
        return _rows(children, stub_state_dict(root), file.name)
    except RefusedGlobalError as error:
        raise ValueError(f"{file}: refused: it names the global {error}; nothing in it was run") from None
    except DAMAGED as error:
        raise ValueError(
            f"{file}: expected a checkpoint of the ultralytics package, but no model can be read: {error}"
        ) from error


def _match(here: _Rows, there: _Rows) -> dict[int, int]:
    """From rows of one model to rows of the other: by the base's numbers, and by place for what was inserted."""
    own, theirs = ({b: i for i, b in enumerate(r.base) if b is not None} for r in (here, there))
    for base_row in sorted({*own, *theirs}):
        a, b = (r.modules[o[base_row]] if base_row in o else "nothing" for r, o in ((here, own), (there, theirs)))
        if a != b:
            raise ValueError(
                f"{there.name}: row {base_row} of the base is {b} there and {a} here; expected weights of the same "
                "layer list"
            )
    pairs = {own[base_row]: theirs[base_row] for base_row in own}
    placed = _inserted(there)
    return pairs | {row: placed[place] for place, row in _inserted(here).items() if place in placed}


def _inserted(rows: _Rows) -> dict[tuple[int, str, int], int]:
    """The inserted rows by the base's row that each is behind, its module, and its number among equal ones there."""
    found: dict[tuple[int, str, int], int] = {}
    for i, base in enumerate(rows.base):
        if base is not None:
            continue
        behind = rows.behind[i]
        while (place := rows.base[behind]) is None:
            behind = rows.behind[behind]
        count = sum(key[:2] == (place, rows.modules[i]) for key in found)
        found[place, rows.modules[i], count] = i
    return found


def _attention(layer: LayerSpec, behind: GraphRow, spec: ModelSpec, row: int) -> nn.Module:
    if not behind.channels:
        raise ValueError(f"{spec.file}: row {row} ({behind.layer.module}) does not give one map to put a module behind")
    check_identity(layer.module, behind.channels, layer.options)
    module = create_attention(layer.module, behind.channels, **layer.options)
    start_norms(module)
    return module


def _children(model: DetectionModel) -> list[Any]:
    """The modules of its rows, to which the package gives attributes of its own."""
    rows: Any = model.model
    return list(rows)


def _layer_list(model: DetectionModel) -> dict[str, Any]:
    """The mapping that it was built from."""
    written: Any = model.yaml
    return written


def _rewire(model: Any, wide: ModelSpec, modules: Sequence[Any]) -> None:  # noqa: ANN401  (untyped attributes)
    """Give the model its rows in the package's terms: `f` and `i` of each, the maps to keep, and the layer list."""
    old_rows = [*model.yaml["backbone"], *model.yaml["head"]]
    old_base = [getattr(module, "base_row", i) for i, module in enumerate(model.model)]
    rows = []
    for i, (layer, module) in enumerate(zip(wide.layers, modules, strict=True)):
        base = layer.base_row
        new = base is None
        written = [-1] if new else module.f if isinstance(module.f, list) else [module.f]
        read = [-1 if w == -1 and s == i - 1 else s for w, s in zip(written, layer.source, strict=True)]
        module.f = read if not new and isinstance(module.f, list) else read[0]
        module.i, module.base_row = i, None if base is None else old_base[base]
        if new:
            module.type = f"{type(module).__module__}.{type(module).__name__}"
            module.np = sum(p.numel() for p in module.parameters())
        own = [1, layer.module, [dict(layer.options)] if layer.options else []]
        rows.append([module.f, *(own if base is None else old_rows[base][1:])])
    model.model = nn.Sequential(*modules)
    model.save = sorted({s for row in rows for s in (row[0] if isinstance(row[0], list) else [row[0]]) if s != -1})
    model.yaml = {**model.yaml, "backbone": rows[: wide.backbone_rows], "head": rows[wide.backbone_rows :]}


def _spec(model: DetectionModel) -> ModelSpec:
    """The rows with absolute sources; only what insertion by indices reads."""
    data = _layer_list(model)
    rows = [*data["backbone"], *data["head"]]
    layers: list[LayerSpec] = []
    for i, (row, module) in enumerate(zip(rows, _children(model), strict=True)):
        written = module.f if isinstance(module.f, list) else [module.f]
        layers.append(LayerSpec(tuple(i + s if s < 0 else s for s in written), 1, row[2]))
    file = str(data.get("yaml_file", "model"))
    return ModelSpec(tuple(layers), data["nc"], 1, backbone_rows=len(data["backbone"]), file=file)


def _graph(model: DetectionModel) -> tuple[GraphRow, ...]:
    """Channels and strides of every row, from a blank image; 0 for a row that does not give one map."""
    outputs: list[Any] = []
    hooks = [module.register_forward_hook(lambda _m, _i, output: outputs.append(output)) for module in _children(model)]
    parameter, training = next(model.parameters()), model.training
    try:
        with torch.no_grad():
            model.eval()(parameter.new_zeros(1, _layer_list(model).get("channels", 3), _TRY_OUT_PX, _TRY_OUT_PX))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    rows = []
    for layer, output in zip(_spec(model).layers, outputs, strict=True):
        is_map = isinstance(output, Tensor) and output.ndim == 4
        channels, stride = (output.shape[1], Fraction(_TRY_OUT_PX, output.shape[-1])) if is_map else (0, Fraction(0))
        rows.append(GraphRow(layer, channels, stride, (), None))
    return tuple(rows)
