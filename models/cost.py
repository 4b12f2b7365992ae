"""What a model costs, counted: parameters, multiply-adds of its products, memory that training keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

if TYPE_CHECKING:
    from models.yolo import DetectionModel

_PRODUCTS = ("conv", "mm", "matmul", "linear", "attention", "einsum", "dot", "bilinear")


class _Operators(TorchDispatchMode):
    """Notes every operator that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[Any] = set()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  (an operator)
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        self.names.add(func)
        return func(*args, **(kwargs or {}))


def count_parameters(module: nn.Module) -> int:
    """Number of trainable and frozen parameters (elements)."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, *inputs: Tensor) -> int | None:
    """Multiply-adds of the convolutions and matrix products of one forward pass in eval mode.

    Element-wise work and pooling do not count, so a module without products has 0.

    Returns:
        The count, or None if a product was met that torch cannot count: unknown, never 0.
    """
    counter, operators = FlopCounterMode(display=False), _Operators()
    training = module.training
    module.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter, operators:  # torch counts no fused CPU attention
        module(*inputs)
    module.train(training)
    for operator in operators.names:
        packet = getattr(operator, "overloadpacket", operator)
        name = str(packet).rsplit(".", maxsplit=1)[-1]
        if any(product in name for product in _PRODUCTS) and packet not in flop_registry:
            return None
    return counter.get_total_flops() // 2


def gigaflops(model: DetectionModel, image_px: int) -> float | None:
    """Operations (two a multiply-add) of the products in one forward pass on a square image; None if not counted."""
    parameter = next(model.parameters())
    image = torch.zeros(1, model.spec.channels, image_px, image_px, device=parameter.device, dtype=parameter.dtype)
    macs = count_macs(model, image)
    return 2 * macs / 1e9 if macs else None


def kept_bytes(module: nn.Module, *inputs: Tensor) -> int:
    """Bytes of the maps that a training step keeps for the backward pass, parameters not counted, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself, where it is a result, would hold its own graph and never be freed

    training = module.training
    module.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = module(*[x.detach().requires_grad_() for x in inputs])
    module.train(training)
    del output
    return sum(kept.values())
