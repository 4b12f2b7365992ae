"""The picture of a layer list: every row a button with its figures, Detect none, and lines from what is read."""

from xml.etree import ElementTree

from analysis.graph_picture import graph_svg
from models import load_spec

SVG = "{http://www.w3.org/2000/svg}"


def test_rows_places_and_lines() -> None:
    root = ElementTree.fromstring(graph_svg(load_spec("yolov5n.yaml"), [14, 17]))
    buttons = {int(group.get("data-row")): group for group in root.iter(f"{SVG}g")}
    assert list(buttons) == list(range(24))
    assert all(button.get("tabindex") == "0" and button.get("role") == "button" for button in buttons.values())
    assert [row for row, button in buttons.items() if button.get("aria-pressed") == "true"] == [14, 17]
    assert buttons[17].get("aria-label") == "17 C3 · 64 · /8 neck.P3"
    assert [row for row, one in buttons.items() if "place" in one.get("class")] == [0, 2, 4, 6, 8, 9, 17, 20, 23]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "24 Detect" in texts
    assert "256 · /32" in texts
    assert len(list(root.iter(f"{SVG}path"))) == 23 + 4 + 3  # each row's first, the joins' second, Detect's three


def test_every_row_lies_in_the_picture(root) -> None:
    for file in sorted((root / "models").glob("*.yaml")):
        picture = ElementTree.fromstring(graph_svg(load_spec(file)))
        *_, width, height = map(float, picture.get("viewBox").split())
        boxes = [[float(box.get(name)) for name in ("x", "y", "width", "height")] for box in picture.iter(f"{SVG}rect")]
        assert len({(x, y) for x, y, *_ in boxes}) == len(load_spec(file).layers)
        assert all(x >= 0 and x + w <= width and y >= 0 and y + h <= height for x, y, w, h in boxes)
