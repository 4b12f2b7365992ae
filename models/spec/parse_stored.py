"""A model spec as a checkpoint stores it, read back and checked."""

from __future__ import annotations

from typing import Any

from files.kinds import is_int, is_items, is_list, is_mapping
from files.text import shown
from models.spec.model_spec import LayerSpec, ModelSpec
from models.spec.parse_layer_list import (
    MAX_REPEATS,
    check_keys,
    literal,
    number,
    parse_activation_name,
    parse_anchors,
    parse_channels,
)


def spec_from_dict(data: Any) -> ModelSpec:  # noqa: ANN401  (whatever a file holds)
    """The inverse of `ModelSpec.to_dict`, whose indices `models.graph.checked` checks.

    Raises:
        ValueError: If a field is missing, unknown or of the wrong type.
    """
    stored = "the stored model spec"
    if not is_mapping(data):
        raise ValueError(f"{stored} is not a mapping but {shown(data)}")
    check_keys(data, set(ModelSpec.__dataclass_fields__), list(ModelSpec.__dataclass_fields__), stored)
    if not is_list(data["layers"]) or not data["layers"]:
        raise ValueError(f"{stored}: expected a list of layers but got {shown(data['layers'])}")
    backbone_rows = data["backbone_rows"]
    if not is_int(backbone_rows) or not 0 <= backbone_rows < len(data["layers"]):
        raise ValueError(f"{stored}: backbone_rows: expected a number of layers but got {shown(backbone_rows)}")
    base = data["base"]
    layers = tuple(_stored_layer(i, row, stored) for i, row in enumerate(data["layers"]))
    base_rows = sorted(layer.base_row for layer in layers if layer.base_row is not None)
    if base_rows != list(range(len(base_rows))):
        raise ValueError(f"{stored}: base_row: expected each row of the base once but got {shown(base_rows)}")
    return ModelSpec(
        layers=layers,
        nc=number(data, "nc", int, stored),
        anchors=parse_anchors(data["anchors"], stored),
        depth_multiple=number(data, "depth_multiple", float, stored),
        width_multiple=number(data, "width_multiple", float, stored),
        backbone_rows=backbone_rows,
        channels=parse_channels(data["channels"], f"{stored}: channels"),
        channel_multiple=number(data, "channel_multiple", int, stored),
        activation=parse_activation_name(data["activation"], stored),
        file=str(data["file"]),
        base=None if base is None else str(base),
    )


def _stored_layer(row: int, data: Any, stored: str) -> LayerSpec:  # noqa: ANN401  (whatever a file holds)
    where = f"{stored}: row {row}"
    if not is_mapping(data):
        raise ValueError(f"{where}: expected a mapping but got {shown(data)}")
    check_keys(data, set(LayerSpec.__dataclass_fields__), list(LayerSpec.__dataclass_fields__), where)
    source, repeats, base_row, options = data["source"], data["number"], data["base_row"], data["options"]
    good = is_items(source) and all(map(is_int, source)) and isinstance(data["module"], str)
    good = good and is_int(repeats) and 1 <= repeats <= MAX_REPEATS and (base_row is None or is_int(base_row))
    if not good or not isinstance(data["args"], (list, tuple)) or not isinstance(options, dict):
        raise ValueError(f"{where}: expected a row but got {shown(dict(data))}")
    return LayerSpec(
        tuple(source), repeats, data["module"], literal(data["args"], where), literal(options, where), base_row
    )
