"""Reads original YOLOv5 `.pt` files without executing anything in them.

Those files are pickles of whole Python objects. Here every class of the original's code and of torch's layers becomes
an inert stub that only holds its attributes, a short list of harmless constructors is allowed by exact name, and any
other global is refused before it is called.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

_STUB_PREFIXES = ("models.", "utils.", "torch.nn.modules.", "torch.nn.parameter.")
_STUB_MODULES = ("models", "utils", "pathlib")
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "slice"): slice,
    ("builtins", "complex"): complex,
    ("__builtin__", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


class RefusedGlobalError(ValueError):
    """The file names a global that is not on the list; nothing of it was run."""


class Stub:
    """Stands in for an object of the original's code: attributes only, no behaviour."""

    def __init__(self, *args: object) -> None:
        self.stub_args = args


def read_pickled(path: Path) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Read a pickled checkpoint into plain data, tensors and stubs.

    Raises:
        RefusedGlobalError: If the file names a global that is not allowed.
        pickle.UnpicklingError, RuntimeError, EOFError, ...: As `torch.load` for a damaged file.
    """
    return torch.load(path, map_location="cpu", pickle_module=_RestrictedPickle, weights_only=False)


def stub_state_dict(stub: Stub, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The entries that `state_dict()` of the stubbed module would have had."""
    attributes = vars(stub)
    transient = attributes.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (attributes.get(kind) or {}).items():
            if isinstance(tensor, Tensor) and name not in transient:
                yield prefix + name, tensor.detach()
    for name, child in (attributes.get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from stub_state_dict(child, f"{prefix}{name}.")


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (as the base class)
        if module in _STUB_MODULES or module.startswith(_STUB_PREFIXES):
            return type(name, (Stub,), {"__module__": module})
        if _ALLOWED.get((module, name)) is not None:
            return _ALLOWED[module, name]
        if module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        if (module in _NUMPY_MODULES and name in ("scalar", "_reconstruct")) or (module, name) in _NUMPY_TYPES:
            return _numpy_global(name)
        raise RefusedGlobalError(f"{module}.{name}")


_NUMPY_TYPES = (("numpy", "dtype"), ("numpy", "ndarray"))


def _numpy_global(name: str) -> Any:  # noqa: ANN401  (a numpy function or class)
    import numpy as np

    return getattr(np, name) if name in ("dtype", "ndarray") else getattr(np._core.multiarray, name)


class _RestrictedPickle:
    """What `torch.load` takes as a pickle module."""

    __name__ = "restricted_pickle"
    Unpickler = _RestrictedUnpickler
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:  # noqa: ANN401  (as `pickle.load`)
        return _RestrictedUnpickler(file, **options).load()
