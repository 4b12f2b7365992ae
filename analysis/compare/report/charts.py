"""The pictures of a comparison, drawn for light and for dark pages, narrow enough for a phone."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.compare.judge.statistics import Comparison
from analysis.compare.judge.verdicts import SIZES, Configuration, Group
from engine.drawing.figure_style import line_style, mark_style, readable_fonts
from engine.training.results_csv import ResultsFile

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 6.0
_SHOWN_CLASSES = 30


class Ink(NamedTuple):
    """Colours of a page."""

    paper: str
    text: str
    faint: str
    better: str
    worse: str
    unclear: str


LIGHT = Ink("#ffffff", "#1c1c1c", "#c9c9c9", "#0072b2", "#c04a00", "#6b6b6b")
DARK = Ink("#16181c", "#e8e8e8", "#4a4d52", "#56b4e9", "#ff8f4a", "#a0a0a0")


class Plot(NamedTuple):
    """A picture of the report.

    Attributes:
        name: File name without suffix.
        title: What it shows.
        draw: Fills a figure in the colours of a page.
    """

    name: str
    title: str
    draw: Callable[[Figure, Group, Ink], None]


def available(group: Group) -> list[Plot]:
    """The pictures that a group has data for."""
    others = [one for one in group.configurations if one.answer is not None]
    plots = [Plot("curves", "mAP50-95 over the epochs: mean and range of the seeds", _curves)]
    if len(group.configurations) > 1:
        title = "What it costs; ringed and joined is the front: those that none beats in both"
        plots.insert(0, Plot("tradeoff", title, _tradeoff))
    if others:
        title = "Difference of mAP50-95 to the baseline in points, with its 95 % interval"
        plots.insert(0, Plot("differences", title, _differences))
        plots.append(Plot("classes", "Difference of AP in points, class by class, with 95 % intervals", _classes))
        if any(one.answer.per_size for one in others if one.answer):
            plots.append(
                Plot("sizes", "Difference of COCO's AP by object size in points, 95 % intervals over the seeds", _sizes)
            )
    return plots


def render(plot: Plot, group: Group, ink: Ink, kind: str) -> bytes:
    """Draw a picture as `svg` or `png`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    text = {name: ink.text for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    papers = {"figure.facecolor": ink.paper, "axes.facecolor": ink.paper, "axes.edgecolor": ink.faint}
    look: Any = {**text, **papers, "font.size": 11, "svg.hashsalt": plot.name, "legend.frameon": False}
    # The same figures give the same file: no date, fixed names of clip paths.
    with mpl.rc_context(look), readable_fonts():
        figure = Figure(figsize=(_WIDTH_IN, 4), layout="constrained")
        plot.draw(figure, group, ink)
        for axis in figure.axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="both", color=ink.faint, linewidth=0.5, alpha=0.5)
            axis.set_axisbelow(True)
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return stream.getvalue()


def _differences(figure: Figure, group: Group, ink: Ink) -> None:
    others = [(one, one.answer) for one in group.configurations if one.answer is not None]
    others.sort(key=lambda pair: pair[1].comparison.difference)
    figure.set_size_inches(_WIDTH_IN, 1.3 + 0.42 * len(others))
    axis = figure.subplots()
    colour = {"better": ink.better, "worse": ink.worse}
    for y, (_, answer) in enumerate(others):
        _interval(axis, y, answer.comparison, colour.get(answer.verdict, ink.unclear))
    axis.set_yticks(range(len(others)), [_short(group, one) for one, _ in others])
    axis.set_ylim(-0.6, len(others) - 0.4)
    axis.axvline(0, color=ink.text, linewidth=1)
    axis.set_xlabel(f"points of mAP50-95 against {group.name(group.configurations[0])}")


def _interval(axis: Axes, y: float, comparison: Comparison, color: str, marker: str = "o") -> None:
    low, high = (100 * limit for limit in comparison.interval())
    if math.isfinite(low):
        axis.plot((low, high), (y, y), color=color, linewidth=2.5, solid_capstyle="butt")
    axis.plot(100 * comparison.difference, y, marker, color=color, markersize=7)


def _tradeoff(figure: Figure, group: Group, ink: Ink) -> None:
    figure.set_size_inches(_WIDTH_IN, 7.5)
    latency = ("latency_ms", 1.0, "latency of one image, ms: median and quartiles")
    prices = (latency, ("parameters", 1e6, "parameters, millions"))
    for axis, (name, unit, label) in zip(figure.subplots(2, 1), prices, strict=True):
        known = [(one, one.mean[name], one.mean["mAP50-95"]) for one in group.configurations]
        known = [(one, price / unit, ap) for one, price, ap in known if price is not None and ap is not None]
        spots = [(price, ap) for _, price, ap in known]
        for number, (one, x, y) in enumerate(known):
            bars: Any = {"yerr": one.sd["mAP50-95"], "xerr": _quartiles(one) if name == "latency_ms" else None}
            axis.errorbar(x, y, **bars, **_points(number, ink), linestyle="", capsize=3, label=_short(group, one))
        front = pareto_front(spots)
        ring = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "linewidth": 1, "zorder": 0}
        axis.plot([spots[i][0] for i in front], [spots[i][1] for i in front], color=ink.unclear, **ring)
        axis.set(xlabel=label, ylabel="mAP50-95 (± sd of the seeds)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if not handles:
        handles, labels = figure.axes[1].get_legend_handles_labels()
    _legend(figure, handles, labels)


def pareto_front(spots: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the (price, gain) pairs that no other beats in one without losing in the other, by price."""
    front: list[int] = []
    for i in sorted(range(len(spots)), key=lambda i: (spots[i][0], -spots[i][1])):
        if not front or spots[i][1] > spots[front[-1]][1]:
            front.append(i)
    return front


def _curves(figure: Figure, group: Group, ink: Ink) -> None:
    figure.set_size_inches(_WIDTH_IN, 4.2 + 0.12 * len(group.configurations))
    axis = figure.subplots()
    for number, one in enumerate(group.configurations):
        runs = [ResultsFile(row.folder.path / "results.csv").rows() for row in one.rows]
        epochs = min(map(len, runs))  # early stopping may end them at different epochs
        if not epochs:
            continue
        values = np.array([[line["metrics/mAP_0.5:0.95"] for line in rows[:epochs]] for rows in runs])
        x = np.arange(epochs)
        style: dict[str, Any] = line_style(number - 1) if number else {"color": ink.text, "linestyle": "-"}
        axis.plot(x, values.mean(0), **style, label=_short(group, one), marker="." if epochs < 20 else None)
        axis.fill_between(x, values.min(0), values.max(0), color=style["color"], alpha=0.15, linewidth=0)
    axis.set(xlabel="epoch, from 0 as in train.py's log", ylabel="mAP50-95")
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    _legend(figure, *figure.axes[0].get_legend_handles_labels())


def _classes(figure: Figure, group: Group, ink: Ink) -> None:
    others = [(one, one.answer.per_class) for one in group.configurations if one.answer is not None]
    names = list(dict.fromkeys(name for _, per_class in others for name in per_class))[:_SHOWN_CLASSES]
    figure.set_size_inches(_WIDTH_IN, 1.6 + (0.3 + 0.14 * len(others)) * len(names) + 0.12 * len(others))
    axis = figure.subplots()
    for number, (one, per_class) in enumerate(others):
        look, shift = _points(number + 1, ink), 0.7 * ((number + 0.5) / len(others) - 0.5)
        for y, name in enumerate(names):
            if name in per_class:
                _interval(axis, y + shift, per_class[name], **look)
        axis.plot([], [], **look, label=_short(group, one))
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.axvline(0, color=ink.text, linewidth=1)
    axis.set_xlabel("points of AP50-95")
    _legend(figure, *figure.axes[0].get_legend_handles_labels())


def _sizes(figure: Figure, group: Group, ink: Ink) -> None:
    others = [(one, one.answer.per_size) for one in group.configurations if one.answer is not None]
    figure.set_size_inches(_WIDTH_IN, 1.6 + (0.3 + 0.14 * len(others)) * len(SIZES) + 0.12 * len(others))
    axis = figure.subplots()
    for number, (one, per_size) in enumerate(others):
        look, shift = _points(number + 1, ink), 0.7 * ((number + 0.5) / len(others) - 0.5)
        for y, name in enumerate(SIZES):
            if name in per_size:
                _interval(axis, y + shift, per_size[name], **look)
        axis.plot([], [], **look, label=_short(group, one))
    axis.set_yticks(range(len(SIZES)), ["small, < 32² px", "medium", "large, > 96² px"])
    axis.invert_yaxis()
    axis.axvline(0, color=ink.text, linewidth=1)
    axis.set_xlabel("points of AP")
    _legend(figure, *figure.axes[0].get_legend_handles_labels())


def _points(number: int, ink: Ink) -> dict[str, Any]:
    """The look of a configuration's points; the first is the baseline."""
    return mark_style(number - 1) if number else {"color": ink.text, "marker": "o"}


def _legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Below everything, in as many columns as the names leave room for."""
    widest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    short = widest <= 16
    figure.legend(handles, labels, loc="outside lower left", ncols=3 if short else 2, fontsize=11 if short else 9)


def _quartiles(one: Configuration) -> list[list[float]]:
    """How far below and above its median a configuration's latency reaches."""
    low, middle, high = (one.mean[name] or 0.0 for name in ("latency_low_ms", "latency_ms", "latency_high_ms"))
    return [[middle - low], [high - middle]]


def _short(group: Group, one: Configuration) -> str:
    """The name, broken before a long placement."""
    label = group.name(one)
    return label if len(label) <= 24 else label.replace(" @ ", "\n@ ", 1)
