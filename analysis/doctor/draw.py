"""Pictures of the page: examples with their boxes, and the charts of the whole set. Each is a data URL."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from analysis.doctor.checks.sizes import STEPS_PX, size_px
from analysis.doctor.evidence import Evidence
from analysis.doctor.finding import Case, Mark
from data.boxes import convert_boxes
from data.images import ImageReadError, read_image
from engine.drawing.boxes_on_images import TextPainter
from engine.drawing.figure_style import PALETTE, readable_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_PX, _HEIGHT_PX = 380, 285  # of an example, at most
_MARKED, _OTHERS = (215, 40, 40), (90, 200, 120)
_TEXT_PX = 13
_CLOSE = 8  # a marked box below this fraction of the sides is shown close up
_NAMED = 30  # classes whose names the chart has room for


class Examples:
    """Draws cases; made once for a set of names, so that fonts are looked for once."""

    def __init__(self, evidence: Evidence) -> None:
        self._painter = TextPainter(evidence.names.values())
        self._places = {image: (split, index) for split in evidence.splits for index, image in enumerate(split.images)}

    def draw(self, case: Case) -> list[str]:
        """The image of a case, and the other one of a pair; none where they cannot be read."""
        pictures = [self._one(case.image, case.marks), self._one(case.other, ())]
        return [picture for picture in pictures if picture is not None]

    def _one(self, path: str, marks: Sequence[Mark]) -> str | None:
        if not path:
            return None
        try:
            image = read_image(path)
        except ImageReadError:
            return None
        height, width = image.shape[:2]
        boxes = np.array([mark.box_cxcywh_norm for mark in marks]).reshape(-1, 4)
        marked = convert_boxes(boxes, "cxcywh_norm", "xyxy_px", width, height)
        left, top, right, bottom = _view(marked, width, height)
        scale = min(_WIDTH_PX / (right - left), _HEIGHT_PX / (bottom - top))
        size = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture = cv2.resize(image[top:bottom, left:right], size, interpolation=method)
        shift = np.array([left, top, left, top])
        for box in (self._labels(path, width, height) - shift) * scale:
            _rectangle(picture, box, _OTHERS, 1)
        for box, mark in zip((marked - shift) * scale, marks, strict=True):
            _rectangle(picture, box, _MARKED, 2)
            self._tag(picture, box, mark.text)
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
        return _url(encoded.tobytes(), "jpeg")

    def _labels(self, path: str, width: int, height: int) -> np.ndarray:
        """(n, 4) corners of an image's labels, px."""
        if path not in self._places:
            return np.zeros((0, 4))
        split, index = self._places[path]
        first, last = np.searchsorted(split.image_of_row, (index, index + 1))
        return convert_boxes(split.corners[first:last], "xyxy_norm", "xyxy_px", width, height)

    def _tag(self, picture: np.ndarray, box: np.ndarray, text: str) -> None:
        text_w, text_h = self._painter.size(text, _TEXT_PX)
        x = int(np.clip(box[0], 0, max(picture.shape[1] - text_w - 3, 0)))
        y = int(max(box[1] - text_h - 3, 0))
        cv2.rectangle(picture, (x, y), (x + text_w + 3, y + text_h + 3), _MARKED, cv2.FILLED)
        self._painter.draw(picture, text, (x + 2, y + 1), _TEXT_PX, (255, 255, 255))


def _view(marked: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of an image to show: all of it, or where the marked boxes are very small, around them."""
    if not len(marked):
        return 0, 0, width, height
    low, high = marked[:, :2].min(0), marked[:, 2:].max(0)
    if (high - low >= np.array([width, height]) / _CLOSE).any():
        return 0, 0, width, height
    view_w, view_h = max(width // 4, 32), max(height // 4, 32)
    x, y = ((low + high) / 2).tolist()
    left = int(np.clip(x - view_w / 2, 0, max(width - view_w, 0)))
    top = int(np.clip(y - view_h / 2, 0, max(height - view_h, 0)))
    return left, top, min(left + view_w, width), min(top + view_h, height)


def _rectangle(picture: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], line_px: int) -> None:
    x1, y1, x2, y2 = np.clip(box, -9999, 9999).round().astype(int).tolist()
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line_px)


@readable_fonts()
def charts(evidence: Evidence) -> str:
    """Boxes of each class, where they lie, how large they are at the training size, and their aspect."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    _classes(axes[0, 0], evidence)
    rows = np.concatenate([split.rows for split in evidence.splits])
    axes[0, 1].hist2d(rows[:, 1], rows[:, 2], bins=40, range=((0, 1), (0, 1)), cmin=1, cmap="viridis")
    axes[0, 1].set(title="where boxes have their centre", xlabel="x", ylabel="y", ylim=(1, 0))
    sizes = np.concatenate([size_px(evidence, split) for split in evidence.splits])
    axes[1, 0].hist(np.log2(sizes.clip(1)), bins=40, color=PALETTE[0])
    for place, step in enumerate(STEPS_PX):
        axes[1, 0].axvline(np.log2(step), color="#888888", linewidth=1)
        share = f"{(sizes < step).mean():.0%} < {step}"
        axes[1, 0].annotate(
            share, (float(np.log2(step)), 1), (3, -11 - 13 * place), ("data", "axes fraction"), "offset points"
        )
    axes[1, 0].xaxis.set_major_formatter(lambda value, _: f"{2**value:.3g}")
    axes[1, 0].set(title=f"size of boxes at {evidence.image_px} px, square root of the area", xlabel="px")
    sides = np.concatenate([split.sides_px(evidence.image_px) for split in evidence.splits])
    axes[1, 1].hist(np.log2((sides[:, 0] / sides[:, 1]).clip(1 / 32, 32)), bins=40, color=PALETTE[0])
    axes[1, 1].xaxis.set_major_formatter(lambda value, _: f"{2**value:.3g}")
    axes[1, 1].set(title="aspect of boxes", xlabel="width / height")
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return _url(stream.getvalue(), "png")


def _classes(axis: Axes, evidence: Evidence) -> None:
    left = np.zeros(len(evidence.names))
    numbers = np.arange(len(evidence.names))
    for split, colour in zip(evidence.splits, PALETTE, strict=False):
        counts = evidence.class_counts(split)
        axis.barh(numbers, counts, left=left, color=colour, label=split.name)
        left += counts
    names = evidence.names
    if len(names) <= _NAMED:
        axis.set_yticks(numbers, [names[number][:24] for number in numbers.tolist()])
    axis.invert_yaxis()
    axis.set(title="boxes of each class")
    axis.legend(frameon=False)


def _url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
