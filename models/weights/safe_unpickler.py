"""Reads weights files, pickles of whole Python objects among them, without executing anything in them.

Every class of the original's code, of torch's layers and of numpy becomes an inert stub that only holds what it is
given, a short list of harmless constructors is allowed by exact name, and any other global is refused before it is
called. What the constructors do is written here: no function of torch or numpy is reached from a file.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from files.archive import GROWTH, SPARE_BYTES
from files.kinds import is_tuple
from models.weights.pickle_machine import Global, Stub, set_items
from models.weights.torch_file import Storage, StorageType, read_torch_file

DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What torch and the standard library raise for files that are truncated, of another format, or nonsense."""

_STUB_PREFIXES = ("models.", "utils.", "torch.nn.modules.", "torch.nn.parameter.", "pathlib.")
_NEWER_PREFIX = "ultralytics."
_STUB_MODULES = ("models", "utils", "pathlib")
_STUB_NAMES = {
    ("argparse", "Namespace"),
    ("torch", "device"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}
_MOST_GLOBALS = 2000  # different ones; each stub class takes a kilobyte


class RefusedGlobalError(ValueError):
    """The file names a global that is not on the list; nothing of it was run."""


def read_weights(path: Path, *, newer: bool = False) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Read a weights file into plain data, tensors and stubs.

    Args:
        path: The file.
        newer: Make stubs of the ultralytics package's classes as well.

    Raises:
        RefusedGlobalError: If the file names a global that is not allowed.
        ValueError: If it is of a kind that is not read.
        pickle.UnpicklingError, RuntimeError, …: One of `DAMAGED`, for a damaged file.
    """
    return read_torch_file(path, _Globals(path.stat().st_size, newer).find)


class _Globals:
    """What stands for the globals that one file names.

    Args:
        size: Of the file, bytes; its tensors cannot hold much more.
        newer: As in `read_weights`.
    """

    def __init__(self, size: int, newer: bool) -> None:
        self.prefixes = (*_STUB_PREFIXES, _NEWER_PREFIX) if newer else _STUB_PREFIXES
        self.room = GROWTH * size + SPARE_BYTES  # bytes of all tensors together
        self.known: dict[tuple[str, str], object] = {}
        self.allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _ordered_dict,
            ("builtins", "set"): _set,
            ("builtins", "list"): list,
            ("builtins", "tuple"): tuple,
            ("builtins", "slice"): slice,
            ("builtins", "complex"): complex,
            ("_codecs", "encode"): _encode,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }

    def find(self, module: str, name: str) -> object:
        """What stands for a global: a `Global`, a `StorageType` or a dtype of torch.

        Raises:
            RefusedGlobalError: If it is none of those.
        """
        # Protocol 2 writes the names of Python 2, e.g. __builtin__.set.
        key = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if key not in self.known:
            if len(self.known) >= _MOST_GLOBALS:
                raise pickle.UnpicklingError(f"more than {_MOST_GLOBALS} different globals")
            self.known[key] = self._made(*key)
        return self.known[key]

    def _made(self, module: str, name: str) -> object:
        if module in _STUB_MODULES or module.startswith(self.prefixes) or (module, name) in _STUB_NAMES:
            return Global(type(name, (Stub,), {"__module__": module}))
        if (module, name) in self.allowed:
            return Global(self.allowed[module, name])
        if module == "torch" and name in StorageType.DTYPES:
            return StorageType(StorageType.DTYPES[name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise RefusedGlobalError(f"{module}.{name}")

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:  # noqa: ANN401  (whatever the file holds)
        """A view of a storage that lies inside it, as `torch._utils._rebuild_tensor_v2` without its hooks."""
        good = isinstance(storage, Storage) and all(is_tuple(v) and len(v) <= 16 for v in (size, stride))
        if not good or len(size) != len(stride) or not all(_is_count(v) for v in (offset, *size, *stride)):
            raise pickle.UnpicklingError("a tensor without a storage, a size and strides")
        elements = math.prod(size)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if elements and last >= len(storage.values):
            raise pickle.UnpicklingError(f"a tensor of the size {list(size)}, which its storage does not hold")
        self.room -= elements * storage.values.element_size()
        if self.room < 0:
            raise pickle.UnpicklingError("tensors that claim more than the file holds")
        return storage.values.as_strided(size, stride, offset if elements else 0)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _parameter(tensor: Any, *_: Any) -> Tensor:  # noqa: ANN401  (whatever the file holds)
    if not isinstance(tensor, Tensor):
        raise pickle.UnpicklingError("a parameter that is no tensor")
    return tensor


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:  # noqa: ANN401  (whatever the file holds)
    made: OrderedDict[Any, Any] = OrderedDict()
    set_items(made, items)
    return made


def _set(items: Any = ()) -> set[Any]:  # noqa: ANN401  (whatever the file holds)
    made: dict[Any, None] = {}
    set_items(made, ((item, None) for item in items))
    return set(made)


def _encode(text: object, encoding: object = "utf-8", errors: object = "strict") -> bytes:
    """`_codecs.encode` for the one use that pickle makes of it: bytes in protocol 2."""
    if not isinstance(text, str) or encoding != "latin1" or errors != "strict":
        raise pickle.UnpicklingError(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")
