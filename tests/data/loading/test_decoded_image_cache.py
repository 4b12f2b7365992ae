"""Image caches hold what decoding gives, follow changed files, and step aside when memory is short."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import data.loading.decoded_image_cache
from data.images import ImageReadError
from data.loading.decoded_image_cache import DiskCache, MemoryCache, fits_in_memory, free_memory

SIZES = np.array([[4, 6], [5, 5], [2, 9]])


@pytest.fixture
def decoded() -> list[int]:
    return []


@pytest.fixture
def load(decoded: list[int]) -> Callable[[int], np.ndarray]:
    def read(index: int) -> np.ndarray:
        decoded.append(index)
        if index == 1:
            raise ImageReadError("image 1 is broken")
        return np.random.default_rng(index).integers(0, 256, (*SIZES[index], 3), dtype=np.uint8)

    return read


def test_memory(load: Callable[[int], np.ndarray], decoded: list[int]) -> None:
    cache = MemoryCache(SIZES)
    assert cache.get(0) is None
    cache.fill(load, title="train", progress=False)
    assert sorted(decoded) == [0, 1, 2]
    for index in (0, 2):
        np.testing.assert_array_equal(cache.get(index), load(index))
    assert cache.get(1) is None
    assert np.shares_memory(cache.get(0), cache.block.numpy())


def files(tmp_path: Path) -> list[str]:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    return [str(tmp_path / f"{name}.jpg") for name in "abc"]


def test_disk(tmp_path: Path, load: Callable[[int], np.ndarray], decoded: list[int]) -> None:
    paths = files(tmp_path)

    def build(kind: str = "640-linear") -> DiskCache:
        decoded.clear()
        return DiskCache(paths, load, kind=kind, title="train", progress=False)

    cache = build()
    assert sorted(decoded) == [0, 1, 2]
    assert cache.files[0] == tmp_path / ".npy/640-linear/a.jpg.npy"
    np.testing.assert_array_equal(cache.get(2), load(2))
    assert cache.get(1) is None
    build()
    assert decoded == [1]  # only the broken one is tried again
    build("320-linear")
    assert sorted(decoded) == [0, 1, 2]


@pytest.mark.parametrize("change", ["time", "size", "damaged"])
def test_disk_refreshes_what_changed(
    tmp_path: Path, load: Callable[[int], np.ndarray], decoded: list[int], change: str
) -> None:
    paths = files(tmp_path)
    cache = DiskCache(paths, load, kind="k", title="train", progress=False)
    if change == "time":
        os.utime(paths[2], ns=(5, 5))
    elif change == "size":
        status = os.stat(paths[2])
        Path(paths[2]).write_bytes(b"xx")
        os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        cache.files[2].write_bytes(cache.files[2].read_bytes()[:20])
        assert cache.get(2) is None
    decoded.clear()
    again = DiskCache(paths, load, kind="k", title="train", progress=False)
    assert sorted(decoded) == [1, 2]
    np.testing.assert_array_equal(again.get(2), load(2))
    assert sorted(file.name for file in (tmp_path / ".npy/k").iterdir()) == ["a.jpg.npy", "c.jpg.npy"]


def test_disk_of_a_read_only_folder_is_the_users(tmp_path: Path, load: Callable[[int], np.ndarray]) -> None:
    paths = files(tmp_path)
    tmp_path.chmod(0o555)
    try:
        cache = DiskCache(paths, load, kind="k", title="train", progress=False)
    finally:
        tmp_path.chmod(0o755)
    assert cache.files[0].is_relative_to(os.environ["XDG_CACHE_HOME"])
    assert cache.get(0) is not None
    assert not (tmp_path / ".npy").exists()


def test_disk_drops_the_copy_of_an_image_that_is_gone(tmp_path: Path, load: Callable[[int], np.ndarray]) -> None:
    paths = files(tmp_path)
    DiskCache(paths, load, kind="k", title="train", progress=False)
    Path(paths[0]).unlink()
    assert DiskCache(paths, load, kind="k", title="train", progress=False).get(0) is None


def test_pickled_arrays_are_not_read(tmp_path: Path, load: Callable[[int], np.ndarray]) -> None:
    cache = DiskCache(files(tmp_path), load, kind="k", title="train", progress=False)
    np.save(cache.files[0], np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert cache.get(0) is None


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert free_memory() > 0
    monkeypatch.setattr(data.loading.decoded_image_cache, "free_memory", lambda: 2 << 30)
    assert fits_in_memory(1 << 30, "train")
    assert capsys.readouterr().out == ""
    assert not fits_in_memory(2 << 30, "train")
    assert "train: caching in memory needs 2.2 GiB but 2.0 GiB are free" in capsys.readouterr().out
