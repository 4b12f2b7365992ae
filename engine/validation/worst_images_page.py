"""`worst.html`: the images with the most missed and false boxes beside the truth, for people who debug data.

A box is found if a detection of its class with a confidence of at least 0.25 overlaps it by an IoU of 0.5 or more. The
page holds its pictures itself and needs no network.
"""

from __future__ import annotations

import base64
import heapq
import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from data.images import ImageReadError, read_image
from engine.drawing.boxes_on_images import TextPainter
from engine.validation.metrics import match_detections

if TYPE_CHECKING:
    from engine.validation.observer import EvaluatedBatch

Explain = Callable[[str, np.ndarray, Path], None]
_SHOWN = 24  # images on the page
_CONFIDENCE = 0.25
_WIDTH_PX, _HEIGHT_PX = 560, 420  # of a picture, at most
_RIGHT, _WRONG = (46, 160, 67), (215, 40, 40)
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;max-width:1180px;color:#222}"
    "table{border-collapse:collapse;margin:0 0 2em}td{padding:0 8px 0 0;vertical-align:top}"
    "img{max-width:100%;display:block}h2{font-size:15px;margin:0 0 4px;word-break:break-all}"
    ".g{color:#1a7f37}.r{color:#cf222e}"
)


class _Case(NamedTuple):
    """One image; the first fields order them."""

    wrong: int
    number: int
    path: str
    truth: np.ndarray  # (m, 5): class, x1, y1, x2, y2 px
    found: np.ndarray  # (n, 6): x1, y1, x2, y2 px, confidence, class
    right: np.ndarray  # (n,) bool
    seen: np.ndarray  # (m,) bool


class WorstImages:
    """An observer of the evaluation that keeps the worst images and writes them at the end.

    Args:
        file: The page.
        names: Class names by number.
        explain: Writes a page of what the model looked at: image, its detections (n, 6), the page's folder.
    """

    def __init__(self, file: Path, names: Mapping[int, str], explain: Explain | None = None) -> None:
        self._file, self._names, self._explain = file, names, explain
        self._worst: list[_Case] = []
        self._images = self._perfect = 0

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Judge the images of a batch."""
        for path, truth, rows in zip(batch.paths, batch.native_labels, batch.native, strict=True):
            case = _judge(path, self._images, truth, rows[rows[:, 4] >= _CONFIDENCE])
            self._images += 1
            self._perfect += not case.wrong
            if case.wrong:
                heapq.heappush(self._worst, case)
                if len(self._worst) > _SHOWN:
                    heapq.heappop(self._worst)

    def close(self) -> None:
        """Write the page."""
        painter = TextPainter(self._names.values())
        cases = sorted(self._worst, key=lambda case: (-case.wrong, -case.number))
        body = "\n".join(self._section(case, painter, number) for number, case in enumerate(cases, 1))
        told = f"{self._perfect} of {self._images} images have no mistake"
        self._file.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Worst images</title><style>{_STYLE}</style>'
            f"<h1>Images with the most missed and false boxes</h1><p>{told}; the {len(cases)} worst follow. Left the "
            'labels: <b class="g">found</b>, <b class="r">missed</b>. Right the detections of confidence '
            f'{_CONFIDENCE:g} or more: <b class="g">right</b>, <b class="r">false</b>. A box is found by one of '
            f"its class with an IoU of 0.5 or more.</p>\n{body}\n</html>\n",
            encoding="utf-8",
        )

    def _section(self, case: _Case, painter: TextPainter, number: int) -> str:
        heading = f"<h2>{html.escape(case.path)}</h2>"
        try:
            image = read_image(case.path)
        except ImageReadError as error:  # gone since it was measured; the others are still worth a look
            return f"{heading}<p>{html.escape(str(error))}</p>"
        labels = [self._names[int(k)] for k in case.truth[:, 0]]
        found = [f"{self._names[int(row[5])]} {row[4]:.2f}" for row in case.found]
        left = _picture(image, case.truth[:, 1:], labels, case.seen, painter)
        right = _picture(image, case.found[:, :4], found, case.right, painter)
        missed, false = int((~case.seen).sum()), int((~case.right).sum())
        return (
            f"{heading}<p>{missed} missed of {len(labels)}, {false} false of {len(found)}{self._link(case, number)}</p>"
            f'<table><tr><td><img alt="labels" src="{left}"><td><img alt="detections" src="{right}"></table>'
        )

    def _link(self, case: _Case, number: int) -> str:
        """To what the model looked at, written now; nothing where nothing was found."""
        if self._explain is None or not len(case.found):
            return ""
        name = f"worst/{number:02d}"
        self._explain(case.path, case.found, self._file.parent / name)
        return f'; <a href="{name}/index.html">what the model looked at</a>'


def _judge(path: str, number: int, truth: np.ndarray, found: np.ndarray) -> _Case:
    right = match_detections(found[:, :4], found[:, 5], truth[:, 1:], truth[:, 0])[:, 0]
    # A label is seen if it has a detection of its own among the right ones, which the same matching says reversed.
    seen = np.zeros(len(truth), dtype=bool)
    if right.any():
        kept = found[right]
        seen = match_detections(truth[:, 1:], truth[:, 0], kept[:, :4], kept[:, 5])[:, 0]
    wrong = int((~right).sum() + (~seen).sum())
    return _Case(wrong, -number, path, truth, found, right, seen)


def _picture(image: np.ndarray, boxes: np.ndarray, texts: list[str], good: np.ndarray, painter: TextPainter) -> str:
    """A JPEG as a data URL."""
    height, width = image.shape[:2]
    scale = min(_WIDTH_PX / width, _HEIGHT_PX / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for box, text, right in zip((boxes * scale).round().astype(int).tolist(), texts, good, strict=True):
        colour = _RIGHT if right else _WRONG
        cv2.rectangle(picture, tuple(box[:2]), tuple(box[2:]), colour, 2)
        text_w, text_h = painter.size(text, 14)
        x, y = max(0, min(box[0], size[0] - text_w)), max(box[1] - text_h - 3, 0)
        cv2.rectangle(picture, (x, y), (x + text_w + 3, y + text_h + 3), colour, cv2.FILLED)
        painter.draw(picture, text, (x + 2, y + 1), 14, (255, 255, 255))
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
