"""Image and video files: what a path, folder, pattern or list names, read in order. OpenCV decodes."""

from __future__ import annotations

import glob
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from data.images import IMAGE_SUFFIXES, ImageReadError, open_image, read_image
from data.sources.frame import VIDEO_SUFFIXES, Frame, Trouble, image_frame
from data.sources.video import quiet_opencv, read_video

_KINDS = "; expected an image, a video, a folder, a pattern in quotes, a .txt list, a URL, a camera number or screen"
_READERS = 4  # threads that decode images ahead
_MOST_BYTES = 256 << 20  # of decoded images that wait


def is_usable(path: str | Path) -> bool:
    """Whether the suffix is one of an image or a video."""
    return Path(path).suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def expand(text: str) -> list[Path | Trouble]:
    """The files that a path, folder, pattern or .txt list names: images first, then videos, each sorted.

    Raises:
        ValueError: If there are none.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _in_list(path)
        if not is_usable(path):
            raise ValueError(f"--source {text}: {_expected_suffixes()} but the file ends in {path.suffix!r}")
        return [path]
    if glob.has_magic(text):
        found = [
            Path(name) for name in glob.glob(str(path), recursive=True) if is_usable(name) and Path(name).is_file()
        ]
        if not found:
            raise ValueError(f"--source {text}: the pattern matches no image and no video; {_expected_suffixes()}")
        return _ordered(found)
    raise ValueError(f"--source {text}: no such file or folder{_KINDS}")


def _in_folder(folder: Path) -> list[Path | Trouble]:
    files = [path for path in folder.iterdir() if is_usable(path) and path.is_file() and not path.name.startswith(".")]
    if files:
        return _ordered(files)
    below = sum(is_usable(path) for path in folder.rglob("*"))
    hint = f"; {below} lie in folders below it: --source '{folder / '**' / '*'}'" if below else ""
    raise ValueError(f"--source {folder}: the folder holds no images and no videos; {_expected_suffixes()}{hint}")


def _in_list(file: Path) -> list[Path | Trouble]:
    """The entries of a .txt list in their order; relative ones are looked for here, then beside the list."""
    try:
        rows = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--source {file}: expected a UTF-8 list of paths: {error}") from error
    found: list[Path | Trouble] = []
    for number, row in enumerate(map(str.strip, rows), start=1):
        if not row or row.startswith("#"):
            continue
        here = Path(row).expanduser().exists() or (glob.has_magic(row) and bool(glob.glob(row, recursive=True)))
        place = row if here else str(file.parent / row)
        try:
            if Path(row).suffix.lower() == ".txt":
                raise ValueError("a list inside a list is not followed")
            found += expand(place)
        except ValueError as error:
            reason = str(error).removeprefix(f"--source {place}: ").removesuffix(_KINDS)
            found.append(Trouble(row, f"{reason} (line {number} of {file})"))
    if not found:
        raise ValueError(f"--source {file}: the list is empty; expected one path per line")
    return found


def _ordered(files: Sequence[Path]) -> list[Path | Trouble]:
    images_first = sorted(files, key=lambda path: (path.suffix.lower() in VIDEO_SUFFIXES, str(path)))
    return [*images_first]


def _expected_suffixes() -> str:
    return f"expected images ({' '.join(IMAGE_SUFFIXES)}) or videos ({' '.join(VIDEO_SUFFIXES)})"


def decoded_bytes(file: Path | IO[bytes]) -> int:
    """What an image takes in memory, from its first bytes; 0 where only decoding can tell."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_image(file) as image:
                return image.width * image.height * 3
    except Image.DecompressionBombError:
        return _MOST_BYTES
    except (OSError, ValueError, SyntaxError):
        return 0


def output_names(paths: Sequence[str | Path]) -> list[str]:
    """A stem for each file, made unique with `_2`, `_3`, … where several inputs share one."""
    names: list[str] = []
    taken = {Path(path).stem.casefold() for path in paths}
    used: Counter[str] = Counter()
    for path in paths:
        stem = Path(path).stem
        used[stem.casefold()] += 1
        number = used[stem.casefold()]
        name = stem
        while number > 1:
            name = f"{stem}_{number}"
            if name.casefold() not in taken:
                taken.add(name.casefold())
                break
            number += 1
        names.append(name)
    return names


class FileSource:
    """Images, decoded ahead by a few threads, and videos, in the order given."""

    live = False
    alpha = False

    def __init__(self, entries: Sequence[Path | Trouble], vid_stride: int = 1) -> None:
        self.entries = list(entries)
        self.vid_stride = vid_stride
        files = [entry for entry in self.entries if isinstance(entry, Path)]
        self._names = dict(zip((id(file) for file in files), output_names(files), strict=True))

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield every frame of every file."""
        # What is wrong with a file is said once, at the end.
        read = quiet_opencv(partial(read_image, channels=4 if self.alpha else 3))
        with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
            waiting: deque[tuple[int, Path | Trouble, Future[np.ndarray] | None, int]] = deque()
            for number, entry in enumerate(self.entries, start=1):
                image = entry if isinstance(entry, Path) and entry.suffix.lower() not in VIDEO_SUFFIXES else None
                size = decoded_bytes(image) if image else 0
                while waiting and (len(waiting) > 2 * _READERS or size + sum(w[3] for w in waiting) > _MOST_BYTES):
                    yield from self._frames_of(*waiting.popleft()[:3])
                waiting.append((number, entry, pool.submit(read, image) if image else None, size))
            while waiting:
                yield from self._frames_of(*waiting.popleft()[:3])

    def _frames_of(
        self, number: int, entry: Path | Trouble, reading: Future[np.ndarray] | None
    ) -> Iterator[Frame | Trouble]:
        if isinstance(entry, Trouble):
            yield entry
        elif reading is None:
            place = f"video {number}/{len(self)}"
            yield from read_video(str(entry), str(entry), self._names[id(entry)], place, self.vid_stride)
        else:
            try:
                image = reading.result()
            except ImageReadError as error:
                yield Trouble(str(entry), str(error).removeprefix(f"{entry}: "))
                return
            heading = f"image {number}/{len(self)} {entry}"
            yield image_frame(image, str(entry), self._names[id(entry)], entry.suffix, heading)

    def close(self) -> None:
        """Nothing outlives the iteration."""
