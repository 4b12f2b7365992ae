"""The faults that `doctor_planted_faults` plants, one small function each, which returns what a finding should name."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.images import read_image, write_image
from data.synth import CLASS_NAMES

Random = np.random.Generator
Rows = list[list[float]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        finding: The finding that should name it.
        title: In the table.
        plant: Puts it into an image (or a set's folder) and returns what the finding should name.
        brings: Other findings that are right about it too.
        needs_label: Only images that `fits` are chosen.
        fits: Whether it can be planted in an image.
    """

    finding: str
    title: str
    plant: Callable[[Path, Random], str]
    brings: tuple[str, ...] = ()
    needs_label: bool = False
    fits: Callable[[Path], bool] = lambda image: bool(rows_of(image))


def label_of(image: Path) -> Path:
    """The label file of an image."""
    return image.parents[2] / "labels" / image.parent.name / f"{image.stem}.txt"


def rows_of(image: Path) -> Rows:
    """The rows of an image's label file."""
    return [[float(v) for v in line.split()] for line in label_of(image).read_text().splitlines()]


def set_text(image: Path, text: str | bytes) -> None:
    """Replace a label file; the other copies of the set keep theirs."""
    replace(label_of(image), text)


def set_rows(image: Path, rows: Rows) -> None:
    """Replace the rows of a label file."""
    set_text(image, "".join(f"{int(row[0])} " + " ".join(f"{v:.6f}" for v in row[1:]) + "\n" for row in rows))


def replace(path: Path, content: str | bytes) -> None:
    """Replace a file that shares its content with a copy."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def repaint(image: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    """Replace an image by a changed one."""
    pixels = change(read_image(image))
    image.unlink()
    write_image(image, np.ascontiguousarray(pixels))
    return image.name


def added_row(row: str) -> Callable[[Path, Random], str]:
    """Plant a row of text."""

    def plant(image: Path, random: Random) -> str:
        set_text(image, label_of(image).read_text() + row + "\n")
        return image.name

    return plant


def in_first_row(change: Callable[[list[float], Random], Rows]) -> Callable[[Path, Random], str]:
    """Plant rows that are made of the image's first one, in addition to it."""

    def plant(image: Path, random: Random) -> str:
        rows = rows_of(image)
        set_rows(image, rows + change(rows[0], random))
        return image.name

    return plant


def _unreadable(image: Path, random: Random) -> str:
    replace(image, random.bytes(2000) if random.random() < 0.5 else "<html>404 Not Found</html>")
    return image.name


def _truncated(image: Path, random: Random) -> str:
    content = image.read_bytes()
    replace(image, content[: int(len(content) * random.uniform(0.2, 0.95))])
    return image.name


def _png_as_jpg(image: Path, random: Random) -> str:
    _, content = cv2.imencode(".png", read_image(image)[..., ::-1])
    replace(image, content.tobytes())
    return image.name


def _gif(image: Path, random: Random) -> str:
    name = f"more{image.stem}.gif"
    Image.fromarray(random.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(image.with_name(name))
    return name


def _exif(image: Path, random: Random) -> str:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = int(random.choice([3, 6, 8]))
    Image.fromarray(read_image(image)).save(stream, "JPEG", exif=exif, quality=92)
    replace(image, stream.getvalue())
    return image.name


def _panorama(image: Path, random: Random) -> str:
    return repaint(image, lambda rgb: cv2.resize(rgb, (1600, int(random.integers(60, 300)))))


def _utf16(image: Path, random: Random) -> str:
    set_text(image, label_of(image).read_text().encode("utf-16"))
    return image.name


def _no_label_file(image: Path, random: Random) -> str:
    label_of(image).unlink()
    return image.name


def _label_alone(image: Path, random: Random) -> str:
    name = f"{image.stem}_old.txt"
    replace(label_of(image).with_name(name), "0 0.5 0.5 0.2 0.2\n")
    return name


def _outline(image: Path, random: Random) -> str:
    rows = rows_of(image)
    _, x, y, w, h = rows[0]
    corners = [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + w / 2, y + h / 2), (x - w / 2, y + h / 2)]
    text = " ".join(f"{v:.6f}" for xy in corners for v in np.clip(xy, 0, 1))
    set_rows(image, rows[1:])
    return added_row(f"{int(rows[0][0])} {text}")(image, random)


def second_class(row: list[float], random: Random) -> Rows:
    """The same box with another class."""
    return [[(row[0] + random.integers(1, len(CLASS_NAMES))) % len(CLASS_NAMES), *row[1:]]]


def _drawn_again(row: list[float], random: Random) -> Rows:
    moved = np.array(row[1:3]) + random.uniform(-0.015, 0.015, 2) * row[3:5]
    return [[row[0], *moved.tolist(), *(np.array(row[3:5]) * random.uniform(0.98, 1.02, 2)).tolist()]]


def _half_outside(row: list[float], random: Random) -> Rows:
    return [[row[0], *random.permutation([random.choice([0.01, 0.99]), random.uniform(0.2, 0.8)]).tolist(), 0.12, 0.2]]


def _copy(split: str, change: Callable[[np.ndarray, Random], np.ndarray] | None) -> Callable[[Path, Random], str]:
    """Plant a copy of the image in a split, the same file or a changed one."""

    def plant(image: Path, random: Random) -> str:
        copy = image.parents[1] / split / f"copy{image.name}"
        if change is None:
            shutil.copy(image, copy)
        else:
            write_image(copy, np.ascontiguousarray(change(read_image(image), random)), jpeg_quality=80)
        shutil.copy(label_of(image), label_of(copy))
        return copy.name

    return plant


def _next_frame(rgb: np.ndarray, random: Random) -> np.ndarray:
    """A little farther, a little lighter, resized."""
    top, left = random.integers(2, 8, 2).tolist()
    light = np.clip(rgb * random.uniform(0.93, 1.07), 0, 255).astype(np.uint8)
    return cv2.resize(light[top:-4, left:-6], (576, 324), interpolation=cv2.INTER_AREA)


def _frame(image: Path, random: Random) -> str:
    """A frame of a clip in train and another one, of other content, in val."""
    random_rgb = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 360))
    for split, number in (("train", 10), ("val", 90)):
        frame = image.parents[1] / split / f"ride{image.stem}_frame_{number:04d}.jpg"
        write_image(frame, random_rgb if split == "train" else np.ascontiguousarray(random_rgb[::-1, ::-1]))
        replace(label_of(frame), "")
    return frame.name


def _blank(image: Path, random: Random) -> str:
    grey = int(random.integers(0, 256))
    return repaint(image, lambda rgb: (rgb * 0 + grey + random.integers(0, 3, rgb.shape)).clip(0, 255).astype(np.uint8))


def _dark(image: Path, random: Random) -> str:
    return repaint(image, lambda rgb: (rgb * random.uniform(0.05, 0.1)).astype(np.uint8))


def _bright(image: Path, random: Random) -> str:
    return repaint(image, lambda rgb: (255 - (255 - rgb) * random.uniform(0.06, 0.12)).astype(np.uint8))


def _blurred(image: Path, random: Random) -> str:
    return repaint(image, lambda rgb: cv2.GaussianBlur(rgb, (0, 0), random.uniform(8, 16)))


FAULTS = (
    Fault("unreadable-image", "image that is none", _unreadable),
    Fault("truncated-image", "image cut off", _truncated),
    Fault("wrong-suffix", "PNG called .jpg", _png_as_jpg),
    Fault("passed-over", "GIF among the images", _gif),
    Fault("exif-rotation", "image turned by EXIF", _exif),
    Fault("odd-size", "panorama", _panorama, ("tiny-box", "near-duplicate-image", "blurred-image")),
    Fault("unreadable-label", "label file in UTF-16", _utf16),
    Fault("box-outside", "coordinates in pixels", added_row("0 320 180 40 40")),
    Fault("box-without-size", "box of zero or negative size", added_row("1 0.5 0.5 0.1 -0.1")),
    Fault("class-beyond-names", "class that is not in names", added_row("7 0.5 0.5 0.1 0.1")),
    Fault("row-form", "decimal commas", added_row("0 0,5 0,5 0,1 0,1")),
    Fault("duplicate-box", "object drawn twice", in_first_row(_drawn_again), ("reaches-outside",), True),
    Fault("two-classes", "object with two classes", in_first_row(second_class), needs_label=True),
    Fault("covers-everything", "box over the whole image", added_row("0 0.5 0.5 1 0.99")),
    Fault("reaches-outside", "box half outside", in_first_row(_half_outside), needs_label=True),
    Fault("mixed-outlines", "outline among boxes", _outline, needs_label=True),
    Fault("tiny-box", "box of a pixel", added_row("0 0.4 0.4 0.002 0.003"), ("anchors",)),
    Fault("image-without-labels", "image without a label file", _no_label_file),
    Fault("label-without-image", "label file without an image", _label_alone),
    Fault("leak", "train image in val", _copy("val", None)),
    Fault("near-leak", "nearly the same picture in val", _copy("val", _next_frame)),
    Fault("clip-leak", "frames of one clip in train and val", _frame, ("near-duplicate-image", "blurred-image")),
    Fault("duplicate-image", "image twice in train", _copy("train", None)),
    Fault("near-duplicate-image", "nearly the same picture in train", _copy("train", _next_frame)),
    Fault("dark-image", "nearly black image", _dark),
    Fault("bright-image", "nearly white image", _bright),
    Fault("blurred-image", "blurred image", _blurred),
    Fault("blank-image", "image of one colour", _blank, ("near-duplicate-image",)),
)
