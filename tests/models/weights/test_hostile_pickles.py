"""Files made to run code when they are opened: each is refused with the name of what it wanted, and nothing runs."""

import builtins
import collections
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.weights.checkpoint import load_model, read_checkpoint
from models.weights.safe_unpickler import Stub, _encode, read_pickled

LEGACY = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {}))
"""The head of a file in the format that torch had before the zip archive."""


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.function, self.args


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that every payload would create."""
    return tmp_path / "trapped"


def payloads(trap: Path) -> dict[str, tuple[object, str]]:
    """By kind: what is pickled, and the global that is to be named."""
    touch = f"touch {trap}"
    code = f"open({str(trap)!r}, 'w')"
    nested = np.empty(2, dtype=object)
    nested[:] = [Call(os.system, touch), 1]
    return {
        "os.system": (Call(os.system, touch), f"{os.system.__module__}.system"),
        "subprocess": (Call(subprocess.call, touch, 0, None, None, None, None, None, True), "subprocess.call"),
        "eval": (Call(eval, code), "builtins.eval"),
        "exec": (Call(exec, code), "builtins.exec"),
        "open": (Call(open, str(trap), "w"), f"{open.__module__}.open"),
        "import": (Call(builtins.__import__, "os"), "builtins.__import__"),
        "getattr": (Call(getattr, Call(builtins.__import__, "os"), "system"), "builtins.getattr"),
        "in a list": ([1, {"model": [Call(os.system, touch)]}], f"{os.system.__module__}.system"),
        "as a key": ({"model": {(Call(eval, code), 1): 2}}, "builtins.eval"),
        "in a numpy array": ({"model": nested}, f"{os.system.__module__}.system"),
        "nested pickle": (Call(pickle.loads, pickle.dumps(Call(os.system, touch))), "_?pickle.loads"),
        "torch.load": (Call(torch.load, str(trap)), "torch.serialization.load"),
        "torch.hub": (Call(torch.hub.load, "a/b", "c"), "torch.hub.load"),
        "a partial": (collections.defaultdict(int), "collections.defaultdict"),
        "a compiled regex": (__import__("re").compile("a"), "re._compile"),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", payloads(Path("x")))
def test_other_globals_are_refused_by_name(tmp_path: Path, trap: Path, kind: str, zipped: bool) -> None:
    payload, name = payloads(trap)[kind]
    file = tmp_path / "m.pt"
    torch.save(payload, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=rf"m.pt: refused: it names the global {name}, which no YOLOv5 check"):
        load_model(file)
    assert not trap.exists()


@pytest.mark.parametrize("kind", ["os.system", "eval", "in a numpy array"])
def test_a_bare_pickle_is_refused(tmp_path: Path, trap: Path, kind: str) -> None:
    (tmp_path / "m.pt").write_bytes(pickle.dumps(payloads(trap)[kind][0], protocol=2))
    with pytest.raises(ValueError, match=r"m.pt: refused: it names the global"):
        read_checkpoint(tmp_path / "m.pt")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"cos\nsystem\n(S'touch {}'\ntR.", "os.system"),
        (b"(S'touch {}'\nios\nsystem\n.", "os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.", "builtins.getattr"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"cmodels\x00\nx\n.", "models\x00.x"),
        (b"cultralytics.nn.tasks\nDetectionModel\n.", "ultralytics.nn.tasks.DetectionModel"),
    ],
)
def test_written_by_hand(tmp_path: Path, trap: Path, text: bytes, name: str) -> None:
    file = tmp_path / "m.pt"
    for content in (text, LEGACY + text):  # a bare pickle, and torch's format before the zip archive
        file.write_bytes(content.replace(b"{}", str(trap).encode()))
        with pytest.raises(ValueError, match=r"m.pt: ") as caught:
            load_model(file)
        assert name in str(caught.value)
    assert not trap.exists()


def test_a_checkpoint_of_the_ultralytics_package_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"cultralytics.nn.tasks\nDetectionModel\n.")
    with pytest.raises(ValueError, match=r"a checkpoint of the ultralytics package .* whose arch"):
        load_model(tmp_path / "m.pt")


def test_classes_of_the_original_become_stubs_that_do_nothing(tmp_path: Path) -> None:
    text = b"cmodels.yolo\nModel\n(S'argument'\ntR}S'names'\n]S'a'\nasb."
    (tmp_path / "m.pt").write_bytes(LEGACY + text + pickle.dumps([], 2))
    stub = read_pickled(tmp_path / "m.pt")
    assert isinstance(stub, Stub)
    assert type(stub).__name__ == "Model"
    assert stub.stub_args == ("argument",)
    assert stub.names == ["a"]
    assert not callable(stub)


def test_a_stub_class_cannot_be_changed(tmp_path: Path) -> None:
    # BUILD on the class itself with slots (None, {"dump_patches": True}), which torch's old reader would act upon.
    text = b"cmodels.yolo\nModel\n(N}S'dump_patches'\nI01\nstb."
    (tmp_path / "m.pt").write_bytes(text)
    with pytest.raises(ValueError, match=r"m.pt: not a readable weights file"):
        read_checkpoint(tmp_path / "m.pt")
    assert not hasattr(Stub, "dump_patches")


def test_tar_archives_and_torchscript_are_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    with tarfile.open(file, "w") as archive:
        info = tarfile.TarInfo("storages")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ValueError, match=r"a tar archive, as torch wrote before version 0.1.10"):
        load_model(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/data.pkl", b"")
    with pytest.raises(ValueError, match="a TorchScript export, which is code"):
        load_model(file)
    file.rename(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="a safetensors file"):
        load_model(tmp_path / "m.safetensors")


def test_numpy_is_not_asked_to_build_anything(tmp_path: Path) -> None:
    values = {"array": np.arange(3), "scalar": np.float32(2), "objects": np.array([{}, None], dtype=object)}
    torch.save({"values": values, "opt": Call(complex, 1, 2)}, tmp_path / "m.pt")
    data = read_pickled(tmp_path / "m.pt")
    assert data["opt"] == 1 + 2j
    assert all(isinstance(value, Stub) for value in data["values"].values())


def test_bytes_of_protocol_two() -> None:
    assert _encode("\xff", "latin1") == b"\xff"
    for encoding in ("zip", "rot13", "idna", None):
        with pytest.raises(pickle.UnpicklingError, match=r"_codecs.encode"):
            _encode("a", encoding)


def test_a_module_tree_without_end(tmp_path: Path) -> None:
    # A stub whose only child is itself, behind a YAML that is right.
    buffer = io.BytesIO()
    pickle.dump({"backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[[-1], 1, "Detect", ["nc", "anchors"]]], "nc": 1,
                 "anchors": 1}, buffer, protocol=0)  # fmt: skip
    config = buffer.getvalue()[:-1]
    text = b"cmodels.yolo\nModel\n(tR" + b"p9999\n}S'yaml'\n" + config + b"sS'_modules'\n}S'a'\ng9999\nssb."
    (tmp_path / "m.pt").write_bytes(LEGACY + text + pickle.dumps([], 2))
    with pytest.raises(ValueError, match=r"m.pt: holds no YOLOv5 detection model: maximum recursion"):
        read_checkpoint(tmp_path / "m.pt")


def test_sizes_that_do_not_fit(tmp_path: Path) -> None:
    tensor = torch.zeros(2)
    torch.save({"model": tensor}, tmp_path / "m.pt")
    content = (tmp_path / "m.pt").read_bytes()
    # The tensor's size, BININT1 2 in a tuple of one, becomes one that its storage does not hold.
    assert content.count(b"K\x02\x85") >= 1
    (tmp_path / "m.pt").write_bytes(content.replace(b"K\x02\x85", b"K\xf0\x85"))
    with pytest.raises(ValueError, match=r"m.pt: "):
        read_checkpoint(tmp_path / "m.pt")
