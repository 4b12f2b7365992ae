"""Letterbox, drawing and crops under YOLOv5's names: images are (H, W, 3) uint8 BGR as OpenCV reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np

from data.images import FILL, write_image
from data.images import letterbox as fit
from engine.detection.output_files import cut_out
from engine.drawing.boxes_on_images import TextPainter, class_colour

_PADDING_PX = 2
Colour = Sequence[int]


def letterbox(
    im: np.ndarray,
    new_shape: int | tuple[int, int] = (640, 640),
    color: Colour = (FILL, FILL, FILL),
    auto: bool = True,
    scaleFill: bool = False,  # noqa: N803  (YOLOv5's name)
    scaleup: bool = True,
    stride: int = 32,
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """As YOLOv5's: the image fitted and padded, (ratio, ratio), and the left and top border.

    Raises:
        ValueError: For a border of another colour or a stretched image, which no model here is trained on.
    """
    if scaleFill or tuple(color) != (FILL,) * 3:
        raise ValueError(f"letterbox: expected color {(FILL,) * 3} and scaleFill False, as the models are trained")
    done = fit(im, new_shape, stride=stride, auto=auto, scale_up=scaleup)
    return done.image, (done.ratio, done.ratio), done.pad_xy_px


class _Colours:
    """`colors(class_id)`: an RGB colour, BGR if asked."""

    def __call__(self, i: Any, bgr: bool = False) -> tuple[int, int, int]:  # noqa: ANN401  (a number, or a tensor of one)
        red, green, blue = class_colour(int(i))
        return (blue, green, red) if bgr else (red, green, blue)


colors = _Colours()


class Annotator:
    """Draws boxes one by one on an image, in the colours that it is given.

    Attributes:
        im: (H, W, 3) uint8, drawn on in place.
        lw: Thickness of the lines, px.
    """

    def __init__(
        self,
        im: np.ndarray,
        line_width: int | None = None,
        font_size: float | None = None,
        font: str = "",
        pil: bool = False,
        example: str = "abc",
    ) -> None:
        """Take an image; fonts are found for the characters of `example`, whatever `font` and `pil` say.

        Raises:
            ValueError: If the image is no contiguous (H, W, 3) uint8.
        """
        if not (isinstance(im, np.ndarray) and im.dtype == np.uint8 and im.ndim == 3 and im.flags.c_contiguous):
            raise ValueError("Annotator: expected a contiguous (H, W, 3) uint8 array; np.ascontiguousarray makes one")
        self.im = im if im.flags.writeable else im.copy()
        self.lw = line_width or max(round(sum(im.shape) / 2 * 0.003), 2)
        self.text_px = round(font_size or max(sum(im.shape[:2]) / 2 * 0.03, 11))
        self._text = TextPainter([str(example)])

    def box_label(
        self,
        box: Any,  # noqa: ANN401  (four numbers or a tensor of them)
        label: str = "",
        color: Colour = (128, 128, 128),
        txt_color: Colour = (255, 255, 255),
    ) -> None:
        """Draw a box (x1, y1, x2, y2) px, and a label above it, or inside where there is no room."""
        x1, y1, x2, y2 = (int(side) for side in box)
        cv2.rectangle(self.im, (x1, y1), (x2, y2), tuple(map(int, color)), self.lw, cv2.LINE_AA)
        if label:
            width, height = (side + 2 * _PADDING_PX for side in self._text.size(label, self.text_px))
            left = max(0, min(x1, self.im.shape[1] - width))
            top = y1 - height if y1 >= height else max(y1, 0)
            cv2.rectangle(self.im, (left, top), (left + width, top + height), tuple(map(int, color)), cv2.FILLED)
            self.text((left + _PADDING_PX, top + _PADDING_PX), label, txt_color)

    def rectangle(
        self, xy: Sequence[float], fill: Colour | None = None, outline: Colour | None = None, width: int = 1
    ) -> None:
        """Draw a rectangle, filled, outlined or both."""
        x1, y1, x2, y2 = map(int, xy)
        for colour, thickness in ((fill, cv2.FILLED), (outline, width)):
            if colour is not None:
                cv2.rectangle(self.im, (x1, y1), (x2, y2), tuple(map(int, colour)), thickness)

    def text(self, xy: Sequence[float], text: str, txt_color: Colour = (255, 255, 255), anchor: str = "top") -> None:
        """Write a line with its top left, or with the anchor "bottom" its bottom left, at `xy`."""
        x, y = map(int, xy)
        _, height = self._text.size(text, self.text_px)
        first, second, third = map(int, txt_color)
        self._text.draw(
            self.im, text, (x, y - height if anchor == "bottom" else y), self.text_px, (first, second, third)
        )

    def result(self) -> np.ndarray:
        """The drawn image."""
        return self.im

    def masks(self, *_: object, **__: object) -> NoReturn:
        """Not here.

        Raises:
            ValueError: Always.
        """
        raise ValueError("Annotator.masks: this project detects boxes and has no masks")


def save_one_box(
    xyxy: Any,  # noqa: ANN401  (four numbers or a tensor of them)
    im: np.ndarray,
    file: str | Path = Path("im.jpg"),
    gain: float = 1.02,
    pad: int = 10,
    square: bool = False,
    BGR: bool = False,  # noqa: N803  (YOLOv5's name)
    save: bool = True,
) -> np.ndarray:
    """Cut a box and a margin out of a BGR image, and write it, to the next free name.

    Returns:
        The crop, BGR with `BGR`, else RGB.

    Raises:
        ValueError: For another margin than detect.py's, or a square.
    """
    if square or (gain, pad) != (1.02, 10):
        raise ValueError("save_one_box: expected gain 1.02, pad 10 and square False, the margin of detect.py")
    box = np.array([float(side) for side in xyxy], dtype=np.float32)[None]
    crop = cut_out(im, box)[0]
    if save:
        from engine.yolov5_names.general import increment_path

        target = increment_path(Path(file).with_suffix(".jpg"))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, np.ascontiguousarray(crop[..., ::-1]))
    return crop if BGR else crop[..., ::-1]
