"""Training, validation and inference.

`load_model` is imported on first use, so that the command lines do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.detection.detector import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name in __all__:
        return getattr(import_module("engine.detection.detector"), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
