"""Files of every kind, damaged at random: no code, no write elsewhere, no error but ValueError, bounded memory.

The seeds are fixed; how many of them are reached in the time depends on the machine.
"""

import contextlib
import io
import random
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.compare.plan.command_line import parse_compare_args
from data.dataset.dataset_yaml import load_dataset_spec
from data.dataset.label_cache import Entry, FileKey, read_cache, write_cache
from data.hyp import load_hyp
from engine.inference.exported_metadata import Metadata
from models import build_model, load_model, load_spec
from models.graph.checked import checked_spec
from tests.support.model_layouts import as_original, layout

pytestmark = pytest.mark.slow
SECONDS = 14  # for each of the four kinds
MOST_MB = 300
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "os.remove", "os.rename",
    "os.mkdir", "os.chmod", "shutil.rmtree", "pickle.find_class",
)  # fmt: skip
_PIECES = (
    b"\x00", b"\xff" * 4, b"cos\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"R", b"b", b"s", b"a", b"Q", b"(",
        b"-" * 500, b"[" * 500, b"&a [*a]", b"!!int ''", b"!!python/object/apply:os.system [x]", b"\t", b"\n",
    b".", b"0", b"9" * 300,
)  # fmt: skip

watched: list[str] = []  # what the audit hook has seen while it is on
on = False


def _hook(event: str, args: tuple[object, ...]) -> None:
    if on and (event in _FORBIDDEN or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"))):
        watched.append(f"{event} {args!r:.200}")


@pytest.fixture(scope="module", autouse=True)
def _watch() -> None:
    sys.addaudithook(_hook)  # stays for the life of the process, and does nothing while `on` is False


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut out, repeated or put in."""
    body = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(body) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(body):
            body[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del body[at : at + chance.choice((1, 4, 50))]
        elif kind == 2:
            body[at:at] = body[at : at + chance.choice((1, 10, 200))]
        elif kind == 3:
            body[at:at] = chance.choice(_PIECES)
        else:
            body[at : at + 4] = chance.randbytes(4)
    return bytes(body)


def high_water_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


def attack(folder: Path, attempts: Iterator[Callable[[], object]]) -> int:
    """Run attempts until the time is over; returns how many there were."""
    global on
    with contextlib.suppress(ValueError):
        next(attempts)()  # imports and caches
    before, listed, end = high_water_mb(), sorted(folder.rglob("*")), time.monotonic() + SECONDS
    count = 0
    for attempt in attempts:
        watched.clear()
        on = True
        try:
            attempt()
        except ValueError:
            pass  # anything else ends the test
        finally:
            on = False
        count += 1
        assert not watched, watched
        assert high_water_mb() - before < MOST_MB
        if time.monotonic() > end:
            break
    assert sorted(folder.rglob("*")) == listed
    return count


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")


@needs_proc
def test_checkpoints(tmp_path: Path) -> None:
    data = layout("yolov5", 2)
    clean = io.BytesIO()
    torch.save(as_original(build_model(checked_spec(data, "a.yaml")), data), clean)
    members = {}
    with zipfile.ZipFile(clean) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    (pickled,) = (name for name in members if name.endswith("/data.pkl"))
    file = tmp_path / "m.pt"
    file.touch()

    def attempts() -> Iterator[Callable[[], object]]:
        seed = 0
        while True:
            chance = random.Random(seed)
            written = io.BytesIO()
            with zipfile.ZipFile(written, "w") as archive:
                for name, content in members.items():
                    archive.writestr(name, damaged(content, chance) if name == pickled else content)
            whole = written.getvalue()
            file.write_bytes(damaged(whole, chance) if seed % 4 == 3 else whole)
            seed += 1
            yield lambda: load_model(file)

    assert attack(tmp_path, attempts()) > 20


@needs_proc
def test_metadata(tmp_path: Path) -> None:
    clean = Metadata({0: "a", 1: "it's"}, 32, (64, 64), nms={"conf_thres": 0.2}, spec={"nc": [1, {"a": None}]})

    def attempts() -> Iterator[Callable[[], object]]:
        seed = 0
        while True:
            chance = random.Random(seed)
            facts = {k: damaged(v.encode(), chance).decode("latin1") for k, v in clean.to_properties().items()}
            seed += 1
            yield lambda facts=facts: Metadata.read(facts, "f.onnx")

    assert attack(tmp_path, attempts()) > 500


@needs_proc
def test_yaml_files(tmp_path: Path, root: Path) -> None:
    (tmp_path / "images").mkdir()
    plan = tmp_path / "plan.yaml"
    plan.write_text("attention: [none, SE]\ncfg: yolov5n.yaml\nseeds: [0, 1]\noptions: {SE: [{reduction: 8}]}\n")
    doors: list[tuple[Path, Callable[[Path], object]]] = [
        (root / "models" / "yolov5n.yaml", load_spec),
        (root / "data" / "hyps" / "hyp.scratch-low.yaml", load_hyp),
        (root / "data" / "mask.yaml", load_dataset_spec),
        (plan, lambda file: parse_compare_args(["--plan", str(file)])),
    ]
    file = tmp_path / "x.yaml"
    file.touch()

    def attempts() -> Iterator[Callable[[], object]]:
        seed = 0
        while True:
            source, door = doors[seed % len(doors)]
            file.write_bytes(damaged(source.read_bytes(), random.Random(seed)).replace(b"synth", b"other"))
            seed += 1
            yield lambda door=door: _or_exit(door, file)

    assert attack(tmp_path, attempts()) > 50


def _or_exit(door: Callable[[Path], object], file: Path) -> None:
    """A value of a plan that argparse refuses leaves as the end of the program."""
    with contextlib.suppress(SystemExit):
        door(file)


@needs_proc
def test_label_caches(tmp_path: Path) -> None:
    file = tmp_path / "labels.npz"
    entry = Entry((8, 8), np.ones((2, 5), np.float32), [None, np.ones((3, 2), np.float32)], "labelled", ["a"], [])
    write_cache(file, 2, ["a.png", "b.png"], [FileKey(1, 2, 3, 4), FileKey(5, 6, 7, 8)], [entry, entry])
    assert len(read_cache(file, 2)) == 2
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}

    def attempts() -> Iterator[Callable[[], object]]:
        seed = 0
        while True:
            chance = random.Random(seed)
            with zipfile.ZipFile(file, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
                for name, content in members.items():
                    archive.writestr(name, damaged(content, chance) if chance.random() < 0.5 else content)
            if seed % 4 == 3:
                file.write_bytes(damaged(file.read_bytes(), chance))
            seed += 1
            yield lambda: read_cache(file, 2)

    assert attack(tmp_path, attempts()) > 200
