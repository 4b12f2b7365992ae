"""Decoded images kept ready: in memory, shared by all workers, or on disk as .npy files."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data.dataset.label_cache import DAMAGED_ARRAYS, is_writable, short_hash, user_cache_folder
from data.images import ImageReadError
from files.atomic import atomic_file
from files.cores import usable_cores
from files.disk import results_in

GIB = 1 << 30
_SPARE = 1.1  # memory that must be free, as a multiple of what the images take
_UNASKED = 4.0  # the same where nobody has asked for a cache

Load = Callable[[int], np.ndarray]


class MemoryCache:
    """Images of a split in one block of memory, all at once (`fill`) or each when it is first read (`put`).

    Workers that are forked share the block with this process and fill it for each other; its pages take memory once
    they are written. Where workers are started afresh (macOS, Windows) it lies in torch's shared memory and must be
    full before they start.

    Args:
        sizes_hw: (n, 2) height and width of every image.
        channels: Of every image.
    """

    def __init__(self, sizes_hw: np.ndarray, channels: int = 3) -> None:
        self.sizes_hw, self.channels = sizes_hw, channels
        self.offsets = np.concatenate(([0], np.cumsum(sizes_hw.prod(1) * channels)))
        count, size = len(sizes_hw), int(self.offsets[-1])
        if workers_are_forked():  # not torch's shared memory: a container may have as little as 64 MB of it
            self.block = torch.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=torch.uint8)
            self.filled = np.frombuffer(mmap.mmap(-1, max(count, 1)), bool)
        else:
            self.block = torch.empty(size, dtype=torch.uint8).share_memory_()
            self.filled = np.zeros(count, bool)

    def fill(self, load: Load, *, title: str, progress: bool = True) -> None:
        """Read all images now.

        Args:
            load: Returns image i as (H, W, channels) uint8, or raises ImageReadError.
            title: What to call the images in messages.
            progress: Show a progress bar.
        """

        def read(index: int, load: Load) -> None:
            self.put(index, load(index))

        gibibytes = self.offsets[-1] / GIB
        for_each(read, load, len(self.sizes_hw), f"{title}: caching {gibibytes:.1f} GiB in memory", progress)

    def put(self, index: int, image: np.ndarray) -> None:
        """Keep an image of the size that was announced. Several processes may do so at once: all write the same."""
        start, stop = self.offsets[index : index + 2]
        self.block[start:stop].numpy()[:] = image.reshape(-1)
        self.filled[index] = True

    def get(self, index: int) -> np.ndarray | None:
        """Return an image, not to be written into, or None if it is not there."""
        if not self.filled[index]:
            return None
        start, stop = self.offsets[index : index + 2]
        return self.block[start:stop].numpy().reshape(*self.sizes_hw[index], self.channels)


class DiskCache:
    """Images of a split as .npy files in a folder `.npy` beside each image, or in the user's cache folder.

    Each file ends with the size and modification time of its image, so a changed image is decoded afresh.

    Args:
        paths: Image files.
        load: Returns image i as (H, W, C) uint8, or raises ImageReadError.
        kind: What else the content depends on, such as the size and C; becomes the folder's name.
        title: What to call the images in messages.
        progress: Show a progress bar.
    """

    def __init__(self, paths: Sequence[str], load: Load, *, kind: str, title: str, progress: bool = True) -> None:
        self.paths = paths
        folders: dict[Path, Path] = {}
        for path in map(Path, paths):
            if path.parent not in folders:
                folders[path.parent] = _npy_folder(path.parent) / kind
        self.files = [folders[Path(path).parent] / f"{Path(path).name}.npy" for path in paths]
        with results_in(self.files[0].parent, "--cache ram needs no disk, and without --cache nothing is kept"):
            for_each(self._fill, load, len(paths), f"{title}: caching on disk", progress)

    def get(self, index: int) -> np.ndarray | None:
        """Return an image, or None if its file is missing or damaged."""
        try:
            with open(self.files[index], "rb") as file:
                image = np.load(file, allow_pickle=False)
        except DAMAGED_ARRAYS:
            return None
        return image if image.ndim == 3 and image.dtype == np.uint8 else None

    def _fill(self, index: int, load: Load) -> None:
        """Write one file unless it is there and its image unchanged."""
        file = self.files[index]
        try:
            status = os.stat(self.paths[index])
        except OSError as error:
            file.unlink(missing_ok=True)
            raise ImageReadError(f"{self.paths[index]}: cannot be read: {error.strerror}") from error
        stamp = np.array([status.st_size, status.st_mtime_ns], np.int64).tobytes()
        if _last_bytes(file, len(stamp)) == stamp and self.get(index) is not None:
            return
        image = load(index)
        with atomic_file(file) as stream:
            np.save(stream, image)
            stream.write(stamp)


def free_memory() -> int:
    """Return the bytes that can still be used, within the limit of a container."""
    import psutil

    free = psutil.virtual_memory().available
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no cgroup v2, or its limit is "max"
        return free
    return max(free, 0)


def fits_easily(needed_bytes: int) -> bool:
    """Tell whether images take so little of the free memory that nobody has to be asked."""
    return needed_bytes * _UNASKED <= free_memory()


def fits_in_memory(needed_bytes: int, title: str) -> bool:
    """Tell whether images fit in memory, and say so where they do not."""
    free = free_memory()
    if needed_bytes * _SPARE <= free:
        return True
    print(
        f"{title}: caching in memory needs {needed_bytes * _SPARE / GIB:.1f} GiB but {free / GIB:.1f} GiB are free; "
        "going on without a cache (--cache disk needs none)",
        flush=True,
    )
    return False


def for_each(fill: Callable[[int, Load], None], load: Load, count: int, title: str, progress: bool) -> None:
    """Call `fill` for every index in a few threads; images that cannot be read are left for the data set to report."""

    def step(index: int) -> None:
        try:
            fill(index, load)
        except ImageReadError:
            return

    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        for _ in tqdm(pool.map(step, range(count)), title, count, leave=False, disable=None if progress else True):
            pass


def workers_are_forked() -> bool:
    """Tell how workers will be started, without fixing the choice as asking for it plainly would."""
    chosen = torch.multiprocessing.get_start_method(allow_none=True)
    return (chosen or torch.multiprocessing.get_all_start_methods()[0]) == "fork"


def _npy_folder(images: Path) -> Path:
    """Return where the .npy files of a folder of images go."""
    if is_writable(images):
        return images / ".npy"
    return user_cache_folder() / "npy" / short_hash(str(images))


def _last_bytes(file: Path, count: int) -> bytes:
    try:
        with open(file, "rb") as stream:
            stream.seek(-count, os.SEEK_END)
            return stream.read(count)
    except OSError:
        return b""
