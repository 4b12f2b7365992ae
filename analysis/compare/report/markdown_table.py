"""`table.md`: the comparison in the form in which the field publishes it, and the differences with their verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.compare.execute.run_folder import FINISHED
from analysis.compare.judge.collect import Row
from analysis.compare.judge.verdicts import Configuration, Group
from engine.runtime.console import clock
from engine.validation.prediction_files import COCO_FIGURES

HEADS = {
    **{name: name.replace("_", " ") for name in COCO_FIGURES},
    "parameters": "params (M)",
    "MACs": "MACs (G)",
    "training_seconds": "training",
    "latency_ms": "latency (ms, quartiles)",
}


def cell(one: Configuration, name: str) -> str:
    """A figure of a configuration as text: mean ± standard deviation over the seeds, `-` where it is not known."""
    mean, sd = one.mean[name], one.sd[name]
    if mean is None:
        return "-"
    if name == "parameters":
        return f"{mean / 1e6:.3f}"
    if name == "MACs":
        return f"{mean / 1e9:.3f}"
    if name == "training_seconds":
        return clock(mean)
    if name == "latency_ms":
        low, high = one.mean["latency_low_ms"], one.mean["latency_high_ms"]
        return f"{mean:.1f} ({low:.1f} to {high:.1f})"
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def points(value: float) -> str:
    """A difference of mAP in points (hundredths), with its sign."""
    return f"{100 * value:+.2f}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def markdown(groups: Sequence[Group], rows: Sequence[Row]) -> str:
    """The whole of `table.md`."""
    parts = ["# Comparison\n"]
    if not groups:
        parts.append("No run is finished.\n")
    for group in groups:
        parts += [f"## {group.title}\n", _figures(group), _differences(group)]
    parts.append(_unfinished(rows))
    return "\n".join(part for part in parts if part)


def _figures(group: Group) -> str:
    lines = [_line(["", *HEADS.values()]), "|---" * (len(HEADS) + 1) + "|"]
    lines += [_line([group.name(one), *(cell(one, name) for name in HEADS)]) for one in group.configurations]
    return (
        "COCO's twelve figures, mean ± standard deviation over the seeds; training is the mean of a run, h:mm:ss.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _differences(group: Group) -> str:
    baseline, *others = group.configurations
    if not others:
        return "Nothing to compare: there is one configuration.\n"
    heads = (
        "",
        "mAP50-95",
        "difference (points)",
        "95 % interval",
        "p, corrected (Holm)",
        "verdict",
        "seeds for ½ point",
    )
    lines = [
        _line(heads),
        "|---" * len(heads) + "|",
        _line([group.name(baseline), cell(baseline, "mAP50-95"), *[""] * 5]),
    ]
    for one in others:
        lines.append(_line([group.name(one), cell(one, "mAP50-95"), *difference_cells(one)]))
    return (
        f"mAP50-95 as val.py measures it, against {group.name(baseline)}, paired by seed and by image. The "
        "interval is for one comparison; the verdict allows for all of this report.\n\n" + "\n".join(lines) + "\n"
    )


def difference_cells(one: Configuration) -> list[str]:
    """Difference, interval, corrected p, verdict and seeds needed of a configuration, as text."""
    if one.answer is None:
        return ["", "", "", one.note, ""]
    found = one.answer.comparison
    low, high = found.interval()
    p = one.answer.corrected_p
    shown = f"{p:.3f}" if p >= 0.001 else "< 0.001"
    limits = f"{points(low)} to {points(high)}"
    return [points(found.difference), limits, shown, one.answer.verdict, one.answer.seeds_needed]


def _unfinished(rows: Sequence[Row]) -> str:
    left = [row for row in rows if row.state != FINISHED]
    if not left:
        return ""
    lines = [f"- {row.folder.path.name}: {row.state}{': ' + row.error if row.error else ''}" for row in left]
    return "## Not finished\n\n" + "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"
