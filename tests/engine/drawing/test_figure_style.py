"""Colours that stay apart for colour-blind eyes, tags that do not cover each other."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from engine.drawing.boxes_on_images import Annotator, Places, Style, class_colour
from engine.drawing.figure_style import MEAN, PALETTE, line_style

# Machado, Oliveira and Fernandes 2009, table of severity 1.0, on linear RGB.
MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def seen_lab(colour, matrix):
    """CIELAB of a colour as an eye of that kind sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", MACHADO)
def test_colours_stay_apart(kind):
    colours = [seen_lab(colour, MACHADO[kind]) for colour in (*PALETTE, MEAN)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 10


def test_twenty_four_lines_differ():
    styles = [tuple(line_style(i).values()) for i in range(24)]
    assert len(set(styles)) == 24


def test_tags_of_several_classes_on_one_object_lie_side_by_side():
    places = Places(200, 100)
    first = places.free((50, 40), 60, 12)
    assert first == (50, 28)
    rects = [first, *(places.free((50, 40), 60, 12) for _ in range(4))]
    for (x1, y1), (x2, y2) in itertools.combinations(rects, 2):
        assert abs(x1 - x2) >= 60 or abs(y1 - y2) >= 12
    assert all(0 <= x <= 140 and 0 <= y <= 88 for x, y in rects)
    full = Places(60, 12)
    assert full.free((0, 12), 60, 12) == full.free((0, 12), 60, 12) == (0, 0)


def test_every_tag_of_an_annotated_picture_can_be_read():
    """Two classes on one box: both colours' tags keep their whole area."""
    picture = np.full((120, 200, 3), 200, np.uint8)
    boxes = np.array([[40, 60, 120, 110]] * 2, np.float32)
    annotator = Annotator({0: "mmmm", 1: "mmmm"}, Style(confidences=False))
    both = annotator.draw(picture, boxes, np.array([0.9, 0.8]), np.array([0, 1]))
    alone = [annotator.draw(picture, boxes[:1], np.array([0.9]), np.array([k])) for k in (0, 1)]
    for k in (0, 1):
        colour = np.array(class_colour(k))
        area = [int((one[:57] == colour).all(2).sum()) for one in (both, alone[k])]
        assert area[0] >= 0.9 * area[1] > 100
