"""A layer list as a picture: a box a row, fine maps left and coarse ones right, with lines from what it reads."""

from __future__ import annotations

import math
from collections.abc import Collection
from html import escape

from models.graph.checked import analyse
from models.insertion.places import places
from models.spec.model_spec import IMAGE, ModelSpec

_COLUMN, _ROW = 80, 37  # from box to box
_WIDTH, _HEIGHT = 70, 28  # of a box
_LEFT, _TOP = 26, 6
_LETTERS = 10  # of a module's name
_STYLE = (
    ".layer-graph{width:100%;max-width:520px;font:10px system-ui,sans-serif}"
    ".layer-graph text{fill:currentColor;text-anchor:middle}"
    ".layer-graph path{fill:none;stroke:currentColor;opacity:.45}"
    ".layer-graph rect{fill:transparent;stroke:currentColor;stroke-opacity:.5}"
    ".layer-graph .place rect{stroke:#2563eb;stroke-width:2;stroke-opacity:1}"
    ".layer-graph [data-row]{cursor:pointer}.layer-graph [data-row]:hover rect{fill:#2563eb;fill-opacity:.15}"
    ".layer-graph .chosen rect{fill:#2563eb;fill-opacity:.35}"
)


def graph_svg(spec: ModelSpec, chosen: Collection[int] = ()) -> str:
    """The picture as SVG.

    A row behind which may be inserted is a button: its group has `data-row`, named places the class `place`.

    Args:
        spec: The layer list.
        chosen: Rows that are marked.
    """
    graph, names = analyse(spec), {row: name for name, row in places(spec).items()}
    levels = [math.log2(row.stride) for row in graph[:-1]]
    columns = [round(level - min(levels)) for level in levels]
    columns.append(max(columns))  # Detect
    width, height = _LEFT + (max(columns) + 1) * _COLUMN, _TOP + len(graph) * _ROW
    parts = [
        f'<svg class="layer-graph" viewBox="0 0 {width} {height}" role="group" xmlns="http://www.w3.org/2000/svg">',
        f"<style>{_STYLE}</style>",
    ]
    for row, one in enumerate(graph):
        parts += [_line(source, row, columns) for source in one.layer.source if source != IMAGE]
    for row, one in enumerate(graph):
        module = one.layer.module.removeprefix("nn.")
        short = module if len(module) <= _LETTERS else f"{module[: _LETTERS - 1]}…"
        figures = f"{one.channels} · /{one.stride}" if one.plan else ""
        parts.append(_box(row, columns[row], (f"{row} {short}", figures)))
        if one.plan:
            label = escape(f"{row} {module} · {figures} {names.get(row, '')}".strip())
            style = " ".join([*(["place"] if row in names else []), *(["chosen"] if row in chosen else [])])
            pressed = "true" if row in chosen else "false"
            button = f'data-row="{row}" class="{style}" tabindex="0" role="button" aria-pressed="{pressed}"'
            parts[-1] = f'<g {button} aria-label="{label}"><title>{label}</title>{parts[-1]}</g>'
    return "".join([*parts, "</svg>"])


def _corner(row: int, column: int) -> tuple[int, int]:
    return _LEFT + column * _COLUMN, _TOP + row * _ROW


def _box(row: int, column: int, lines: tuple[str, str]) -> str:
    x, y = _corner(row, column)
    middle = x + _WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text x="{middle}" y="{y + 12}">{escape(lines[0])}</text>'
        f'<text x="{middle}" y="{y + 24}" font-size="9">{escape(lines[1])}</text>'
    )


def _line(source: int, row: int, columns: list[int]) -> str:
    """From one box to the next; past others in a bow along their left side."""
    x, y = _corner(source, columns[source])
    to_x, to_y = _corner(row, columns[row])
    if row == source + 1:
        half = _WIDTH // 2
        return f'<path d="M{x + half} {y + _HEIGHT}L{to_x + half} {to_y}"/>'
    y, to_y = y + _HEIGHT // 2, to_y + _HEIGHT // 2
    bow = 18
    return f'<path d="M{x} {y}C{x - bow} {y + bow} {to_x - bow} {to_y - bow} {to_x} {to_y}"/>'
