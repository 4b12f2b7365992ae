"""What each attention layer multiplied the maps with, for one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.attention import Timm, attention_layers, collect_gates
from models.attention.parts.base import Attention
from models.yolo import DetectionModel

SHOWN_CHANNELS = 4  # of the highest and of the lowest gate each
MOST_QUERIES = 8  # detections whose centres are asked for, where positions are compared


@dataclass(frozen=True)
class Gate:
    """One gate of one attention layer.

    Attributes:
        layer: Its name in the model, `model.18` or `model.13.m.0.attention`.
        module: Its class, `CoordAtt`.
        kind: channel, spatial, row, column, full or affinity, see `models.attention.attention_maps`.
        values: float32: channel (C,), spatial and affinity (h, w), row (C, h), column (C, w), full (C, h, w).
        detection: The detection from whose centre an affinity is seen; None for gates of the whole image.
        channel_maps: For a channel gate (2 * k, h, w): what the layer read in the k channels of the lowest gate and
            the k of the highest, in the order of `channels`.
        channels: The numbers of those channels.
        together: How the gates of this layer act: "product", "mean" or "sum".
    """

    layer: str
    module: str
    kind: str
    values: np.ndarray
    detection: int | None = None
    channel_maps: np.ndarray | None = None
    channels: tuple[int, ...] = ()
    together: str = "product"


def silent_layers(model: DetectionModel) -> list[str]:
    """The attention layers that hand out no gate, with their classes; found in one pass of the smallest image.

    Raises:
        ValueError: If the model has no attention; says how to insert one.
    """
    layers, side_px = _layers(model), model.stride_px
    with torch.no_grad(), collect_gates(model) as gates:
        model(torch.zeros(1, model.channels, side_px, side_px, device=next(model.parameters()).device))
    return [f"{name} ({_called(layers[name])})" for name, kinds in gates.items() if not kinds]


@torch.no_grad()
def read_gates(model: DetectionModel, images: Tensor, centres_yx: Sequence[tuple[float, float]]) -> list[Gate]:
    """The gates of every attention layer.

    Args:
        model: In eval mode.
        images: (1, C, H, W) in 0..1.
        centres_yx: Centre of each detection, 0..1 of the input's height and width.

    Raises:
        ValueError: If the model has no attention; says how to insert one.
    """
    layers = _layers(model)
    with _inputs_of(layers) as inputs, collect_gates(model) as gates:
        model(images)
    found = [
        _gate(layer, layers[layer], kind, value, inputs[layer])
        for layer, kinds in gates.items()
        for kind, value in kinds.items()
        if kind != "affinity"
    ]
    if any("affinity" in kinds for kinds in gates.values()):
        for number, centre in enumerate(centres_yx[:MOST_QUERIES]):
            with collect_gates(model, query=centre) as asked:
                model(images)
            found += [
                Gate(layer, _called(layers[layer]), "affinity", _array(kinds["affinity"])[0], number)
                for layer, kinds in asked.items()
                if "affinity" in kinds
            ]
    return found


def _layers(model: DetectionModel) -> dict[str, Attention]:
    layers = attention_layers(model)
    if not layers:
        raise ValueError(
            "gates are what attention multiplies maps with, and this model has no attention; insert some: "
            "python train.py --weights yolov5n.pt --attention CoordAtt@neck.P3,neck.P4,neck.P5"
        )
    return layers


def _called(module: Attention) -> str:
    """Its class, and the layer of timm that it stands for."""
    return f"Timm-{module.name}" if isinstance(module, Timm) else type(module).__name__


def _gate(layer: str, module: Attention, kind: str, value: Tensor, read: Tensor) -> Gate:
    values = _array(value)  # (C or 1, h or 1, w or 1)
    name = _called(module)
    if kind == "channel":
        flat = values.reshape(len(values), -1).mean(1)
        order = flat.argsort(kind="stable")
        few = min(SHOWN_CHANNELS, len(flat) // 2)
        chosen = np.concatenate((order[:few], order[len(order) - few :])) if few else order[:0]
        # A gate on grouped or split channels has other numbers than the map that the layer read.
        maps = _array(read)[chosen] if read.shape[1] == len(flat) else None
        return Gate(
            layer, name, kind, flat, channel_maps=maps, channels=tuple(chosen.tolist()), together=module.TOGETHER
        )
    squeezed = {"row": values[..., 0], "column": values[:, 0]}.get(kind, values)
    return Gate(layer, name, kind, squeezed[0] if kind == "spatial" else squeezed, together=module.TOGETHER)


def _array(value: Tensor) -> np.ndarray:
    return value[0].float().cpu().numpy()


@contextmanager
def _inputs_of(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The map that each layer reads in the forward pass made inside the block."""
    read: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: read.update({name: inputs[0]})

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(keep(name)).remove)
        yield read
