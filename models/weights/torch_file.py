"""The two containers of `torch.save`, a zip archive and the stream of releases before 1.6, without torch's readers.

Sizes are checked before memory is taken; a member of an archive that does not agree with its CRC is an error. The
stream has no checksum.
"""

from __future__ import annotations

import io
import mmap
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

import torch
from torch import Tensor

from files.archive import open_archive
from files.kinds import is_dict, is_list, is_tuple
from models.weights.pickle_machine import Global, Machine

MAX_PICKLE_BYTES = 16 << 20  # the largest original checkpoints have half a megabyte
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the stream

Find = Callable[[str, str], object]


@dataclass(frozen=True)
class StorageType:
    """What a file names for the type of a storage."""

    dtype: torch.dtype

    DTYPES: ClassVar[dict[str, torch.dtype]] = {
        "DoubleStorage": torch.float64,
        "FloatStorage": torch.float32,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors are views of: (n,)."""

    values: Tensor


def read_torch_file(path: Path, find: Find) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Read a file of `torch.save`.

    Args:
        path: The file.
        find: From the module and the name of a global to what stands for it.

    Raises:
        ValueError: If it is TorchScript, a tar archive, safetensors, or of the other byte order.
        pickle.UnpicklingError, zipfile.BadZipFile, …: If it is damaged or something else.
    """
    if path.suffix == ".safetensors":
        raise ValueError("a safetensors file, which holds tensors without an architecture")
    with path.open("rb") as file:
        head = file.read(512)
        if head[257:262] == b"ustar":
            raise ValueError("a tar archive, as torch wrote before version 0.1.10")
        if head.startswith(b"PK\x03\x04"):
            return _read_archive(path, find)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _read_stream(content, find)


def _read_archive(path: Path, find: Find) -> Any:  # noqa: ANN401  (whatever the file holds)
    with open_archive(path) as archive:
        names = archive.namelist()
        if any(name.split("/")[-1] == "constants.pkl" for name in names):
            raise ValueError("a TorchScript export, which is code; expected the weights that it was made from")
        folder = next((name.split("/")[0] for name in names if name.split("/")[1:] == ["data.pkl"]), None)
        if folder is None:
            raise ValueError("a zip archive without the data.pkl that torch writes")
        order = archive.read(f"{folder}/byteorder") if f"{folder}/byteorder" in names else b"little"
        if order != b"little":
            raise ValueError(f"written in the byte order {order[:20]!r}; expected little, that of this machine")
        size = archive.getinfo(f"{folder}/data.pkl").file_size
        if size > MAX_PICKLE_BYTES:
            raise ValueError(f"a data.pkl of {size:,} bytes; expected at most {MAX_PICKLE_BYTES:,}")
        storages = _ArchiveStorages(archive, folder)
        return Machine(io.BytesIO(archive.read(f"{folder}/data.pkl")), find, storages.load).read()


def _parts(identifier: object, count: int) -> tuple[StorageType, str, int]:
    """Type, key and number of elements of a persistent id, which can name nothing but a storage."""
    if not is_tuple(identifier) or len(identifier) != count or identifier[0] != "storage":
        raise pickle.UnpicklingError("a persistent id that names no storage")
    kind, key, _, elements = identifier[1:5]
    good = isinstance(kind, StorageType) and type(elements) is int and elements >= 0 and identifier[5:] in ((), (None,))
    if not good or not isinstance(key, str) or not (key.isascii() and key.isdigit()):
        raise pickle.UnpicklingError("a persistent id whose storage has no type, number and size")
    return kind, key, elements


class _ArchiveStorages:
    """Members `data/<key>`, each read once."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self.archive, self.folder = archive, folder
        self.known: dict[tuple[str, torch.dtype], Storage] = {}

    def load(self, identifier: object) -> Storage:
        kind, key, elements = _parts(identifier, 5)
        if (key, kind.dtype) not in self.known:
            content = bytearray(self.archive.read(f"{self.folder}/data/{key}"))
            if len(content) != elements * kind.dtype.itemsize:
                raise pickle.UnpicklingError(f"{elements} elements of {kind.dtype} in {len(content)} bytes")
            values = torch.frombuffer(content, dtype=kind.dtype) if content else torch.empty(0, dtype=kind.dtype)
            self.known[key, kind.dtype] = Storage(values)
        return self.known[key, kind.dtype]


def _read_stream(file: mmap.mmap, find: Find) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Magic number, protocol, machine, objects, keys of storages, then the storages in the order of their keys."""
    storages = _StreamStorages(len(file))
    machine = Machine(cast("BinaryIO", file), find, storages.load)
    if (machine.read(), machine.read()) != (_MAGIC, _PROTOCOL):
        raise pickle.UnpicklingError("neither of the two formats of torch.save")
    about = machine.read()
    if not is_dict(about) or about.get("little_endian", True) is not True:
        raise ValueError("written by a machine of another byte order; expected little, that of this machine")
    data = machine.read()
    storages.fill(file, machine.read())
    return data


class _StreamStorages:
    """Storages whose numbers follow after the objects: memory is taken for them, then filled.

    Args:
        size: Of the file, bytes, which all of them together cannot exceed.
    """

    def __init__(self, size: int) -> None:
        self.room = size
        self.known: dict[str, Storage] = {}

    def load(self, identifier: object) -> Storage | Global:
        """A storage, or the class of a module, beside which those releases wrote its source code: it is left out."""
        if is_tuple(identifier) and len(identifier) == 4 and identifier[0] == "module":
            kind = identifier[1]
            if not isinstance(kind, Global) or not isinstance(kind.make, type):
                raise pickle.UnpicklingError("a persistent id of a module that names no class")
            return kind
        kind, key, elements = _parts(identifier, 6)
        if key not in self.known:
            self.room -= elements * kind.dtype.itemsize
            if self.room < 0:
                raise pickle.UnpicklingError("storages that claim more than the file holds")
            self.known[key] = Storage(torch.empty(elements, dtype=kind.dtype))
        found = self.known[key]
        if (found.values.dtype, len(found.values)) != (kind.dtype, elements):
            raise pickle.UnpicklingError(f"two claims about the storage {key}")
        return found

    def fill(self, file: mmap.mmap, keys: object) -> None:
        if not is_list(keys) or set(self.known) != set(keys):
            raise pickle.UnpicklingError("the list of its storages is not that of its tensors")
        for key in keys:
            values = self.known[key].values
            elements = int.from_bytes(file.read(8), "little")
            content = bytearray(file.read(values.nbytes))
            if elements != len(values) or len(content) != values.nbytes:
                raise pickle.UnpicklingError(f"{len(content)} bytes for {len(values)} elements of {values.dtype}")
            if content:
                values.copy_(torch.frombuffer(content, dtype=values.dtype))
