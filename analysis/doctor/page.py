"""The page and the JSON of the doctor's findings: one file each that needs no network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from analysis.doctor.checks.sizes import STEPS_PX, size_px
from analysis.doctor.draw import Examples, charts
from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import SEVERITIES, Case, Finding

_TEMPLATE = Path(__file__).with_name("page.html")
_EXAMPLES = 3  # pictures of a finding
_LISTED = 100  # cases of a finding on the page; the JSON has more


def page(evidence: Evidence, findings: Sequence[Finding], left_out: Sequence[str]) -> str:
    """The page.

    Args:
        evidence: What was looked at.
        findings: What was found, the gravest first.
        left_out: What was not looked at, a sentence each.
    """
    examples = Examples(evidence)
    title = f"Data set {evidence.dataset.file.name}"
    body = [f"<h1>{escape(title)}</h1>", _overview(evidence, findings)]
    body += [_section(finding, examples, evidence) for finding in findings]
    if any(len(split.rows) for split in evidence.splits):
        alt = "boxes of each class; where their centres lie; their sizes and aspects"
        body.append(f'<section><h2>The boxes</h2><img class="chart" src="{charts(evidence)}" alt="{alt}"></section>')
    if left_out:
        items = "".join(f"<li>{escape(text)}</li>" for text in left_out)
        body.append(f"<section><h2>Not looked at</h2><ul>{items}</ul></section>")
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body="\n".join(body))


def summary(findings: Sequence[Finding]) -> str:
    """How many findings of each severity."""
    counts = [(sum(one.check.severity == severity for one in findings), severity) for severity in SEVERITIES]
    words = [f"{count} {severity}{'s' * (count > 1)}" for count, severity in counts if count]
    return ", ".join(words) or "nothing found"


def _overview(evidence: Evidence, findings: Sequence[Finding]) -> str:
    splits = "".join(_split_row(split) for split in evidence.splits)
    rows = "".join(
        f'<tr><td class="s {one.check.severity}">{one.check.severity}</td>'
        f'<td><a href="#{one.check.name}">{escape(one.check.title)}</a></td><td class="n">{one.found.count}</td></tr>'
        for one in findings
    )
    found = f"<table>{rows}</table>" if rows else '<p class="good">Nothing was found.</p>'
    return (
        f'<p class="soft">{escape(str(evidence.dataset.file))}, judged for training at {evidence.image_px} px</p>'
        '<table><tr><th>split<th class="n">images<th class="n">boxes<th class="n">images without boxes</tr>'
        f"{splits}</table><p><b>{escape(summary(findings))}</b></p>{found}"
    )


def _split_row(split: Split) -> str:
    bare = sum(state in ("missing", "empty") for state in split.states)
    cells = "".join(f'<td class="n">{number}</td>' for number in (len(split.images), len(split.rows), bare))
    return f"<tr><td>{split.name}</td>{cells}</tr>"


def _section(finding: Finding, examples: Examples, evidence: Evidence) -> str:
    check, found = finding
    shown = list(found.cases[:_LISTED])
    more = found.count - len(shown)
    items = "".join(f"<li>{escape(_line(case, evidence))}</li>" for case in shown)
    items += f"<li>and {more} more</li>" if more else ""
    text = f"<p>{escape(found.text)}</p>" if found.text else ""
    return (
        f'<section id="{check.name}"><h2><span class="{check.severity}">{check.severity}</span> '
        f"{escape(check.title)}: {found.count}</h2>{text}<p>{_with_code(finding.remedy)}</p>"
        f'<div class="examples">{_figures(found.cases, examples)}</div>'
        f"<details><summary>{found.count} in all</summary><ul>{items}</ul></details></section>"
    )


def _with_code(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _figures(cases: Sequence[Case], examples: Examples) -> str:
    """Pictures of the first cases that have one, each of another image."""
    figures: list[str] = []
    seen: set[str] = set()
    for case in cases:
        if case.image in seen:
            continue
        seen.add(case.image)
        pictures = examples.draw(case)
        if pictures:
            images = "".join(f'<img src="{picture}" alt="{escape(case.text)}">' for picture in pictures)
            name = escape(os.path.basename(case.image))
            kind = ' class="pair"' if case.other else ""
            figures.append(f"<figure{kind}>{images}<figcaption>{name}: {escape(case.text)}</figcaption></figure>")
        if len(figures) == _EXAMPLES or len(seen) > _LISTED:
            break
    return "".join(figures)


def _line(case: Case, evidence: Evidence) -> str:
    if not case.image:
        return case.text
    return f"{os.path.relpath(case.image, evidence.dataset.path)}: {case.text}"


def as_json(evidence: Evidence, findings: Sequence[Finding], left_out: Sequence[str]) -> str:
    """The same for programs; paths as they are, boxes as cx, cy, w, h in fractions of the image."""
    sizes = np.concatenate([np.zeros(0), *(size_px(evidence, split) for split in evidence.splits)])
    content = {
        "dataset": str(evidence.dataset.file),
        "image_px": evidence.image_px,
        "splits": {split.name: _split_json(evidence, split) for split in evidence.splits},
        "share_under_px": {str(step): float((sizes < step).mean()) if len(sizes) else 0.0 for step in STEPS_PX},
        "not_looked_at": list(left_out),
        "findings": [_finding_json(finding) for finding in findings],
    }
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def _split_json(evidence: Evidence, split: Split) -> dict[str, Any]:
    counts = dict(zip(evidence.names.values(), evidence.class_counts(split).tolist(), strict=False))
    states = {state: split.states.count(state) for state in ("labelled", "empty", "missing", "corrupt")}
    return {"images": len(split.images), "boxes": len(split.rows), "by_class": counts, **states}


def _finding_json(finding: Finding) -> dict[str, Any]:
    check, found = finding
    return {
        "name": check.name,
        "severity": check.severity,
        "title": check.title,
        "count": found.count,
        "listed": len(found.cases),
        "text": found.text,
        "remedy": finding.remedy,
        "cases": [_case_json(case) for case in found.cases],
    }


def _case_json(case: Case) -> dict[str, Any]:
    boxes = [{"class": mark.text, "cxcywh_norm": [round(v, 6) for v in mark.box_cxcywh_norm]} for mark in case.marks]
    content = {"image": case.image, "text": case.text, "other": case.other, "score": case.score, "boxes": boxes}
    return {name: value for name, value in content.items() if value not in (None, "", [])}
