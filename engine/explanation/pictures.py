"""Pictures of an explanation: heat over the image, gates of a layer, sheets of feature maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data.images import decode_image
from engine.drawing.boxes_on_images import Annotator, Style
from engine.drawing.figure_style import PALETTE, readable_fonts
from engine.explanation.explained import Explained
from engine.explanation.gate_maps import GateMap, by_layer, gate_maps, normalised
from engine.explanation.gates import Gate
from engine.inference.predictor import Detections

_HEAT = cv2.COLORMAP_INFERNO  # grows steadily in lightness, so that colour-blind eyes and grey prints read it
_OPACITY = 0.75
_DPI = 100
_TILES_A_ROW = 8


def boxes_picture(explanation: Explained) -> np.ndarray:
    """The image with its detections, (H, W, 3) uint8 RGB."""
    return _with_boxes(explanation, explanation.picture, slice(None))


def heat_picture(explanation: Explained, heat: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Heat (h, w) in 0..1 over the image, with the boxes of the detections that it is of."""
    return _with_boxes(explanation, overlay(explanation.picture, heat), list(numbers))


def class_cams(explanation: Explained) -> Iterator[tuple[int, np.ndarray, list[int]]]:
    """Each class that was found, its heat over the image, and the numbers of its detections."""
    for class_id in dict.fromkeys(explanation.found.class_ids.tolist()):
        numbers = np.flatnonzero(explanation.found.class_ids == class_id).tolist()
        yield class_id, explanation.class_cam(class_id), numbers


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat (h, w) in 0..1 over an image (H, W, 3); cold places show the image as it is."""
    size = image.shape[1], image.shape[0]
    heat = heat if heat.shape == image.shape[:2] else cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
    alpha = _OPACITY * heat[..., None]
    return np.rint(image * (1 - alpha) + heat_colours(heat) * alpha).astype(np.uint8)


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1 -> (h, w, 3) uint8 RGB."""
    grey = np.rint(255 * heat.clip(0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, _HEAT), cv2.COLOR_BGR2RGB)


def heat_layer(heat: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1 -> (h, w, 4) uint8 RGBA, as transparent as it is cold, to be laid over the image."""
    return np.dstack((heat_colours(heat), np.rint(255 * heat.clip(0, 1)).astype(np.uint8)))


@readable_fonts()
def gate_picture(explanation: Explained, gates: Sequence[Gate]) -> np.ndarray:
    """The gates of one layer: each over the image, as strips, or as bars, with their values."""
    maps, channels = gate_maps(explanation, gates), [one for one in gates if one.kind == "channel"]
    panels = len(maps) + len(channels) + sum(one.channel_maps is not None for one in channels)
    figure = Figure(figsize=(5.2 * panels, 4.6), dpi=_DPI, layout="constrained")
    axes = iter(figure.subplots(1, panels, squeeze=False)[0])
    for one in maps:
        axis = next(axes)
        _heat(figure, axis, explanation, one)
        if one.combined:
            _strips(axis, explanation, {gate.kind: gate.values.mean(0) for gate in gates})
    for one in channels:
        _bars(next(axes), one)
        if one.channel_maps is not None:
            _channel_maps(next(axes), one)
    figure.suptitle(f"{gates[0].layer}  {gates[0].module}")
    return _rendered(figure)


@readable_fonts()
def bars_picture(gates: Sequence[Gate]) -> np.ndarray:
    """The channel gates of one layer alone, for where there is little room."""
    channels = [one for one in gates if one.kind == "channel"]
    figure = Figure(figsize=(4, 3 * len(channels)), dpi=_DPI, layout="constrained")
    for axis, one in zip(figure.subplots(len(channels), 1, squeeze=False)[:, 0], channels, strict=True):
        _bars(axis, one)
    return _rendered(figure)


def feature_sheet(maps: np.ndarray) -> np.ndarray:
    """(C, h, w) -> the maps side by side, each from its lowest value (dark) to its highest, RGB."""
    side = max(64, *maps.shape[1:])
    tiles = [normalised(one.astype(np.float32)) for one in maps]
    height, width = (max(round(length * side / max(maps.shape[1:])), 1) for length in maps.shape[1:])
    tiles = [np.pad(cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST), 1) for one in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(_TILES_A_ROW, len(tiles)))
    columns = min(_TILES_A_ROW, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    grey = np.rint(255 * np.vstack(rows)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def overview(explanation: Explained) -> np.ndarray:
    """The detections, then the heat of each class, the gates and feature sheets, one below the other."""
    pictures = [boxes_picture(explanation)]
    if explanation.cams is not None:
        pictures += [heat_picture(explanation, heat, numbers) for _, heat, numbers in class_cams(explanation)]
    pictures += [gate_picture(explanation, gates) for gates in by_layer(explanation.gates or ())]
    pictures += [feature_sheet(maps) for maps in (explanation.features or {}).values()]
    width = max(one.shape[1] for one in pictures)
    return np.vstack([np.pad(one, ((0, 4), (0, width - one.shape[1]), (0, 0))) for one in pictures])


def _with_boxes(explanation: Explained, picture: np.ndarray, chosen: slice | list[int]) -> np.ndarray:
    scale = picture.shape[1] / explanation.image.shape[1]
    boxes, confidences, class_ids = (values[chosen] for values in explanation.found[:3])
    annotator = Annotator(explanation.names, Style(line_px=2))
    return annotator.draw(picture, *Detections(boxes * scale, confidences, class_ids))


def _heat(figure: Figure, axes: Axes, explanation: Explained, one: GateMap) -> None:
    """A gate over the image, from its lowest value (transparent) to its highest; one that is even is only told."""
    image, heat = explanation.picture, one.heat
    axes.imshow(image if heat is None else overlay(image, explanation.on_image(heat)))
    axes.set_title(one.title if heat is not None else f"{one.title}: {one.told}", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    if one.detection is not None:
        box = explanation.found.boxes_xyxy_px[one.detection] * image.shape[1] / explanation.image.shape[1]
        axes.plot([(box[0] + box[2]) / 2], [(box[1] + box[3]) / 2], "x", color="cyan", markersize=12, markeredgewidth=3)
    if heat is not None:
        scale = ScalarMappable(Normalize(float(one.values.min()), float(one.values.max())), "inferno")
        ticks = MaxNLocator(3)  # more run into each other where gates differ in the fourth digit
        figure.colorbar(scale, ax=axes, fraction=0.046, location="bottom", label="gate", format="%.4g", ticks=ticks)


def _strips(axes: Axes, explanation: Explained, means: Mapping[str, np.ndarray]) -> None:
    """Row and column gates, means over channels, along their edges of the image."""
    left, top, right, bottom = explanation.content_xyxy
    for kind, along in (("row", (top, bottom)), ("column", (left, right))):
        if kind not in means:
            continue
        values = means[kind]
        edge = axes.inset_axes((1.01, 0, 0.09, 1) if kind == "row" else (0, 1.08, 1, 0.09))
        cells = (np.arange(len(values)) + 0.5) / len(values)
        inside = (cells - along[0]) / (along[1] - along[0])
        if kind == "row":
            edge.plot(values, inside, color="black", linewidth=1)
            edge.set_ylim(1, 0)
            edge.set_yticks([])
            edge.tick_params("x", labelsize=6, rotation=90)
        else:
            edge.plot(inside, values, color="black", linewidth=1)
            edge.set_xlim(0, 1)
            edge.set_xticks([])
            edge.tick_params("y", labelsize=6)


def _bars(axes: Axes, gate: Gate) -> None:
    values = np.sort(gate.values)
    axes.bar(np.arange(len(values)), values, width=1.0, color=PALETTE[0])
    axes.set_title("channel gate, sorted", fontsize=10)
    axes.set_xlabel(f"{len(values)} channels, lowest gate first")
    axes.set_ylabel("gate")
    axes.margins(x=0)


def _channel_maps(axes: Axes, gate: Gate) -> None:
    assert gate.channel_maps is not None
    maps = np.stack([normalised(one) for one in gate.channel_maps])
    few = len(maps) // 2
    framed = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)  # shown white
    axes.imshow(np.vstack((np.hstack(list(framed[:few])), np.hstack(list(framed[few:])))), cmap="viridis")
    lowest, highest = (", ".join(map(str, part)) for part in (gate.channels[:few], gate.channels[few:]))
    told = f"{lowest} (lowest gate, above)\n{highest} (highest, below)"
    axes.set_title(f"what the layer read in channels\n{told}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _rendered(figure: Figure) -> np.ndarray:
    file = BytesIO()
    figure.savefig(file, format="png")
    return decode_image(np.frombuffer(file.getvalue(), np.uint8))
