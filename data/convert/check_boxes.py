"""Source images -> examples: every picture opened, every box made to lie inside, no change unreported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from data.convert.records import Example, Notes, SourceBox, SourceImage
from data.images import ImageReadError, open_image, read_image
from data.near_duplicates import fingerprint
from files.cores import usable_cores

SMALLEST_SIDE_PX = 1.0
_ORIENTATION_TAG = 0x0112


def check_images(
    sources: Sequence[SourceImage],
    folder: Path,
    notes: Notes,
    min_size_px: float = SMALLEST_SIDE_PX,
    known: Path | None = None,
) -> list[Example]:
    """Read every picture and clean its boxes.

    Args:
        sources: As a format's reader found them.
        folder: The source folder; notes name files relative to it.
        notes: Receives unreadable images, clipped and dropped boxes and disagreeing sizes.
        min_size_px: Boxes narrower or lower than this are dropped.
        known: A file that keeps what was read of each picture, so that a second try reads on where the first stopped.

    Returns:
        The readable images, in the order of `sources`.
    """
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        read = _read_all(pool, [source.image for source in sources], known)
        checked = (
            _check(source, result, folder, notes, min_size_px) for source, result in zip(sources, read, strict=True)
        )
        return [example for example in _progress(checked, len(sources)) if example is not None]


def _progress(items: Iterable[Example | None], total: int) -> Iterable[Example | None]:
    from tqdm import tqdm

    return tqdm(items, total=total, desc="reading images", unit="img", disable=None, leave=False)


def _read_all(pool: ThreadPoolExecutor, images: Sequence[Path], known: Path | None) -> Iterator[_Picture | str]:
    """What each picture says, out of the file of what is known or by reading it."""
    if known is None:
        yield from pool.map(_read, images)
        return
    before = _known_pictures(known)
    keys = [_key(image) for image in images]
    missing = pool.map(_read, [image for image, key in zip(images, keys, strict=True) if key not in before])
    with known.open("a", encoding="utf-8") as stream:
        for key in keys:
            if key in before:
                yield before[key]
                continue
            picture = next(missing)
            if not isinstance(picture, str):
                row = [key, *picture[:3], picture.fingerprint.tolist()]
                stream.write(json.dumps(row) + "\n")
            yield picture


def _key(image: Path) -> str:
    status = image.stat()
    return f"{status.st_size} {status.st_mtime_ns} {image}"


def _known_pictures(file: Path) -> dict[str, _Picture]:
    pictures: dict[str, _Picture] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            key, upright, stored, orientation, bits = json.loads(line)
        except ValueError:  # the last row of a try that was killed
            continue
        pictures[key] = _Picture(tuple(upright), tuple(stored), orientation, np.array(bits, np.uint64))
    return pictures


class _Picture(NamedTuple):
    """What a picture file says about itself."""

    upright_wh: tuple[int, int]
    stored_wh: tuple[int, int]  # before EXIF rotation
    orientation: int
    fingerprint: np.ndarray


def _read(image: Path) -> _Picture | str:
    """The picture's facts, or why it cannot be read."""
    try:
        rgb = read_image(image)
    except ImageReadError as error:
        return str(error)
    height, width = rgb.shape[:2]
    try:
        with open_image(image) as header:
            stored, orientation = header.size, int(header.getexif().get(_ORIENTATION_TAG, 1))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        stored, orientation = (width, height), 1  # a format only OpenCV reads: it has no EXIF to disagree about
    return _Picture((width, height), stored, orientation, fingerprint(rgb))


def _check(
    source: SourceImage, picture: _Picture | str, folder: Path, notes: Notes, min_size_px: float
) -> Example | None:
    short = source.annotation.relative_to(folder)
    if isinstance(picture, str):
        notes.add("skipped", source.image.relative_to(folder), f"picture cannot be read: {picture}")
        return None
    upright_wh, stored_wh, orientation, bits = picture
    boxes = source.boxes
    if source.declared_wh is not None and source.declared_wh != upright_wh:
        if source.declared_wh == stored_wh:
            boxes = tuple(turn_box(box, orientation, stored_wh) for box in boxes)
            notes.add("remark", short, f"boxes turned with the picture (EXIF orientation {orientation})")
        else:
            said, real = (f"{w}x{h}" for w, h in (source.declared_wh, upright_wh))
            notes.add("remark", short, f"says the picture is {said} but it is {real}; the picture's own size is used")
    elif 1 < orientation < 5:
        text = f"EXIF orientation {orientation}: the boxes are taken as drawn on the upright picture"
        notes.add("remark", short, text)
    clean = clean_boxes(boxes, upright_wh, short, notes, min_size_px)
    return Example(source.image, source.name, *upright_wh, clean, bits, source.split)


def clean_boxes(
    boxes: Iterable[SourceBox],
    picture_wh: tuple[int, int],
    file: Path,
    notes: Notes,
    min_size_px: float = SMALLEST_SIDE_PX,
) -> tuple[SourceBox, ...]:
    """Clip boxes to the picture and drop those without an area and exact repetitions, noting each."""
    width, height = picture_wh
    kept: dict[SourceBox, None] = {}
    for given in boxes:
        label, (x1, y1, x2, y2) = given
        if x2 <= x1 or y2 <= y1:
            notes.add("dropped", file, f"{_said(given)} has no area")
            continue
        inside = (
            min(max(x1, 0.0), width),
            min(max(y1, 0.0), height),
            min(max(x2, 0.0), width),
            min(max(y2, 0.0), height),
        )
        if min(inside[2] - inside[0], inside[3] - inside[1]) < min_size_px:
            least = "a pixel" if min_size_px == SMALLEST_SIDE_PX else f"--min-size {min_size_px:g}"
            notes.add("dropped", file, f"{_said(given)} is narrower than {least} inside the {width}x{height} picture")
            continue
        box = given if inside == (x1, y1, x2, y2) else SourceBox(label, inside)
        if box in kept:
            notes.add("dropped", file, f"{_said(given)} repeats an object")
            continue
        if inside != (x1, y1, x2, y2):
            notes.add("clipped", file, f"{_said(given)} reaches outside the {width}x{height} picture")
        kept[box] = None
    return tuple(kept)


def _said(box: SourceBox) -> str:
    return f"{box.label} ({', '.join(f'{value:g}' for value in box.xyxy_px)})"


def turn_box(box: SourceBox, orientation: int, stored_wh: tuple[int, int]) -> SourceBox:
    """Move a box drawn on the stored picture to the upright one.

    Args:
        box: In pixels of the stored picture.
        orientation: EXIF orientation; 5 to 8 exchange the sides, others leave the box as it is.
        stored_wh: Width and height of the stored picture.
    """
    x1, y1, x2, y2 = box.xyxy_px
    width, height = stored_wh
    turned = {
        5: (y1, x1, y2, x2),
        6: (height - y2, x1, height - y1, x2),
        7: (height - y2, width - x2, height - y1, width - x1),
        8: (y1, width - x2, y2, width - x1),
    }
    return SourceBox(box.label, turned.get(orientation, box.xyxy_px))
