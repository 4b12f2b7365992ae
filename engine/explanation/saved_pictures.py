"""The pictures of an explanation as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.images import write_image
from engine.explanation.explained import Explained
from engine.explanation.gate_maps import GateMap, by_layer, gate_maps
from engine.explanation.gates import Gate
from engine.explanation.pictures import (
    bars_picture,
    boxes_picture,
    class_cams,
    feature_sheet,
    gate_picture,
    heat_layer,
    heat_picture,
)

_LAYER_PX = 640
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 40  # characters of a class name in a file name, which may have 255 bytes

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2 in 0..1 of the image


class Shown(NamedTuple):
    """A picture on disk, and where the page shows it.

    Attributes:
        name: Of its file.
        caption: What it is.
        place: "image", "boxes", "cam" or "gates" side by side; "layer" or "features" below, as wide as the page.
        picture: The file with everything drawn in; empty if there is none.
        layer: The file to be laid over the image; empty if there is none.
        boxes: Of the detections that it explains.
    """

    name: str
    caption: str
    place: str
    picture: str
    layer: str
    boxes: tuple[Corners, ...]


class Section(NamedTuple):
    """The part of the page for one image, whose pictures are on disk.

    Attributes:
        heading: Where the image comes from.
        told: A sentence about it.
        folder: Of its pictures.
        shown: The pictures.
    """

    heading: str
    told: str
    folder: Path
    shown: tuple[Shown, ...]

    @property
    def files(self) -> list[Path]:
        """The pictures."""
        return [self.folder / file for one in self.shown for file in (one.picture, one.layer) if file]


class _Picture(NamedTuple):
    name: str
    caption: str
    place: str
    pixels: np.ndarray | None
    layer: np.ndarray | None = None  # RGBA
    numbers: tuple[int, ...] = ()  # of detections


def save_pictures(explanation: Explained, folder: Path) -> Section:
    """Write the pictures of one image: `image.png`, `boxes.png`, and `cam_…`, `heat_…`, `gates_…` or `features_…`."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = tuple(_saved(one, explanation, folder) for one in _pictures(explanation))
    told = f"{explanation.detections} detection{'s' * (explanation.detections != 1)}"
    if explanation.detections > len(explanation.found.confidences):
        told += f", the {len(explanation.found.confidences)} most confident are explained"
    if explanation.silent:
        told += f". No gates: {', '.join(explanation.silent)}, which hands out none"
    return Section(explanation.path or folder.name, told, folder, shown)


def _saved(one: _Picture, explanation: Explained, folder: Path) -> Shown:
    picture = layer = ""
    if one.pixels is not None:
        picture = f"{one.name}.png"
        write_image(folder / picture, one.pixels)
    if one.layer is not None:
        layer = f"heat_{one.name.removeprefix('cam_')}.png"
        _, encoded = cv2.imencode(".png", cv2.cvtColor(one.layer, cv2.COLOR_RGBA2BGRA))
        (folder / layer).write_bytes(encoded.tobytes())
    height, width = explanation.image.shape[:2]
    corners = explanation.found.boxes_xyxy_px[list(one.numbers)] / (width, height, width, height)
    boxes = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in corners.tolist())
    return Shown(one.name, one.caption, one.place, picture, layer, boxes)


def _pictures(explanation: Explained) -> Iterator[_Picture]:
    yield _Picture("image", "image", "image", explanation.picture)
    yield _Picture("boxes", "detections", "boxes", boxes_picture(explanation))
    if explanation.cams is not None:
        yield from _cam_pictures(explanation)
    for gates in by_layer(explanation.gates or ()):
        yield from _gate_pictures(explanation, gates)
    for row, maps in (explanation.features or {}).items():
        caption = f"row {row.replace('_', ', ')}: {len(maps)} channels of {maps.shape[1]}x{maps.shape[2]}"
        yield _Picture(f"features_{row}", caption, "features", feature_sheet(maps))


def _cam_pictures(explanation: Explained) -> Iterator[_Picture]:
    found, names = explanation.found, explanation.names
    for class_id, heat, numbers in class_cams(explanation):
        name = f"cam_class_{class_id}_{_safe(names[class_id])}"  # the number: "a b" and "a/b" are two classes
        yield _cam(explanation, name, f"all of {names[class_id]}", heat, numbers)
    for number, (confidence, class_id) in enumerate(zip(found.confidences, found.class_ids.tolist(), strict=True)):
        name = f"cam_{number:02d}_{_safe(names[class_id])}"
        yield _cam(explanation, name, f"{names[class_id]} {confidence:.2f}", explanation.cam(number), [number])


def _cam(explanation: Explained, name: str, caption: str, heat: np.ndarray, numbers: list[int]) -> _Picture:
    drawn = heat_picture(explanation, heat, numbers)
    return _Picture(name, caption, "cam", drawn, _shrunk(heat_layer(heat)), tuple(numbers))


def _gate_pictures(explanation: Explained, gates: list[Gate]) -> Iterator[_Picture]:
    """Of a layer: each map to lay over the image, or the bars of one that has none, then all that is known of it."""
    layer = f"{gates[0].layer} {gates[0].module}"
    name = _safe(layer)
    maps = gate_maps(explanation, gates)
    for number, one in enumerate(maps):
        numbers = () if one.detection is None else (one.detection,)
        heat = _gate_layer(explanation, one)
        yield _Picture(f"gate_{name}_{number:02d}", f"{layer}: {one.title}, {one.told}", "gates", None, heat, numbers)
    if not maps:
        caption = f"{layer}: channel gate, the same at every place"
        yield _Picture(f"gate_{name}_bars", caption, "gates", bars_picture(gates))
    yield _Picture(f"gates_{name}", f"gates of {layer}", "layer", gate_picture(explanation, gates))


def _gate_layer(explanation: Explained, one: GateMap) -> np.ndarray | None:
    return None if one.heat is None else _shrunk(heat_layer(explanation.on_image(one.heat)))


def _shrunk(layer: np.ndarray) -> np.ndarray:
    """Heat is smooth: half the page's width shows all of it."""
    height, width = layer.shape[:2]
    scale = min(1.0, _LAYER_PX / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA)


def _safe(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]
