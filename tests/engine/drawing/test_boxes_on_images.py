import cv2
import numpy as np
import pytest

from engine.drawing import boxes_on_images as annotate
from engine.drawing.boxes_on_images import Annotator, Style, TextPainter, class_colour

BOX = np.array([[20.0, 40.0, 80.0, 90.0]])
needs_builtin_fonts = pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no built-in fonts")


def draw(names, boxes=BOX, confidences=(0.87,), ids=(0,), size=(160, 120), style=None):
    picture = np.full((size[1], size[0], 3), 60, np.uint8)
    return Annotator(names, style).draw(picture, np.array(boxes), np.array(confidences), np.array(ids))


def test_box_is_drawn_where_it_is_and_the_original_is_left_alone():
    picture = np.full((120, 160, 3), 60, np.uint8)
    drawn = Annotator({0: "car"}, Style(1, labels=False)).draw(picture, BOX, np.array([0.9]), np.array([0]))
    assert (picture == 60).all()
    changed = (drawn != 60).any(-1)
    ys, xs = changed.nonzero()
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (20, 40, 80, 90)
    assert not changed[42:89, 22:79].any()
    assert tuple(drawn[60, 20]) == class_colour(0)


def test_every_style_option_matters():
    usual = draw({0: "car"})
    for style in (Style(line_px=1), Style(labels=False), Style(confidences=False)):
        assert (draw({0: "car"}, style=style) != usual).any()
    assert (draw({0: "car"}, style=Style(labels=False))[:36] == 60).all()
    assert (usual[:36] != 60).any()


def test_a_label_stays_inside_the_picture():
    for box in ([[150.0, 0.0, 160.0, 10.0]], [[0.0, 0.0, 5.0, 5.0]], [[140.0, 110.0, 160.0, 120.0]]):
        drawn = draw({0: "a_long_class_name"}, box)
        assert drawn.shape == (120, 160, 3)
        plain = (drawn == 60).all(-1) | (drawn == class_colour(0)).all(-1)
        assert (~plain).sum() > 100  # the text


def test_the_most_confident_label_is_on_top():
    boxes = np.array([[20.0, 40.0, 80.0, 90.0], [20.0, 40.0, 80.0, 90.0]])
    drawn = draw({0: "best", 1: "other"}, boxes, (0.9, 0.5), (0, 1))
    assert tuple(drawn[60, 20]) == class_colour(0)


def test_colours_differ():
    colours = [class_colour(k) for k in range(80)]
    assert len(set(colours)) == 80
    assert min(np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colours[:12]) for b in colours[:i]) > 60


@needs_builtin_fonts
@pytest.mark.parametrize("text", ["限速六十", "戴口罩", "かな", "한국", "Жук", "Größe"])
def test_these_scripts_are_drawn_without_a_font_file(text, capsys):
    assert annotate.builtin_missing(set(text)) == set()
    painter = TextPainter([text])
    assert capsys.readouterr().err == ""
    drawn = []
    for line in (text, "?" * len(text), annotate._NO_CHARACTER * len(text)):
        picture = np.zeros((40, 200, 3), np.uint8)
        painter.draw(picture, line, (5, 5), 24, (255, 255, 255))
        drawn.append(picture)
    assert all((drawn[0] != other).any() for other in drawn[1:])
    ys, xs = drawn[0].any(-1).nonzero()
    width, height = painter.size(text, 24)
    assert xs.max() < 5 + width + 2
    assert ys.min() >= 5
    assert ys.max() < 5 + height


@needs_builtin_fonts
def test_every_character_looks_different():
    shapes = {annotate._drawn(character).tobytes() for character in "限速停车禁止通行戴口罩"}
    assert len(shapes) == 11


def test_missing_characters_are_looked_for_in_the_fonts_of_the_system(monkeypatch, capsys):
    """As if OpenCV's own fonts had nothing: the letters come from DejaVu, which comes with matplotlib."""
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    monkeypatch.setattr(annotate, "builtin_missing", lambda characters: set(characters))
    painter = TextPainter(["Ωж"])
    assert painter._font_file is not None
    assert painter._font_file.name == "DejaVuSans.ttf"
    picture = np.zeros((40, 100, 3), np.uint8)
    painter.draw(picture, "Ωж", (5, 5), 24, (255, 255, 255))
    ys, xs = picture.any(-1).nonzero()
    width, height = painter.size("Ωж", 24)
    assert (xs.min() >= 5, xs.max() <= 5 + width, ys.min() >= 5, ys.max() <= 5 + height) == (True,) * 4
    assert capsys.readouterr().err == ""
    painter.draw(picture, "Ωж", (-10, -10), 24, (255, 255, 255))  # partly outside
    painter.draw(picture, "Ωж", (95, 35), 24, (255, 255, 255))


def test_characters_that_no_font_has_are_said_once(monkeypatch, capsys):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    annotator = Annotator({0: "\U000f0000 a", 1: "\U000f0000 b"})
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no font here has the characters \U000f0000" in err
    annotator.draw(np.zeros((50, 50, 3), np.uint8), BOX, np.array([0.5]), np.array([0]))
    assert capsys.readouterr().err == ""


def test_older_opencv_still_draws(monkeypatch):
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    assert annotate.builtin_missing(set("aé限")) == set("é限")
    assert (draw({0: "car"})[:36] != 60).any()
