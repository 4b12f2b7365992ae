"""An original YOLOv5 checkpoint as this project's data: its layer list, tensors and names, taken from inert stubs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from files.kinds import is_dict, is_list, is_mapping
from files.literals import check_extent
from models.graph.checked import analyse, checked_with_weights
from models.graph.module_names import attending, inner_attention
from models.spec.model_spec import ModelSpec
from models.spec.parse_layer_list import MODEL_KEYS, parse_spec
from models.weights.pickle_machine import Stub
from models.weights.state_dicts import stub_modules, stub_state_dict

NARROW = 0.5  # width inside the bottlenecks of forks, as a share of the branch
RELEASED_NAMES = {"l1.weight": "fc.0.weight", "l2.weight": "fc.2.weight"}
"""Tensors that forks write into the bottleneck itself under a name of their own: the two layers of C3SE."""

_OTHER_HEADS = {"Segment": "a segmentation model", "Classify": "a classification model", "Pose": "a pose model"}


class Original(NamedTuple):
    """What such a file holds."""

    spec: ModelSpec
    state_dict: dict[str, Tensor]
    names: dict[int, str]
    stride: list[float]


def read_original(data: object, file: str) -> Original:
    """Take a model out of what the restricted reader read.

    Raises:
        ValueError: If there is no detection model in it, or its layer list is wrong.
        AttributeError, TypeError, …: If attributes are not what the original's classes have.
    """
    model = (data.get("ema") or data.get("model")) if is_mapping(data) else data
    config = getattr(model, "yaml", None)
    if not isinstance(model, Stub) or not is_dict(config) or not is_list(config.get("head")):
        raise ValueError(_foreign(data))
    given, stride = getattr(model, "names", None), getattr(model, "stride", ())
    check_extent([config, given], "its layer list and names")
    spec = checked_with_weights(parse_spec(_layer_list(config, model), file))
    spec = _with_activations(spec, model)
    grid = f"model.{len(spec.layers) - 1}.anchor_grid"  # a buffer of releases before 6.0, derived from the anchors
    state = {key: tensor for key, tensor in stub_state_dict(model).items() if key != grid}
    spec = _with_narrow_bottlenecks(spec, state)
    state = _with_inner_keys(spec, state)
    given = given or [str(i) for i in range(spec.nc)]
    names = dict(given) if is_mapping(given) else dict(enumerate(given))
    return Original(spec, state, {int(i): str(name) for i, name in names.items()}, [float(s) for s in stride])


def _layer_list(config: Mapping[str, Any], model: Stub) -> dict[str, Any]:
    """The model's own YAML; the first releases wrote numbers and channels into Detect's arguments."""
    data = {key: config[key] for key in MODEL_KEYS if config.get(key) is not None}
    *rows, head = data["head"]
    if is_list(head) and len(head) == 4:
        if head[2] in _OTHER_HEADS:
            raise ValueError(
                f"holds {_OTHER_HEADS[head[2]]} of the original YOLOv5 (its head is {head[2]}); expected a detection "
                "model"
            )
        if head[2] == "Detect":
            data["head"] = [*rows, [*head[:3], ["nc", "anchors"]]]
    if "activation" not in data and (text := _first_activation(model)):
        data["activation"] = text
    return data


def _first_activation(model: Stub) -> str | None:
    """The activation of the first Conv, if it is not SiLU: releases before 4.0 had others and did not note them."""
    for _, module in stub_modules(model):
        if type(module).__name__ == "Conv":
            return _activation_text(module)
    return None


def _activation_text(module: Stub) -> str | None:
    inner: dict[str, Any] = vars(module).get("_modules") or {}
    act = inner.get("act")
    name = type(act).__name__
    if act is None or name == "SiLU":
        return None
    return f"nn.LeakyReLU({float(act.negative_slope)})" if name == "LeakyReLU" else f"nn.{name}()"


def _with_activations(spec: ModelSpec, model: Stub) -> ModelSpec:
    """BottleneckCSP has an activation of its own, LeakyReLU before release 6.0: note it in the row."""
    modules = dict(stub_modules(model))
    layers = list(spec.layers)
    for row, layer in enumerate(layers):
        stub = modules.get(f"model.{row}")
        if layer.module == "BottleneckCSP" and stub is not None and (text := _activation_text(stub)):
            layers[row] = replace(layer, options={**layer.options, "act": text})
    return replace(spec, layers=tuple(layers))


def _with_narrow_bottlenecks(spec: ModelSpec, state: Mapping[str, Tensor]) -> ModelSpec:
    """Forks' C3SE and the like often have bottlenecks of half the width, which YOLOv5's C3 has not: note it."""
    layers = list(spec.layers)
    for row, layer in enumerate(layers):
        first = state.get(f"model.{row}.m.0.cv1.conv.weight")
        if (attending(layer.module) or "")[:1] != ("C3",) or first is None or first.dim() != 4:
            continue
        inside, branch = first.shape[:2]
        if inside == int(branch * NARROW):
            layers[row] = replace(layer, options={**layer.options, "bottleneck_e": NARROW})
    return replace(spec, layers=tuple(layers))


def _with_inner_keys(spec: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention inside bottlenecks is `m.<i>.attention.…` here; forks call it `m.<i>.ca.…`, or leave the name out.

    Layers whose own names differ, too, are in `RELEASED_NAMES`.

    Raises:
        SpecError: If the graph is wrong, or names modules that are unknown here.
    """
    renamed: dict[str, str] = {}
    for row, planned in enumerate(analyse(spec)[:-1]):
        if planned.plan is None or inner_attention(planned.layer.module) is None:
            continue
        own = {f"model.{row}.{key}": shape for key, shape in planned.plan.tensor_shapes().items()}
        for key in (key for key in state if key.startswith(f"model.{row}.m.") and key not in own):
            *start, rest = key.split(".", 4)  # model, row, m, number of the bottleneck
            for inner in (rest, rest.partition(".")[2], RELEASED_NAMES.get(rest, rest)):
                name = ".".join([*start, "attention", inner])
                if own.get(name) == state[key].shape:
                    renamed[key] = name
                    break
    return {renamed.get(key, key): tensor for key, tensor in state.items()}


def _foreign(data: object) -> str:
    if is_mapping(data):
        keys = ", ".join(map(str, list(data)[:5]))
        found = f"a mapping with the keys {keys}" if keys else "an empty mapping"
        if data and all(isinstance(value, Tensor) for value in data.values()):
            found = f"tensors without an architecture, {keys}, …"
    else:
        found = f"a {type(data).__name__}"
    return (
        f"holds no YOLOv5 detection model (found {found}); expected a file of this project or of the original YOLOv5 "
        "repository"
    )
