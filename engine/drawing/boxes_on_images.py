"""Draws detections on pictures.

Boxes are OpenCV's. Text goes through OpenCV 5's built-in fonts, which hold Latin, Cyrillic, Greek, Chinese, Japanese
and Korean; characters they lack are looked for in the fonts of the system and drawn by Pillow. ultralytics' annotator
is not used because it downloads a font for anything but Latin letters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.drawing.figure_style import CLASS_COLOURS, FONT_FILES

_NO_CHARACTER = "\U000ffffd"  # not assigned for ever: what a font draws for what it lacks
_SHADES = (1.0, 0.75, 0.55, 0.4)  # of the colours of classes, where they begin again
_PADDING_PX = 2
_WEIGHT = 500  # of the built-in font, 100 to 900


class Style(NamedTuple):
    """How boxes are drawn.

    Attributes:
        line_px: Thickness of the lines.
        labels: Whether class names are drawn.
        confidences: Whether confidences follow the class names.
    """

    line_px: int = 3
    labels: bool = True
    confidences: bool = True


def class_colour(class_id: int) -> tuple[int, int, int]:
    """An RGB colour per class: twenty that colour-blind eyes tell apart, then darker ones; names tell the rest."""
    turn, number = divmod(class_id, len(CLASS_COLOURS))
    red, green, blue = (round(one * _SHADES[turn % 4]) for one in bytes.fromhex(CLASS_COLOURS[number][1:]))
    return red, green, blue


class Annotator:
    """Draws boxes with class names; made once for a set of names, so that fonts are looked for once."""

    def __init__(self, names: Mapping[int, str], style: Style | None = None) -> None:
        """Choose the font.

        Args:
            names: Class names, in any script.
            style: How to draw.
        """
        self.names, self.style = names, style or Style()
        self._text = TextPainter(names.values() if self.style.labels else ())

    def draw(
        self,
        rgb: np.ndarray,
        boxes_xyxy_px: np.ndarray,
        confidences: np.ndarray,
        class_ids: np.ndarray,
        track_ids: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw detections, the least confident first so that the best labels end on top.

        Args:
            rgb: (H, W, 3) uint8; left alone.
            boxes_xyxy_px: (n, 4), most confident first.
            confidences: (n,).
            class_ids: (n,) int.
            track_ids: (n,) int, drawn before the class name; None draws none.

        Returns:
            A drawn copy.
        """
        picture = np.array(rgb, order="C")
        height, width = picture.shape[:2]
        text_px = max(round((height + width) / 2 * 0.03), 11)
        corners = np.rint(boxes_xyxy_px[::-1]).astype(int).tolist()
        ids = class_ids[::-1].tolist()
        for (x1, y1, x2, y2), class_id in zip(corners, ids, strict=True):
            cv2.rectangle(picture, (x1, y1), (x2, y2), class_colour(class_id), self.style.line_px)
        if self.style.labels:  # after all boxes, so that no line runs through a text; the most confident choose first
            places = Places(width, height)
            tracks = [""] * len(ids) if track_ids is None else [f"#{number} " for number in track_ids[::-1].tolist()]
            rows = zip(corners, confidences[::-1].tolist(), ids, tracks, strict=True)
            for (x1, y1, _, _), confidence, class_id, track in reversed(list(rows)):
                label = f"{track}{self.names[class_id]}"
                text = f"{label} {confidence:.2f}" if self.style.confidences else label
                self._draw_label(picture, text, (x1, y1), text_px, class_colour(class_id), places)
        return picture

    def _draw_label(
        self,
        picture: np.ndarray,
        text: str,
        corner_xy_px: tuple[int, int],
        text_px: int,
        colour: tuple[int, int, int],
        places: Places,
    ) -> None:
        """A filled tag above the corner, or where there is room; never outside the picture."""
        text_w, text_h = self._text.size(text, text_px)
        tag_w, tag_h = text_w + 2 * _PADDING_PX, text_h + 2 * _PADDING_PX
        x, y = places.free((corner_xy_px[0] - self.style.line_px // 2, corner_xy_px[1]), tag_w, tag_h)
        cv2.rectangle(picture, (x, y), (x + tag_w, y + tag_h), colour, cv2.FILLED)
        red, green, blue = colour
        ink = (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
        self._text.draw(picture, text, (x + _PADDING_PX, y + _PADDING_PX), text_px, ink)


class Places:
    """Where the tags of a picture go: above the box, or the nearest free line below, so that none hides another."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._width, self._height = width_px, height_px
        self._taken: list[tuple[int, int, int, int]] = []

    def free(self, corner_xy_px: tuple[int, int], tag_w: int, tag_h: int) -> tuple[int, int]:
        """Left and top of a tag inside the picture; where none is free, the first choice."""
        x = max(0, min(corner_xy_px[0], self._width - tag_w))
        above = corner_xy_px[1] - tag_h
        first = above if above >= 0 else max(corner_xy_px[1], 0)
        below = range(max(corner_xy_px[1], 0), self._height - tag_h + 1, tag_h + 1)
        higher = range(above, -1, -tag_h - 1)
        y = next((y for y in (first, *higher, *below) if self._is_free(x, y, tag_w, tag_h)), first)
        self.take(x, y, tag_w, tag_h)
        return x, y

    def take(self, x: int, y: int, tag_w: int, tag_h: int) -> None:
        """Keep other tags away from what is written here."""
        self._taken.append((x, y, x + tag_w, y + tag_h))

    def _is_free(self, x: int, y: int, tag_w: int, tag_h: int) -> bool:
        return all(  # OpenCV fills the last row and column too
            x > right or x + tag_w < left or y > bottom or y + tag_h < top for left, top, right, bottom in self._taken
        )


class TextPainter:
    """Draws text in any script that OpenCV or a font of the system has."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Find a font for all characters of `texts`; says so once, on stderr, if there is none."""
        wanted = {character for text in texts for character in text if not character.isspace()}
        missing = builtin_missing(wanted)
        self._font_file: Path | None = None
        if missing:
            self._font_file, missing = find_font(wanted)
        if missing:
            shown = "".join(sorted(missing)[:20])
            print(
                f"no font here has the characters {shown}; install one that has them, such as Noto Sans (CJK); "
                "until then something else stands in their place",
                file=sys.stderr,
            )

    def size(self, text: str, text_px: int) -> tuple[int, int]:
        """Width and height of a line of text in pixels."""
        if self._font_file is not None:
            font = _pillow_font(self._font_file, text_px)
            return int(np.ceil(font.getlength(text))), sum(font.getmetrics())
        if not _has_builtin_fonts():
            (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, text_px / 30, 1)
            return width, height + below
        _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _builtin_font(), text_px, _WEIGHT)
        return width, round(1.2 * text_px)

    def draw(
        self, picture: np.ndarray, text: str, top_left_xy_px: tuple[int, int], text_px: int, ink: tuple[int, int, int]
    ) -> None:
        """Draw a line of text into (H, W, 3) uint8 RGB, in place."""
        x, y = top_left_xy_px
        if self._font_file is not None:
            width, height = self.size(text, text_px)
            patch = picture[max(y, 0) : y + height, max(x, 0) : x + width]
            if patch.size:
                canvas = Image.fromarray(patch)
                ImageDraw.Draw(canvas).text((min(x, 0), min(y, 0)), text, ink, _pillow_font(self._font_file, text_px))
                patch[:] = np.asarray(canvas)
        elif _has_builtin_fonts():
            cv2.putText(picture, text, (x, y + round(0.95 * text_px)), ink, _builtin_font(), text_px, _WEIGHT)
        else:
            _, height = self.size(text, text_px)
            place = (x, y + round(0.75 * height))
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, text_px / 30, ink, 1, cv2.LINE_AA)


def builtin_missing(characters: Iterable[str]) -> set[str]:
    """The characters that OpenCV cannot draw with its own fonts (before version 5: all but ASCII)."""
    beyond_ascii = {character for character in characters if not character.isascii()}
    if not _has_builtin_fonts():
        return beyond_ascii
    nothing = _drawn(_NO_CHARACTER)
    return {character for character in beyond_ascii if np.array_equal(_drawn(character), nothing)}


def find_font(characters: set[str]) -> tuple[Path | None, set[str]]:
    """The font file of the system that has most of the characters, and those it lacks; None if none helps."""
    from matplotlib import font_manager, ft2font, get_data_path

    def rank(file: str) -> tuple[bool, str]:
        name = Path(file).name.lower().replace("-", "").replace("_", "")
        return not name.startswith(FONT_FILES), name

    best: Path | None = None
    missing = builtin_missing(characters)
    bundled = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"  # comes with matplotlib: European scripts and Arabic
    for file in sorted([*font_manager.findSystemFonts(), bundled], key=rank):
        try:
            coverage = ft2font.FT2Font(file).get_charmap()
        except (OSError, RuntimeError):  # a broken font, or one of a kind that FreeType lacks
            continue
        lacking = {character for character in characters if ord(character) not in coverage}
        if len(lacking) < len(missing):
            best, missing = Path(file), lacking
        if not missing:
            break
    return best, missing


def _has_builtin_fonts() -> bool:
    return hasattr(cv2, "FontFace")


@lru_cache(maxsize=1)
def _builtin_font() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=8)
def _pillow_font(file: Path, text_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), text_px)


def _drawn(text: str) -> np.ndarray:
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    cv2.putText(picture, text, (5, 30), (255, 255, 255), _builtin_font(), 24)
    return picture
