"""`index.html`: the report as one file that needs no network: sortable table, pictures, and what each model sees."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from string import Template

from analysis.compare.execute.run_folder import FINISHED
from analysis.compare.judge.collect import ERROR_FIGURES, Row
from analysis.compare.judge.verdicts import SIZES, Configuration, Group
from analysis.compare.report.charts import DARK, LIGHT, available, render
from analysis.compare.report.markdown_table import cell, difference_cells, points
from analysis.compare.report.terms import TERMS, anchor
from analysis.compare.report.verdict_sentence import verdict_sentence
from engine.validation.prediction_files import COCO_FIGURES

_TEMPLATE = Path(__file__).with_name("page.html")
_MAIN = ("mAP50-95", "difference", "95 % interval", "verdict", "params", "MACs", "latency", "training")
_PRICES = ("parameters", "MACs", "latency_ms", "training_seconds")


def html(groups: Sequence[Group], rows: Sequence[Row], title: str, commands: Sequence[str] = ()) -> str:
    """The page.

    Args:
        groups: What may be compared.
        rows: Every run, finished or not.
        title: The page's.
        commands: Command lines that made the comparison, oldest first.
    """
    parts = [_section(group) for group in groups] or ["<p>No run is finished.</p>"]
    parts += [_unfinished(rows), _terms(), footer(rows, commands)]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body="\n".join(parts))


def _section(group: Group) -> str:
    baseline = escape(group.name(group.configurations[0]))
    return "\n".join([
        f'<p class="answer">{escape(verdict_sentence(group))}</p>',
        f"<h2>{escape(group.title)}</h2>",
        f"<p>Gain and price. Differences are from {baseline}, in points: 100 points are a mAP of 1. "
        "A head sorts the table; its ? explains it.</p>",
        _table(group, _MAIN, _main_cells),
        _errors(group),
        "<details><summary>Sizes, COCO's twelve figures, p and seeds needed</summary>",
        _table(group, ("p (Holm)", "seeds for ½ point"), _certainty_cells),
        _table(group, tuple(name.replace("_", " ") for name in COCO_FIGURES), _coco_cells),
        "</details>",
        f'<div class="plots">{"".join(_plots(group))}</div>',
        _seen(group),
    ])  # fmt: skip


def _table(group: Group, heads: Sequence[str], cells: Callable[[Configuration], str]) -> str:
    head = "".join(_head(text) for text in ("configuration", *heads))
    body = "\n".join(f"<tr>{_cell(group.name(one))}{cells(one)}</tr>" for one in group.configurations)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _head(text: str) -> str:
    """A head that sorts, with its explanation as a tooltip and as a link to the terms."""
    term = _COCO_TERMS.get(text[:2], text) if text not in TERMS else text
    told = TERMS.get(term)
    help_ = f'<a class="why" href="#{anchor(term)}" aria-label="what is {escape(text)}?">?</a>' if told else ""
    tip = f' title="{escape(told)}"' if told else ""
    return f'<th scope="col"{tip}><button type="button">{escape(_UNITS.get(text, text))}</button>{help_}</th>'


_COCO_TERMS = {"AP": "AP (COCO)", "AR": "AR"}
_UNITS = {"difference": "difference, points", "params": "params, M", "MACs": "MACs, G", "latency": "latency, ms"}


def _main_cells(one: Configuration) -> str:
    cells = [_cell(cell(one, "mAP50-95"), _number(one.mean["mAP50-95"]))]
    if one.answer is None:
        cells += [_cell("", ""), _cell("", ""), _cell(one.note or "baseline", kind="words")]
    else:
        found, texts = one.answer.comparison, difference_cells(one)
        cells += [_cell(texts[0], _number(found.difference)), _cell(texts[1], _number(found.interval()[0]))]
        kind = one.answer.verdict if one.answer.verdict in ("better", "worse") else "words"
        cells.append(_cell(texts[3], kind=kind))
    return "".join(cells + [_cell(cell(one, name), _number(one.mean[name])) for name in _PRICES])


def _certainty_cells(one: Configuration) -> str:
    texts = difference_cells(one)
    return _cell(texts[2], _number(one.answer.corrected_p) if one.answer else "") + _cell(texts[4], kind="words")


def _coco_cells(one: Configuration) -> str:
    return "".join(_cell(cell(one, name), _number(one.mean[name])) for name in COCO_FIGURES)


def _errors(group: Group) -> str:
    """What each kind of mistake costs, and AP by object size, beside the baseline's."""
    baseline = group.configurations[0]
    shown = [name for name in ERROR_FIGURES if baseline.mean[name] is not None]
    sizes = [name for name in SIZES if baseline.mean[name] is not None]
    parts = []
    if shown:
        heads = [ERROR_FIGURES[name].replace("_", " ") for name in shown]
        table = _table(group, heads, lambda one: "".join(_beside(one, baseline, name) for name in shown))
        note = f'what each kind of mistake costs in points of AP50 (<a href="#{anchor("dAP")}">dAP</a>)'
        parts.append(f"<h3>What changed in the mistakes: {note}</h3>{table}")
    if sizes:
        heads = [f"AP {name[3:]}" for name in sizes]
        table = _table(group, heads, lambda one: "".join(_size_cell(one, name) for name in sizes))
        note = f'<a href="#{anchor("object size")}">object size</a>'
        parts.append(f"<h3>AP by {note}: mean, and difference with its 95 % interval over the seeds</h3>{table}")
    return "\n".join(parts)


def _beside(one: Configuration, baseline: Configuration, name: str) -> str:
    """A cost in points, with how it differs from the baseline's."""
    cost, before = one.mean[name], baseline.mean[name]
    if cost is None:
        return _cell("-", "")
    less = f" ({points(cost - before)})" if before is not None and one is not baseline else ""
    return _cell(f"{100 * cost:.2f}{less}", _number(cost))


def _size_cell(one: Configuration, name: str) -> str:
    found = one.answer.per_size.get(name) if one.answer else None
    if found is None:
        return _cell(cell(one, name), _number(one.mean[name]))
    low, high = found.interval()
    interval = f" ({points(low)} to {points(high)})" if math.isfinite(low) else ""
    return _cell(f"{cell(one, name)}, {points(found.difference)}{interval}", _number(one.mean[name]))


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
    """The same images as each model sees them, a row an image, the labels first; models of the lowest seed."""
    runs = [(group.name(one), one.rows[0].folder.path / "seen") for one in group.configurations]
    names = sorted({file.name for _, folder in runs for file in folder.glob("*.jpg") if "-" not in file.stem})
    rows = []
    for name in names:
        truth = [folder / name.replace(".jpg", "-truth.jpg") for _, folder in runs]
        figures = [_figure("labels (ground truth)", [file]) for file in truth if file.is_file()][:1]
        for label, folder in runs:
            files = [folder / name, *(folder / name.replace(".jpg", f"-{kind}.jpg") for kind in ("cam", "gates"))]
            if files[0].is_file():
                figures.append(_figure(label, [file for file in files if file.is_file()]))
        heading = "<p>One of the two images on which the models differ most:</p>" if "different" in name else ""
        rows.append(f'{heading}<div class="seen">{"".join(figures)}</div>')
    if not rows:
        return ""
    seeds = sorted({one.rows[0].plan.seed for one in group.configurations})
    note = f"The same validation images for every model; confidence from 0.25; seed {', '.join(map(str, seeds))}."
    if any(any(folder.glob("*-cam.jpg")) for _, folder in runs):
        what = f"{_link('cam', 'heat map')} of its detections and {_link('gates', 'gates')} of its attention"
        note += f" Below each the {what}; a click enlarges a picture."
    return "\n".join(["<h3>What each model sees</h3>", f"<p>{note}</p>", *rows])


def _figure(label: str, files: Sequence[Path]) -> str:
    text = escape(label)
    images = "".join(
        f'<img src="{_data(file.read_bytes(), "jpeg")}" alt="{text}{escape(_kind(file))}">' for file in files
    )
    return f"<figure>{images}<figcaption>{text}</figcaption></figure>"


def _kind(file: Path) -> str:
    """What a picture shows beside the detections, from its name `0-cam.jpg`."""
    return {"cam": ": heat map", "gates": ": gates"}.get(file.stem.partition("-")[2], "")


def _link(term: str, text: str) -> str:
    return f'<a href="#{anchor(term)}">{text}</a>'


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _unfinished(rows: Sequence[Row]) -> str:
    left = [row for row in rows if row.state != FINISHED]
    if not left:
        return ""
    items = "".join(f"<li>{escape(row.folder.path.name)}: {row.state} {escape(row.error)}</li>" for row in left)
    return f"<h2>Not finished</h2><ul>{items}</ul>"


def _terms() -> str:
    items = "".join(
        f'<dt id="{anchor(term)}">{escape(term)}</dt><dd>{escape(text)}</dd>' for term, text in TERMS.items()
    )
    return f"<h2>What the words mean</h2><dl>{items}</dl>"


def footer(rows: Sequence[Row], commands: Sequence[str]) -> str:
    """Hardware, versions, data, commands and commit, as far as the runs say."""
    measured = [row.folder.read("measured") or {} for row in rows if row.state == FINISHED]
    machines = [one.get("machine", {}) for one in measured]
    lines = [
        (name, list(dict.fromkeys(one[name] for one in machines if one.get(name))))
        for name in ("hardware", "versions", "commit")
    ]
    data = {}
    for row in rows:
        digest = f", digest {row.plan.data_digest[:10]}" if row.plan.data_digest else ""
        data[f"{row.plan.train['data']}, split {row.plan.task}{digest}"] = None
    counts = dict.fromkeys(f"{one['images']} images, {one['instances']} objects measured" for one in measured)
    lines[2:2] = [("data", [*data, *counts])]
    items = "".join(f"<dt>{name}</dt><dd>{_lines(texts) or 'not recorded'}</dd>" for name, texts in lines)
    told = f"<pre>{escape(chr(10).join(commands))}</pre>" if commands else "not recorded"
    return f"<footer><h2>How this was made</h2><dl>{items}<dt>commands</dt><dd>{told}</dd></dl></footer>"


def _lines(texts: Sequence[str]) -> str:
    return "<br>".join(map(escape, texts))
