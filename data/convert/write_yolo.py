"""Writes a data set in YOLO layout, whole or not at all.

Everything is written to a hidden folder beside the output and moved into place at the end, so an interrupted conversion
leaves no half data set behind. Run again, it goes on with what lies in that folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from data.boxes import convert_boxes
from data.convert.records import Example
from data.images import IMAGE_SUFFIXES, read_image, write_image
from files.disk import why_not_written

MANIFEST = "conversion.json"
PICTURES = "pictures.jsonl"  # what a first try read of each picture


@dataclass(frozen=True)
class Layout:
    """What is to be written.

    Attributes:
        examples: The images, in the order in which they are listed.
        sides: "train", "val" or "test" for each.
        names: Class names in label order.
        link: Hard-link the images instead of copying them, where the file system allows.
        settings: Plain values kept in the manifest.
    """

    examples: Sequence[Example]
    sides: Sequence[str]
    names: Sequence[str]
    link: bool
    settings: Mapping[str, object]


def check_output(out: Path, source: Path, *, exist_ok: bool) -> None:
    """Refuse an output folder whose files could be lost.

    Args:
        out: Where the data set is to go.
        source: The folder that is converted.
        exist_ok: Allow a folder with other files, and replace an earlier conversion.

    Raises:
        ValueError: If `out` overlaps `source`, is a file, holds other files without `exist_ok`, or holds `images` or
            `labels` that no conversion wrote.
    """
    if out.resolve() == Path(out.resolve().anchor):
        raise ValueError(f"--out {out}: expected the name of a folder")
    real_out, real_source = out.resolve(), source.resolve()
    if real_out.is_relative_to(real_source) or real_source.is_relative_to(real_out):
        raise ValueError(
            f"--out {out}: expected a folder apart from the source {source}; neither may contain the other"
        )
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out}: a file of that name is there; expected a folder")
    if not any(out.iterdir()):
        return
    if not exist_ok:
        raise ValueError(f"--out {out}: the folder is not empty; choose another or add --exist-ok")
    foreign = [name for name in ("images", "labels") if (out / name).exists()]
    if foreign and not (out / MANIFEST).is_file():
        raise ValueError(
            f"--out {out}: holds {' and '.join(foreign)} that no conversion wrote (there is no {MANIFEST}); choose "
            "another"
        )


def write_dataset(out: Path, layout: Layout, report: str) -> None:
    """Write images, labels, YAML and report.

    Args:
        out: As checked by `check_output`.
        layout: What to write.
        report: Text of `report.md`.

    Raises:
        ValueError: If a file cannot be written; names it.
    """
    staging = staging_folder(out)
    try:
        for kind in ("labels", ".old"):
            shutil.rmtree(staging / kind, ignore_errors=True)
        expected = {_image_file(staging, *pair) for pair in zip(layout.examples, layout.sides, strict=True)}
        for stray in [path for path in (staging / "images").rglob("*") if path.is_file() and path not in expected]:
            stray.unlink()  # of an earlier try with other options
        for example, side in _progress(layout):
            _write_example(staging, example, side, layout)
        for side in sorted(set(layout.sides)):
            (staging / "images" / side).mkdir(parents=True, exist_ok=True)
        (staging / f"{out.resolve().name}.yaml").write_text(_dataset_yaml(out, layout), encoding="utf-8")
        (staging / "report.md").write_text(report, encoding="utf-8")
        manifest = json.dumps(dict(layout.settings), indent=1, ensure_ascii=False, sort_keys=True)
        (staging / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
        (staging / PICTURES).unlink(missing_ok=True)
        _move_into_place(staging, out.resolve())
    except OSError as error:
        raise ValueError(f"--out {out}: {why_not_written(error, out) or error}") from error


def label_lines(example: Example, names: Sequence[str]) -> str:
    """The label file of an image: `class cx cy w h`, normalised, one row per object."""
    if not example.boxes:
        return ""
    corners = np.array([box.xyxy_px for box in example.boxes], dtype=np.float64)
    rows = convert_boxes(corners, "xyxy_px", "cxcywh_norm", example.width_px, example.height_px)
    ids = [names.index(box.label) for box in example.boxes]
    return "".join(f"{k} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for k, (cx, cy, w, h) in zip(ids, rows, strict=True))


def staging_folder(out: Path) -> Path:
    """Where a conversion is written before it is moved to `out`; made where it is missing.

    Raises:
        ValueError: If the disk takes none.
    """
    folder = beside(out, "partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out}: {why_not_written(error, out) or error}") from error
    return folder


def beside(out: Path, purpose: str) -> Path:
    """The hidden folder beside the output for a purpose."""
    return out.resolve().parent / f".{out.resolve().name}.{purpose}"


def _progress(layout: Layout) -> Iterable[tuple[Example, str]]:
    from tqdm import tqdm

    pairs = zip(layout.examples, layout.sides, strict=True)
    return tqdm(pairs, total=len(layout.examples), desc="writing", unit="img", disable=None, leave=False)


def _image_file(staging: Path, example: Example, side: str) -> Path:
    name = PurePosixPath(example.name)
    suffix = example.image.suffix if example.image.suffix.lower() in IMAGE_SUFFIXES else ".png"
    return staging / "images" / side / name.with_name(name.name + suffix)


def _write_example(staging: Path, example: Example, side: str, layout: Layout) -> None:
    name = PurePosixPath(example.name)
    image = _image_file(staging, example, side)
    label = staging / "labels" / side / name.with_name(name.name + ".txt")
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(label_lines(example, layout.names), encoding="utf-8")
    place_image(example.image, image, link=layout.link)


def place_image(source: Path, target: Path, *, link: bool) -> None:
    """Copy or hard-link an image, or write it as PNG where the suffix says so; a stop leaves no half one.

    An image that a stopped try put there is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != target.suffix:
        if not target.exists():
            part = target.with_name(f"{target.stem}.part{target.suffix}")
            write_image(part, read_image(source))
            part.replace(target)
        return
    if target.exists():
        before, now = target.stat(), source.stat()
        if os.path.samefile(source, target) if link else before.st_nlink == 1 and _same(before, now):
            return
        target.unlink()
    if link:
        os.link(source.resolve(), target)
    else:
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        part.replace(target)


def _same(before: os.stat_result, now: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)


def _dataset_yaml(out: Path, layout: Layout) -> str:
    sides = set(layout.sides)
    content: dict[str, object] = {"path": out.resolve().name}  # the name of the folder that the YAML lies in
    content.update({side: f"images/{side}" for side in ("train", "val", "test") if side in sides})
    content["names"] = dict(enumerate(layout.names))
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def _move_into_place(staging: Path, out: Path) -> None:
    """Replace an earlier conversion entry by entry; the manifest goes first, to be recognised after a stop."""
    if not out.exists():
        staging.rename(out)
        return
    old = staging / ".old"
    old.mkdir()
    for entry in sorted(_entries(staging), key=lambda path: path.name != MANIFEST):
        target = out / entry.name
        if target.exists():
            target.rename(old / entry.name)
        entry.rename(target)
    shutil.rmtree(staging)


def _entries(staging: Path) -> Iterable[Path]:
    return [path for path in staging.iterdir() if path.name != ".old"]
