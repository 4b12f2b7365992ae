"""Model architecture, weights and loss.

The public functions are imported on first use, so that reading a spec does not wait for torch.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "LayerSpec": "spec.model_spec",
    "ModelSpec": "spec.model_spec",
    "load_spec": "model_yaml",
    "DetectionModel": "yolo",
    "build_model": "yolo",
    "load_model": "weights.checkpoint",
    "save_model": "weights.checkpoint",
    "insert": "insertion.insert",
    "places": "insertion.places",
    "load_modules": "user_modules",
    "TransferReport": "weights.transfer",
    "transfer": "weights.transfer",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name in _PUBLIC:
        return getattr(import_module(f"models.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'models' has no attribute {name!r}")
