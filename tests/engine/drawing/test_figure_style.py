"""Colours that stay apart for colour-blind eyes, tags that do not cover each other."""

import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.compare.report import charts
from engine.drawing import figure_style
from engine.drawing.boxes_on_images import Annotator, Places, Style, class_colour, find_font
from engine.drawing.figure_style import CLASS_COLOURS, MEAN, PALETTE, line_style, mark_style, readable_fonts

# Machado, Oliveira and Fernandes 2009, table of severity 1.0, on linear RGB.
MACHADO = {
    "normal sight": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen_lab(colour, matrix):
    """CIELAB of a colour as an eye of that kind sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    share = xyz / [0.9505, 1, 1.089]
    f = np.where(share > 216 / 24389, np.cbrt(share), 841 / 108 * share + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SETS = {
    "lines and their mean": (*PALETTE, MEAN),
    "classes": CLASS_COLOURS,
    "series of a light page": (charts.LIGHT.text, *PALETTE),
    "series of a dark page": (charts.DARK.text, *PALETTE),
    "verdicts on a light page": (charts.LIGHT.better, charts.LIGHT.worse, charts.LIGHT.unclear),
    "verdicts on a dark page": (charts.DARK.better, charts.DARK.worse, charts.DARK.unclear),
}


@pytest.mark.parametrize("kind", MACHADO)
@pytest.mark.parametrize("name", SETS)
def test_colours_stay_apart(name, kind):
    """CIE 1976 difference of any two; 2.3 is what an eye just tells apart side by side."""
    colours = [seen_lab(colour, MACHADO[kind]) for colour in SETS[name]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 15


def test_what_red_and_green_blind_eyes_confuse_is_found():
    """The simulation itself: a red and a green that are one colour to a deuteranope, blue and orange that are not."""
    red, green = "#d55e00", "#b8860b"
    apart = {kind: np.linalg.norm(seen_lab(red, MACHADO[kind]) - seen_lab(green, MACHADO[kind])) for kind in MACHADO}
    assert apart["deuteranopia"] < 10 < 30 < apart["normal sight"]


@pytest.mark.parametrize("style", [line_style, mark_style])
def test_twenty_four_series_differ(style):
    styles = [tuple(style(i).values()) for i in range(24)]
    assert len(set(styles)) == 24


def ink(text):
    """How many pixels of a figure a text darkens."""
    with readable_fonts():
        figure = Figure(figsize=(2, 1))
        figure.text(0.1, 0.4, text, fontsize=20)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].min(2) < 128


def test_chinese_is_drawn_with_a_font_that_has_it(capsys):
    if find_font({"红", "绿"})[1]:
        pytest.skip("no font for Chinese here")
    assert not np.array_equal(ink("红"), ink("绿"))  # empty boxes would be equal
    assert not capsys.readouterr().err


def test_without_such_a_font_a_note_says_so_once(capsys, monkeypatch):
    monkeypatch.setattr(figure_style, "_families", lambda: ["DejaVu Sans"])
    monkeypatch.setattr(figure_style, "_told", set())
    assert np.array_equal(ink("红"), ink("绿"))
    assert "no font here has the characters 红 of a plot" in (said := capsys.readouterr().err)
    assert "Noto Sans CJK" in said
    ink("红绿")
    assert not capsys.readouterr().err


def test_other_warnings_pass():
    with pytest.raises(UserWarning, match="something else"), readable_fonts():
        warnings.warn("something else", stacklevel=1)


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
