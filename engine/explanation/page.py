"""The pictures of explanations as files, and the page that shows them from disk."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

from data.images import write_image
from engine.explanation.explained import Explained
from engine.explanation.pictures import (
    boxes_picture,
    by_layer,
    class_cams,
    feature_sheet,
    gate_picture,
    heat_layer,
    heat_picture,
)
from files.atomic import write_atomically

_LAYER_PX = 640
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 40  # characters of a class name in a file name, which may have 255 bytes
_SAYS = {
    "cam": "Heat of a detection (LayerCAM, where the neck begins): bright where what the backbone found there raises "
    "the confidence of that box. It says where the score comes from, not that the model would fail without it. Each "
    "map is scaled to its own maximum: two maps do not compare in strength.",
    "gates": "Gates: what each attention layer multiplied its map with. A gate near one everywhere changes nothing, "
    "however bright its brightest place; read the numbers of the scale.",
    "features": "Feature sheets: the first channels of every row, each from its lowest value to its highest.",
}
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:1.5em auto;max-width:1240px;padding:0 1em;color:#222}"
    "h2{font-size:17px;word-break:break-all;margin:2em 0 .3em}p{max-width:75ch}"
    ".row{display:flex;flex-wrap:wrap;gap:12px}figure{margin:0;width:388px;max-width:100%}"
    "figure.wide{width:100%}.wide img{max-width:100%}figcaption{font-size:13px}"
    ".over{position:relative;line-height:0}.over img{width:100%}.over img+img{position:absolute;inset:0;height:100%;"
    "opacity:var(--heat,.75)}.bar{position:sticky;top:0;background:#fffd;padding:6px 0;z-index:1}"
    "@media (prefers-color-scheme:dark){body{background:#161616;color:#ddd}.bar{background:#161616dd}a{color:#8ab4f8}}"
)
_SCRIPT = (
    "document.querySelector('input').addEventListener('input',e=>"
    "document.documentElement.style.setProperty('--heat',e.target.value/100))"
)


class _Picture(NamedTuple):
    name: str
    caption: str
    pixels: np.ndarray
    layer: np.ndarray | None = None  # RGBA, laid over image.png by the page


class Section(NamedTuple):
    """The part of the page for one image, whose pictures are on disk.

    Attributes:
        heading: Where the image comes from.
        told: A sentence about it.
        folder: Of its pictures.
        shown: Name, caption and whether there is a layer to lay over the image, for each picture.
    """

    heading: str
    told: str
    folder: Path
    shown: tuple[tuple[str, str, bool], ...]

    @property
    def files(self) -> list[Path]:
        """The pictures."""
        files = [self.folder / f"{name}.png" for name, _, _ in self.shown]
        return files + [_layer_file(self.folder, name) for name, _, layered in self.shown if layered]


def save_pictures(explanation: Explained, folder: Path) -> Section:
    """Write the pictures of one image: `image.png`, `boxes.png`, and `cam_…`, `heat_…`, `gates_…` or `features_…`."""
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[tuple[str, str, bool]] = []
    for one in _pictures(explanation):
        write_image(folder / f"{one.name}.png", one.pixels)
        if one.layer is not None:
            _, encoded = cv2.imencode(".png", cv2.cvtColor(one.layer, cv2.COLOR_RGBA2BGRA))
            _layer_file(folder, one.name).write_bytes(encoded.tobytes())
        shown.append((one.name, one.caption, one.layer is not None))
    told = f"{explanation.detections} detection{'s' * (explanation.detections != 1)}"
    if explanation.detections > len(explanation.found.confidences):
        told += f", the {len(explanation.found.confidences)} most confident are explained"
    return Section(explanation.path or folder.name, told, folder, tuple(shown))


def write_page(folder: Path, sections: Sequence[Section]) -> Path:
    """Write `index.html`, which shows the pictures of images below `folder` and needs no network."""
    used = dict.fromkeys(name.split("_")[0] for one in sections for name, _, _ in one.shown)
    says = "".join(f"<p>{_SAYS[kind]}</p>" for kind in used if kind in _SAYS)
    body = "\n".join(_html(one, folder) for one in sections)
    slider = script = ""
    if any(layered for one in sections for *_, layered in one.shown):
        slider = '<p class="bar"><label>Heat <input type="range" min="0" max="100" value="75"></label></p>'
        script = f"<script>{_SCRIPT}</script>"
    file = folder / "index.html"
    write_atomically(
        file,
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>What the model looks at</title><style>{_STYLE}</style><h1>What the model looks at</h1>{says}"
        f"{slider}{body}\n{script}</html>\n",
    )
    return file


def _html(one: Section, page_folder: Path) -> str:
    where = quote(one.folder.relative_to(page_folder).as_posix())
    figures = []
    for name, caption, layered in one.shown:
        if name == "image":
            continue
        text = html.escape(caption)
        picture, wide = f'<img src="{where}/{quote(name)}.png" alt="{text}" loading="lazy">', ' class="wide"'
        if layered:
            heat = quote(_layer_file(Path(), name).name)
            picture = f'<img src="{where}/image.png" alt="" loading="lazy"><img src="{where}/{heat}" alt="{text}">'
        if layered or name == "boxes":  # as wide as each other, so that they compare
            picture, wide = f'<div class="over">{picture}</div>', ""
        figures.append(f"<figure{wide}>{picture}<figcaption>{text}</figcaption></figure>")
    return f'<h2>{html.escape(one.heading)}</h2><p>{one.told}</p><div class="row">{"".join(figures)}</div>'


def _layer_file(folder: Path, name: str) -> Path:
    return folder / f"heat_{name.removeprefix('cam_')}.png"


def _pictures(explanation: Explained) -> Iterator[_Picture]:
    yield _Picture("image", "image", explanation.picture)
    yield _Picture("boxes", "detections", boxes_picture(explanation))
    if explanation.cams is not None:
        yield from _cam_pictures(explanation)
    for gates in by_layer(explanation.gates or ()):
        name, module = gates[0].layer, gates[0].module
        yield _Picture(f"gates_{_safe(name)}_{module}", f"gates of {name}, {module}", gate_picture(explanation, gates))
    for row, maps in (explanation.features or {}).items():
        caption = f"row {row.replace('_', ', ')}: {len(maps)} channels of {maps.shape[1]}x{maps.shape[2]}"
        yield _Picture(f"features_{row}", caption, feature_sheet(maps))


def _cam_pictures(explanation: Explained) -> Iterator[_Picture]:
    found, names = explanation.found, explanation.names
    for class_id, heat, numbers in class_cams(explanation):
        name = f"cam_class_{class_id}_{_safe(names[class_id])}"  # the number: "a b" and "a/b" are two classes
        yield _heat(explanation, name, f"all of {names[class_id]}", heat, numbers)
    for number, (confidence, class_id) in enumerate(zip(found.confidences, found.class_ids.tolist(), strict=True)):
        name = f"cam_{number:02d}_{_safe(names[class_id])}"
        yield _heat(explanation, name, f"{names[class_id]} {confidence:.2f}", explanation.cam(number), [number])


def _heat(explanation: Explained, name: str, caption: str, heat: np.ndarray, numbers: list[int]) -> _Picture:
    return _Picture(name, caption, heat_picture(explanation, heat, numbers), _shrunk(heat_layer(heat)))


def _shrunk(layer: np.ndarray) -> np.ndarray:
    """Heat is smooth: half the page's width shows all of it."""
    height, width = layer.shape[:2]
    scale = min(1.0, _LAYER_PX / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA)


def _safe(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]
