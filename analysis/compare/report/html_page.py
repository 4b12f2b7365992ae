"""`index.html`: the report as one file that needs no network: sortable table, pictures, and what each model sees."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from analysis.compare.execute.run_folder import FINISHED
from analysis.compare.judge.collect import Row
from analysis.compare.judge.verdicts import Configuration, Group
from analysis.compare.report.charts import DARK, LIGHT, available, render
from analysis.compare.report.markdown_table import HEADS, cell, difference_cells

_TEMPLATE = Path(__file__).with_name("page.html")
_DIFFERENCE_HEADS = ("difference, points", "95 % interval", "p (Holm)", "verdict", "seeds for ½ point")


def html(groups: Sequence[Group], rows: Sequence[Row], title: str) -> str:
    """The page."""
    parts = [_section(group) for group in groups] or ["<p>No run is finished.</p>"]
    parts.append(_unfinished(rows))
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body="\n".join(parts))


def _section(group: Group) -> str:
    baseline = escape(group.name(group.configurations[0]))
    return "\n".join([
        f"<h2>{escape(group.title)}</h2>",
        f"<p>Means ± standard deviation over the seeds. Differences are of mAP50-95 against {baseline}, paired by "
        "seed and by image; 100 points are a mAP of 1. The interval is for one comparison, the verdict "
        "allows for all of this report. A column's head sorts the table.</p>",
        _table(group),
        f'<div class="plots">{"".join(_plots(group))}</div>',
        _seen(group),
    ])  # fmt: skip


def _table(group: Group) -> str:
    heads = ("configuration", "mAP50-95", *_DIFFERENCE_HEADS, *HEADS.values())
    head = "".join(f'<th scope="col"><button type="button">{escape(text)}</button></th>' for text in heads)
    body = "\n".join(f"<tr>{_cells(one, group.name(one))}</tr>" for one in group.configurations)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(one: Configuration, name: str) -> str:
    cells = [_cell(name), _cell(cell(one, "mAP50-95"), _number(one.mean["mAP50-95"]))]
    if one.answer is None:
        cells += [_cell("", "") for _ in range(3)] + [_cell(one.note), _cell("", "")]
    else:
        found, texts = one.answer.comparison, difference_cells(one)
        cells += [_cell(texts[0], _number(found.difference)), _cell(texts[1], _number(found.interval()[0]))]
        cells.append(_cell(texts[2], _number(one.answer.corrected_p)))
        kind = one.answer.verdict if one.answer.verdict in ("better", "worse") else ""
        cells += [_cell(texts[3], kind=kind), _cell(texts[4])]
    cells += [_cell(cell(one, name), _number(one.mean[name])) for name in HEADS]
    return "".join(cells)


def _cell(text: str, value: str | None = None, kind: str = "") -> str:
    """A cell; `value` is what it sorts by."""
    sort = "" if value is None else f' data-value="{escape(value)}"'
    style = f' class="{kind}"' if kind else ""
    return f"<td{style}{sort}>{escape(text)}</td>"


def _number(value: float | None) -> str:
    return repr(value) if value is not None and math.isfinite(value) else ""


def _plots(group: Group) -> list[str]:
    return [
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(render(plot, group, DARK, "svg"), "svg+xml")}">'
        f'<img src="{_data(render(plot, group, LIGHT, "svg"), "svg+xml")}" alt="{escape(plot.title)}"></picture>'
        f"<figcaption>{escape(plot.title)}</figcaption></figure>"
        for plot in available(group)
    ]


def _seen(group: Group) -> str:
    """The same images as each model sees them, a row an image; models of the lowest seed."""
    rows = []
    names = sorted({file.name for one in group.configurations for file in _pictures(one)})
    for name in names:
        figures = []
        for one in group.configurations:
            file = one.rows[0].folder.path / "seen" / name
            if file.is_file():
                label = escape(group.name(one))
                image = f'<img src="{_data(file.read_bytes(), "jpeg")}" alt="found by {label}">'
                figures.append(f"<figure>{image}<figcaption>{label}</figcaption></figure>")
        rows.append(f'<div class="seen">{"".join(figures)}</div>')
    if not rows:
        return ""
    seeds = sorted({one.rows[0].plan.seed for one in group.configurations})
    note = f"Validation images, confidence from 0.25, models of seed {', '.join(map(str, seeds))}."
    return "\n".join(["<h3>What each model sees</h3>", f"<p>{note}</p>", *rows])


def _pictures(one: Configuration) -> list[Path]:
    return sorted((one.rows[0].folder.path / "seen").glob("*.jpg"))


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _unfinished(rows: Sequence[Row]) -> str:
    left = [row for row in rows if row.state != FINISHED]
    if not left:
        return ""
    items = "".join(f"<li>{escape(row.folder.path.name)}: {row.state} {escape(row.error)}</li>" for row in left)
    return f"<h2>Not finished</h2><ul>{items}</ul>"
