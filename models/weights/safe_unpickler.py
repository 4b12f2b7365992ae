"""Reads original YOLOv5 `.pt` files without executing anything in them.

Those files are pickles of whole Python objects. Here every class of the original's code, of torch's layers and of
numpy becomes an inert stub that only holds what it is given, a short list of harmless constructors is allowed by exact
name, and any other global is refused before it is called.
"""

from __future__ import annotations

import collections
import pickle
import struct
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch and pickle raise for files that are truncated, of another format, or nonsense."""

_STUB_PREFIXES = ("models.", "utils.", "torch.nn.modules.", "torch.nn.parameter.", "pathlib.")
_STUB_MODULES = ("models", "utils", "pathlib")
_STUB_NAMES = {
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}


def _encode(text: object, encoding: object = "utf-8", errors: object = "strict") -> bytes:
    """`_codecs.encode` for the one use that pickle makes of it: bytes in protocol 2."""
    if not isinstance(text, str) or encoding != "latin1" or errors != "strict":
        raise pickle.UnpicklingError(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "slice"): slice,
    ("builtins", "complex"): complex,
    ("_codecs", "encode"): _encode,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}


class RefusedGlobalError(ValueError):
    """The file names a global that is not on the list; nothing of it was run."""


class Stub:
    """Stands in for an object of the original's code: attributes only, no behaviour."""

    def __init__(self, *args: object, **options: object) -> None:
        self.stub_args = args
        self.stub_options = options

    def __setstate__(self, state: object) -> None:
        """Keep the state that the object was pickled with; called by the unpickler."""
        if isinstance(state, dict):
            self.__dict__.update({key: value for key, value in state.items() if isinstance(key, str)})
        else:
            self.stub_state = state


def read_pickled(path: Path, *, newer: bool = False) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Read a pickled checkpoint into plain data, tensors and stubs.

    Args:
        path: The file.
        newer: Make stubs of the ultralytics package's classes as well.

    Raises:
        RefusedGlobalError: If the file names a global that is not allowed.
        ValueError: If it is an archive that torch would read by running code in it.
        pickle.UnpicklingError, RuntimeError, …: One of `DAMAGED`, as `torch.load` for a damaged file.
    """
    return _load(path, pickle_module=_NewerPickle if newer else _RestrictedPickle, weights_only=False)


def read_plain(path: Path) -> Any:  # noqa: ANN401  (tensors and plain data)
    """Read a file of tensors and plain data with torch's own restricted reader.

    Raises:
        As `read_pickled`; pickle.UnpicklingError if anything else is in it.
    """
    return _load(path, weights_only=True)


def _load(path: Path, **options: Any) -> Any:  # noqa: ANN401  (of `torch.load`)
    check_container(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols and sources that are not there: the outcome says more
        return torch.load(path, map_location="cpu", **options)


def check_container(path: Path) -> None:
    """Refuse the containers for which `torch.load` has readers of its own: TorchScript, tar, safetensors.

    Raises:
        ValueError: If the file is one of them.
        OSError: If it cannot be opened.
    """
    if path.suffix == ".safetensors":
        raise ValueError("a safetensors file, which holds tensors without an architecture")
    with path.open("rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar":
        raise ValueError("a tar archive, as torch wrote before version 0.1.10")
    if head[:2] == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.split("/")[-1] == "constants.pkl" for name in archive.namelist()):
                raise ValueError("a TorchScript export, which is code; expected the weights that it was made from")


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


def stub_modules(stub: Stub, prefix: str = "") -> Iterator[tuple[str, Stub]]:
    """Every stubbed module below a stub, with its path, as `named_modules()` would give them."""
    yield prefix, stub
    for name, child in (vars(stub).get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from stub_modules(child, f"{prefix}.{name}" if prefix else str(name))


class _RestrictedUnpickler(pickle.Unpickler):
    stub_prefixes = _STUB_PREFIXES

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (as the base class)
        # Protocol 2 writes the names of Python 2, e.g. __builtin__.set.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if module in _STUB_MODULES or module.startswith(self.stub_prefixes) or (module, name) in _STUB_NAMES:
            return type(name, (Stub,), {"__module__": module})
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise RefusedGlobalError(f"{module}.{name}")  # torch itself takes care of the names of storages


class _RestrictedPickle:
    """What `torch.load` takes as a pickle module."""

    __name__ = "restricted_pickle"
    Unpickler = _RestrictedUnpickler
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:  # noqa: ANN401  (as `pickle.load`)
        return _RestrictedUnpickler(file, **options).load()


class _NewerUnpickler(_RestrictedUnpickler):
    stub_prefixes = (*_STUB_PREFIXES, "ultralytics.")


class _NewerPickle(_RestrictedPickle):
    Unpickler = _NewerUnpickler

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:  # noqa: ANN401  (as `pickle.load`)
        return _NewerUnpickler(file, **options).load()
