"""Checkpoints that reach further than data should, claim more than they hold, or have a flipped bit."""

import contextlib
import pickle
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models import build_model, load_model, save_model
from models.graph.checked import checked_spec
from models.weights.checkpoint import read_checkpoint
from tests.support.model_layouts import as_original, layout

HEAD = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
"""Of a file in the format that torch had before the zip archive."""
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little")


def storage(elements: int, *, kind: bytes = b"FloatStorage", key: str = "0", stream: bool = False) -> bytes:
    end = b"N" if stream else b""
    return (
        b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cpu") + number(elements) + end + b"tQ"
    )


def tensor(held: bytes, size: int, stride: int) -> bytes:
    return REBUILD + b"(" + held + b"K\x00" + number(size) + b"\x85" + number(stride) + b"\x85\x89}tR"


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Write a zip archive as torch's, with a pickle and the bytes of storages."""

    def write(body: bytes, members: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / "m.pt", "w", kind) as file:
            file.writestr("m/data.pkl", b"\x80\x02" + body + b".")
            for name, content in (members or {}).items():
                file.writestr(f"m/{name}", content)
        return tmp_path / "m.pt"

    return write


def save_original(file: Path, *, zipped: bool = True) -> dict[str, torch.Tensor]:
    """Write a small checkpoint like the original's; returns its tensors."""
    data = layout("yolov5", 2)
    model = build_model(checked_spec(data, "yolov5.yaml"))
    state = {key: t.half().float() if t.is_floating_point() else t.clone() for key, t in model.state_dict().items()}
    torch.save(as_original(model, data), file, _use_new_zipfile_serialization=zipped)
    return state


@pytest.mark.parametrize("container", ["archive", "stream"])
def test_a_state_for_an_allowed_function_changes_nothing_in_the_process(tmp_path: Path, container: str) -> None:
    save_original(tmp_path / "clean.pt")
    before = load_model(tmp_path / "clean.pt").state_dict()
    poison = REBUILD + b"N}" + text("__defaults__") + b"}" + text("neg") + b"\x88s\x85s\x86b0"
    if container == "archive":
        with zipfile.ZipFile(tmp_path / "clean.pt") as old, zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
            for entry in old.infolist():
                body = old.read(entry)
                new.writestr(entry.filename, body[:2] + poison + body[2:] if "data.pkl" in entry.filename else body)
    else:
        (tmp_path / "m.pt").write_bytes(HEAD + poison + b"N." + pickle.dumps([], 2))
    with pytest.raises(ValueError, match=r"m.pt: .*a state for Global, which takes none"):
        load_model(tmp_path / "m.pt")
    torch.testing.assert_close(load_model(tmp_path / "clean.pt").state_dict(), before, rtol=0, atol=0)


def test_reading_writes_nothing(tmp_path: Path) -> None:
    named = b"N}" + text("dump_patches") + b"\x88s" + text("__name__") + text(str(tmp_path / "written")) + b"s\x86b"
    function = b"ctorch._utils\n_rebuild_parameter\n"
    for built in (b"", named):
        body = b"(" + text("module") + function + built + text("a.py") + text("text of the file's\n") + b"tQ."
        (tmp_path / "m.pt").write_bytes(HEAD + body + pickle.dumps([], 2))
        with pytest.raises(ValueError, match=r"m.pt: not a readable weights file"):
            load_model(tmp_path / "m.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"ctorch\nfloat32\nN}" + text("a") + b"Ns\x86b", "a state for dtype"),
        (b"ctorch\nFloatStorage\n}" + text("dtype") + b"Nsb", "a state for StorageType"),
        (b"cmodels.yolo\nModel\n}" + text("a") + b"Nsb", "a state for Global"),
        (b"cmodels.yolo\nModel\n" + text("a") + b"Ns", "items for Global"),
        (b"ccollections\nOrderedDict\nNa", "items for Global"),
        (b"cmodels.yolo\nModel\n)R" + text("a") + b"Ns", "items for Model"),
        (tensor(storage(2), 2, 1) + b"N}" + text("a") + b"Ns\x86b", "a state for Tensor"),
        (text("x") + b")R", "a call of str"),
        (b"ctorch\nfloat32\n)R", "a call of dtype"),
        (b"}N\x85\x85Ns", "a key that is tuple"),
        (b"c__builtin__\nset\n])\x85a\x85R", "a key that is tuple"),
        (b"(" + text("module") + b"cmodels.yolo\nModel\n" + text("a") + text("b") + b"tQ", "names no storage"),
        (text("storage") + b"Q", "names no storage"),
        (storage(2, key="../../x"), "no type, number and size"),
        (b"(" + text("storage") + b"cmodels\na\n" + text("0") + text("cpu") + b"K\x02tQ", "no type, number"),
        (b"\x96" + (1 << 62).to_bytes(8, "little"), "bytearray8"),
        (b"\x96" + (1).to_bytes(8, "little") + b"a", "the opcode BYTEARRAY8"),
        (b"\x82\x01", "the opcode EXT1"),
    ],
)  # fmt: skip
def test_what_no_checkpoint_does(archive: Callable[..., Path], body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r"m.pt: not a readable weights file") as caught:
        load_model(archive(body, {"data/0": b"\0" * 8}))
    assert reason in str(caught.value)
    assert "SystemError" not in str(caught.value)


NUMBERS = {"data/0": b"\0" * 8}
CLAIMS: dict[str, tuple[Callable[[], tuple[bytes, dict[str, bytes]]], str]] = {
    "a pickle of 60 MB": (lambda: (b"N0" * 30_000_000 + b"N", {}), r"its members claim 60,000,\d+ bytes"),
    "a storage of 60 MB": (lambda: (storage(15_000_000), {"data/0": b"\0" * 60_000_000}), r"members claim 60,000,\d+"),
    "stride 0": (lambda: (tensor(storage(2), 300_000_000, 0), NUMBERS), "tensors that claim more than the file"),
    "a storage's size": (lambda: (storage(2**31 - 1), NUMBERS), "2147483647 elements of torch.float32 in 8 bytes"),
    "a tensor's size": (lambda: (tensor(storage(2), 3, 1), NUMBERS), r"of the size \[3\], which its storage does not"),
    "a memo index": (lambda: (b"Nr\xff\xff\xff\x0f", {}), "found a NoneType"),
    "lists": (lambda: (b"]" * 3_000_000, {}), "more than 500,000 steps"),
    "classes": (lambda: (b"".join(b"cmodels.a\nx%d\n" % i for i in range(20_000)), {}), "2000 different globals"),
    "copies of a tuple": (
        lambda: (b"c__builtin__\nset\nq\x00(" + b"N" * 100_000 + b"tq\x01" + b"h\x00h\x01\x85R" * 90_000, {}),
        "more than 500,000 steps",
    ),
    "copies of a text": (
        lambda: (
            b"c_codecs\nencode\nq\x00" + text("x" * 3_000_000) + text("latin1") + b"\x86q\x01" + b"h\x00h\x01R" * 1000,
            {},
        ),
        "more than 500,000 steps",
    ),
    "views of a storage": (
        lambda: (
            storage(1_000_000) + b"q\x000" + tensor(b"h\x00", 1_000_000, 1) * 50,
            {"data/0": bytes(range(250)) * 16_000},
        ),
        "tensors that claim more than the file holds",
    ),
    "a deep tuple": (lambda: (b")" + b"\x85" * 400_000, {}), "found a tuple"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_are_checked_before_memory_is_taken(archive: Callable[..., Path], claim: str) -> None:
    make, reason = CLAIMS[claim]
    file = archive(*make(), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 10_000_000
    before, began = _peak_mb(), time.process_time()
    with pytest.raises(ValueError, match=reason):
        load_model(file)
    assert time.process_time() - began < 8  # unbounded, these take minutes
    assert _high_water_mb() - before < 200


def _peak_mb() -> float:
    """Resident memory now: the mark of the highest is reset to it where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _high_water_mb()


def _high_water_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def test_a_stream_whose_storages_claim_more_than_the_file(tmp_path: Path) -> None:
    body = tensor(storage(2**31 - 1, stream=True), 1, 1)
    (tmp_path / "m.pt").write_bytes(HEAD + body + b"." + pickle.dumps(["0"], 2))
    with pytest.raises(ValueError, match="storages that claim more than the file holds"):
        load_model(tmp_path / "m.pt")


def test_modules_that_double_at_every_level(archive: Callable[..., Path]) -> None:
    module = b"cmodels.yolo\nModel\n)R}" + text("_modules")
    body = module + b"}sbq\x01"
    for _ in range(60):
        body += b"0" + module + b"}(" + text("a") + b"h\x01" + text("b") + b"h\x01usbq\x01"
    config = {"backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[[-1], 1, "Detect", ["nc", "anchors"]]], "nc": 1,
              "anchors": 1}  # fmt: skip
    body += b"}" + text("yaml") + pickle.dumps(config, 0)[:-1] + b"sb"
    with pytest.raises(ValueError, match=r"m.pt: modules without end, or more of them than any"):
        load_model(archive(body))


def flip(file: Path, member: str, place: int = 0) -> None:
    """Flip a bit in the content of a member of an archive."""
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        start = next(e for e in archive.infolist() if e.filename.endswith(member)).header_offset
    name, extra = (int.from_bytes(content[start + at : start + at + 2], "little") for at in (26, 28))
    content[start + 30 + name + extra + place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("kind", ["original", "own"])
@pytest.mark.parametrize("member", ["/data/0", "/data/11", "/data.pkl"])
def test_a_flipped_bit_is_found(tmp_path: Path, kind: str, member: str) -> None:
    file = tmp_path / "m.pt"
    if kind == "original":
        save_original(file)
    else:
        save_model(build_model(checked_spec(layout("yolov5", 2))), file)
    load_model(file)
    flip(file, member, place=1)
    with pytest.raises(ValueError, match=r"m.pt: not a readable weights file .*Bad CRC-32"):
        load_model(file)


def test_the_other_byte_order_is_refused(tmp_path: Path) -> None:
    save_original(tmp_path / "clean.pt")
    with zipfile.ZipFile(tmp_path / "clean.pt") as old, zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, b"big" if entry.filename.endswith("byteorder") else old.read(entry))
    with pytest.raises(ValueError, match=r"m.pt: .*byte order b'big'; expected little"):
        load_model(tmp_path / "m.pt")
    head = HEAD.replace(b"little_endianq\x01\x88", b"little_endianq\x01\x89")
    assert head != HEAD
    (tmp_path / "m.pt").write_bytes(head + b"N." + pickle.dumps([], 2))
    with pytest.raises(ValueError, match=r"m.pt: .*another byte order"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_checkpoint_that_was_zipped_anew_reads(tmp_path: Path, kind: int) -> None:
    state = save_original(tmp_path / "clean.pt")
    with zipfile.ZipFile(tmp_path / "clean.pt") as old, zipfile.ZipFile(tmp_path / "m.pt", "w", kind) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    torch.testing.assert_close(read_checkpoint(tmp_path / "m.pt").state_dict, state, rtol=0, atol=0)


def test_the_stream_of_old_releases_gives_the_same_tensors(tmp_path: Path) -> None:
    state = save_original(tmp_path / "m.pt", zipped=False)
    torch.testing.assert_close(read_checkpoint(tmp_path / "m.pt").state_dict, state, rtol=0, atol=0)
    (tmp_path / "m.pt").write_bytes((tmp_path / "m.pt").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"m.pt: not a readable weights file"):
        load_model(tmp_path / "m.pt")
