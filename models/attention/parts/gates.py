"""Collect the gates that attention modules applied in one forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention


def attention_layers(model: nn.Module) -> dict[str, Attention]:
    """Attention modules of a model by layer name; one inside another is left to the outer one."""
    layers: dict[str, Attention] = {}
    for name, module in model.named_modules():
        parents = name.split(".")[:-1]
        inside = any(".".join(parents[: i + 1]) in layers for i in range(len(parents))) or (name and "" in layers)
        if isinstance(module, Attention) and not inside:
            layers[name] = module
    return layers


@contextmanager
def collect_gates(
    model: nn.Module, *, query: tuple[float, float] = (0.5, 0.5)
) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Collect gates of the forward passes made inside the block; a later pass replaces an earlier one's.

    Args:
        model: Any module that contains attention modules.
        query: Row and column, 0..1 of height and width, of the position whose affinity is reported by modules
            that compare positions.

    Yields:
        Layer name -> kind of gate -> gate, filled during the block. The layer name of `model` itself is "".

    Raises:
        ValueError: `query` is not two numbers in 0..1.
    """
    if len(query) != 2 or not all(0 <= value <= 1 for value in query):
        raise ValueError(f"Expected `query` to be (row, column), each in 0..1, but got {query!r}")
    layers = attention_layers(model)
    gates: dict[str, dict[str, Tensor]] = {name: {} for name in layers}
    before = {name: (layer._query, layer._gates) for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer._query, layer._gates = query, gates[name]
        yield gates
    finally:
        for name, layer in layers.items():
            layer._query, layer._gates = before[name]


@torch.no_grad()
def attention_maps(
    model: nn.Module, images: Tensor, *, query: tuple[float, float] = (0.5, 0.5)
) -> dict[str, dict[str, Tensor]]:
    """Gates that the attention layers of a model apply to these images, from one forward pass.

    Args:
        model: A model with attention layers, or one attention module; used in the mode it is in.
        images: Input of the model, (B, C, H, W).
        query: See `collect_gates`.

    Returns:
        Layer name -> kind -> gate. Kinds and shapes: channel (B, C, 1, 1), spatial (B, 1, H, W), row (B, C, H, 1),
        column (B, C, 1, W), full (B, C, H, W), affinity (B, 1, H, W). Kinds of one layer act together, as its
        `TOGETHER` says.
    """
    with collect_gates(model, query=query) as gates:
        model(images)
    return gates
