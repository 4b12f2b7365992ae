"""Draw the block diagrams of diagrams.txt: `python docs/attention/draw.py` writes images/<module>.svg.

Boxes carry their own light fill and dark text, lines are a grey that shows on white and on black: no picture depends on
the background.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

# kind -> (words that make a box of this kind, fill, outline)
KINDS = {
    "gate": (("sigmoid", "softmax", "tanh"), "#ffe3c2", "#c2740a"),
    "layer": (("conv", "linear", "depthwise", "mlp", "strips", "attention to", "timm"), "#d5efda", "#2f8a4c"),
    "pool": (("mean", "max", "sum over", "variance", "weighted", "gather", "grid", "sample"), "#d3e6ff", "#3a75bd"),
    "other": ((), "#eceff3", "#67717c"),
}
INK, LINE = "#1b1f24", "#7d8894"
CHARACTER, ROW, GAP, LANE_GAP, MARGIN = 6.9, 16, 30, 16, 8


@dataclass
class Box:
    """A box or a circle of the picture; x and y are its centre."""

    text: str
    lane: int
    column: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def lines(self) -> list[str]:
        """The text, line by line."""
        return self.text.split("#")[0].split("|")

    @property
    def is_circle(self) -> bool:
        """Whether it is an operation of one sign."""
        return len(self.lines[0]) == 1 and not self.is_end

    @property
    def is_end(self) -> bool:
        """Whether it is the input or the output."""
        return self.text in ("x", "y")

    @property
    def width(self) -> float:
        """Width in pixels."""
        return 26 if self.is_circle or self.is_end else max(map(len, self.lines)) * CHARACTER + 16

    @property
    def height(self) -> float:
        """Height in pixels."""
        return 26 if self.is_circle or self.is_end else len(self.lines) * ROW + 12

    @property
    def kind(self) -> str:
        """Key of `KINDS`."""
        text = " ".join(self.lines).lower()
        return next((kind for kind, (words, *_) in KINDS.items() if any(word in text for word in words)), "other")


@dataclass(frozen=True)
class Edge:
    """An arrow between two boxes, by name, declared in a lane."""

    start: str
    end: str
    lane: int


def read_diagrams() -> dict[str, str]:
    """Lines of each diagram, by the name of the module."""
    diagrams: dict[str, list[str]] = {}
    for line in (FOLDER / "diagrams.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = diagrams.setdefault(line.strip("[] "), [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return {name: "\n".join(lines) for name, lines in diagrams.items()}


def parse(text: str) -> tuple[dict[str, Box], list[Edge]]:
    """Boxes by name and arrows of a diagram."""
    boxes: dict[str, Box] = {}
    edges: list[Edge] = []
    for lane, line in enumerate(text.splitlines()):
        for path in line.removeprefix("~").split(";"):
            names = [name.strip() for name in path.split(" > ")]
            for name in names if line[0] != "~" else ():
                boxes.setdefault(name, Box(name, lane))
            edges += [Edge(a, b, lane) for a, b in pairwise(names)]
    return boxes, edges


def place(boxes: dict[str, Box], edges: list[Edge]) -> tuple[float, float, list[float]]:
    """Give every box its centre; return the picture's width and height and the lanes' heights on it."""
    for _ in boxes:
        for edge in edges:
            boxes[edge.end].column = max(boxes[edge.end].column, boxes[edge.start].column + 1)
    columns = max(box.column for box in boxes.values()) + 1
    left = float(MARGIN)
    for column in range(columns):
        members = [box for box in boxes.values() if box.column == column]
        width = max((box.width for box in members), default=0.0)
        for box in members:
            box.x = left + width / 2
        left += width + GAP
    lanes, top = [], float(MARGIN)
    for lane in range(max(edge.lane for edge in edges) + 1):
        height = max((box.height for box in boxes.values() if box.lane == lane), default=6.0)
        lanes.append(top + height / 2)
        top += height + LANE_GAP
    for box in boxes.values():
        box.y = lanes[box.lane]
    return left - GAP + MARGIN, top - LANE_GAP + MARGIN, lanes


def route(edge: Edge, boxes: dict[str, Box], lanes: list[float]) -> list[tuple[float, float]]:
    """Corners of an arrow: along its lane, with right angles to and from boxes of other lanes."""
    start, end = boxes[edge.start], boxes[edge.end]
    y = lanes[edge.lane]
    points = [(start.x + start.width / 2, start.y)]
    if start.y != y:
        if start.is_end or start.is_circle:
            points = [(start.x, start.y + (start.height / 2 if y > start.y else -start.height / 2))]
            points.append((start.x, y))
        else:
            turn = start.x + start.width / 2 + GAP * 0.3
            points += [(turn, start.y), (turn, y)]
    if end.y == y:
        points.append((end.x - end.width / 2, y))
    elif end.is_circle:
        points += [(end.x, y), (end.x, end.y + (end.height / 2 if y > end.y else -end.height / 2))]
    else:
        turn = end.x - max(b.width for b in boxes.values() if b.column == end.column) / 2 - GAP * 0.45
        points += [(turn, y), (turn, end.y), (end.x - end.width / 2, end.y)]
    return points


def draw(name: str, text: str) -> str:
    """The SVG of a diagram."""
    boxes, edges = parse(text)
    width, height, lanes = place(boxes, edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Block diagram of {escape(name)}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
        f'<g fill="none" stroke="{LINE}" stroke-width="1.6" stroke-linejoin="round">',
    ]
    for edge in edges:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in route(edge, boxes, lanes))
        parts.append(f'<polyline points="{corners}" marker-end="url(#tip)"/>')
    parts.append('</g><g font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="12" text-anchor="middle">')
    parts += [_shape(box) for box in boxes.values()]
    return "\n".join([*parts, "</g></svg>", ""])


def _shape(box: Box) -> str:
    _, fill, outline = KINDS["other" if box.is_circle or box.is_end else box.kind]
    style = f'fill="{fill}" stroke="{outline}" stroke-width="1.3"'
    if box.is_circle:
        shape = f'<circle cx="{box.x:.1f}" cy="{box.y:.1f}" r="{box.width / 2:.1f}" {style}/>'
    else:
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        radius = 13 if box.is_end else 5
        shape = (
            f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
            f'rx="{radius}" {style}/>'
        )
    first = box.y - (len(box.lines) - 1) * ROW / 2 + 4.2
    weight = ' font-weight="bold"' if box.is_end or box.is_circle else ""
    texts = [
        f'<text x="{box.x:.1f}" y="{first + i * ROW:.1f}" fill="{INK}"{weight}>{escape(line)}</text>'
        for i, line in enumerate(box.lines)
    ]
    return shape + "".join(texts)


def main() -> int:
    """Write every diagram."""
    (FOLDER / "images").mkdir(exist_ok=True)
    diagrams = read_diagrams()
    for name, text in diagrams.items():
        (FOLDER / "images" / f"{name}.svg").write_text(draw(name, text), encoding="utf-8")
    print(f"{len(diagrams)} diagrams in {FOLDER / 'images'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
