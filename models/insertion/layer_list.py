"""A spec written out as a complete layer list in YAML."""

from __future__ import annotations

from dataclasses import replace

from models.graph.channels_and_strides import GraphRow
from models.graph.checked import analyse
from models.graph.user_classes import user_files
from models.spec.model_spec import FREE, ModelSpec, flow, is_free, row_text


def layer_list(spec: ModelSpec) -> str:
    """The complete layer list of a spec as YAML, with each row's index and stride in a comment.

    Reading it back gives the same model. `inserted` names the rows that the base does not have, so that weights still
    find their rows exactly; whoever edits the rows later leaves the key out.
    """
    graph = analyse(spec)
    free = all(is_free(layer) for layer in spec.layers if layer.base_row is not None)
    if free:  # said once for all of them
        plain = [replace(x, options={k: v for k, v in x.options.items() if k not in FREE}) for x in spec.layers]
        spec = replace(spec, layers=tuple(plain))
    lines = _keys(spec)
    if free:
        lines.append("wiring: free  # rows may read other maps than in YOLOv5")
    if isinstance(spec.anchors, int):
        lines.append(f"anchors: {spec.anchors}")
    else:
        levels = [[int(x) if x.is_integer() else x for x in level] for level in spec.anchors]
        lines += ["anchors:", *(f"  - {flow(level)}" for level in levels)]
    for index, row in enumerate(graph):
        if index in (0, spec.backbone_rows):
            lines += ["", "backbone:" if index == 0 else "head:"]
        lines.append(_row_line(spec, index, row))
    return "\n".join(lines) + "\n"


def _keys(spec: ModelSpec) -> list[str]:
    """The keys above anchors and rows; those with their usual value are left out."""
    lines = [f"nc: {spec.nc}"]
    lines += [f"depth_multiple: {flow(spec.depth_multiple)}", f"width_multiple: {flow(spec.width_multiple)}"]
    if spec.channels != 3:
        lines.append(f"ch: {spec.channels}")
    if spec.channel_multiple != 8:
        lines.append(f"channel_multiple: {spec.channel_multiple}")
    if spec.activation is not None:
        lines.append(f"activation: {flow(spec.activation)}")
    if files := user_files(spec):
        lines.append(f"modules: {flow(files)}")
    inserted = [i for i, layer in enumerate(spec.layers) if layer.base_row is None]
    if inserted:
        lines.append(f"inserted: {flow(inserted)}  # rows that the base does not have; leave out if you edit the rows")
    return lines


def _row_line(spec: ModelSpec, index: int, row: GraphRow) -> str:
    note = f"stride {row.stride}, {row.channels} channels" if row.plan else "detections"
    if row.layer.base_row is None:
        note += ", inserted"
    return f"  - {row_text(spec, index):<44}  # {index}: {note}"
