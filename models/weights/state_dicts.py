"""The tensors of a model, taken out of what the restricted reader read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from models.weights.pickle_machine import Stub

_MOST_MODULES = 20_000
_MOST_TENSORS = 100_000
_LONGEST_PATH = 1000  # characters


def in_float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors in float32, whole numbers as they are; one that has several names stays one."""
    made = {id(t): t.float() if t.is_floating_point() else t for t in state.values()}
    return {str(key): made[id(t)] for key, t in state.items()}


def stub_state_dict(stub: Stub) -> dict[str, Tensor]:
    """The entries that `state_dict()` of the stubbed module would have had, in float32.

    Raises:
        ValueError: If there are more than any model has, or modules stand inside themselves.
    """
    found: dict[str, Tensor] = {}
    for path, module in stub_modules(stub):
        attributes = vars(module)
        transient = attributes.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            entries: dict[Any, Any] = attributes.get(kind) or {}
            for name, tensor in entries.items():
                if isinstance(tensor, Tensor) and name not in transient:
                    found[f"{path}.{name}" if path else str(name)] = tensor
        if len(found) > _MOST_TENSORS:
            raise ValueError(f"more than {_MOST_TENSORS:,} tensors, which no YOLOv5 model has")
    return in_float32(found)


def stub_modules(root: Stub) -> Iterator[tuple[str, Stub]]:
    """Every stubbed module below a stub, with its path, in the order of `named_modules()`.

    Raises:
        ValueError: As `stub_state_dict`.
    """
    waiting = [("", root)]
    for _ in range(_MOST_MODULES):
        if not waiting:
            return
        path, module = waiting.pop()
        yield path, module
        children: dict[Any, Any] = vars(module).get("_modules") or {}
        start = f"{path}." if path else ""
        waiting += reversed([(f"{start}{name}", child) for name, child in children.items() if isinstance(child, Stub)])
        if len(path) > _LONGEST_PATH or len(waiting) > _MOST_MODULES:
            break
    raise ValueError("modules without end, or more of them than any YOLOv5 model has")
