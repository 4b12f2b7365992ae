"""The kinds of mistakes of an evaluation as a table, as plain numbers and as `errors.png`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.drawing.figure_style import PALETTE, readable_fonts
from engine.validation.error_types import BACKGROUND, COSTS, FOREGROUND, KINDS, Costs, error_costs, judge_image
from files.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from engine.validation.error_types import ErrorCosts, JudgedImage
    from engine.validation.observer import EvaluatedBatch

SHORT = dict(zip(COSTS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FP", "FN"), strict=True))  # TIDE's names
_ROW = "%22s%11i" + "%9.3f" * (1 + len(COSTS))
_SHOWN = 40  # rows of the picture
SIZE_TEXTS = {"small": "small, < 32² px", "medium": "medium", "large": "large, > 96² px"}


class ErrorRecorder:
    """An observer of an evaluation that judges its mistakes.

    Args:
        names: Class names by number.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self._images: list[JudgedImage] = []

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Judge the images of a batch."""
        self._images += map(judge_image, batch.native, batch.native_labels)

    def costs(self) -> ErrorCosts:
        """What the mistakes cost."""
        return error_costs(self._images, len(self.names))


def error_table(costs: ErrorCosts, names: Mapping[int, str], *, per_class: bool = True) -> str:
    """A row for all classes, one for each object size and, if wanted, one for each class."""
    rows = _rows(costs, names, per_class=per_class and len(names) > 1)
    header = ("%22s%11s" + "%9s" * (1 + len(COSTS))) % ("Class", "Instances", "AP50", *SHORT.values())
    lines = [_ROW % (printable(name), one.instances, one.ap50, *one.gain.values()) for name, one in rows]
    return "\n".join([
        f"What each kind of mistake costs: how much AP at IoU {FOREGROUND:g} would rise without it (TIDE)",
        header,
        *lines,
        "Cls: wrong class; Loc: box too far off; Both; Dupe: object found already; Bkg: nothing there; Miss: not found "
        "at all; FP, FN: all false and all missed ones. They overlap and do not add up.",
    ])  # fmt: skip


def errors_dict(costs: ErrorCosts, names: Mapping[int, str]) -> dict[str, Any]:
    """Plain numbers and text, for JSON; AP and what it would rise by from 0 to 1."""

    def plain(one: Costs) -> dict[str, Any]:
        return {"instances": one.instances, "ap50": one.ap50, "dap": one.gain, "count": one.count}

    return {
        "iou_foreground": FOREGROUND,
        "iou_background": BACKGROUND,
        **plain(costs.all),
        "per_size": {size: plain(one) for size, one in costs.per_size.items()},
        "per_class": [{"class_id": c, "name": names[c], **plain(one)} for c, one in costs.per_class.items()],
    }


def save_error_plot(costs: ErrorCosts, names: Mapping[int, str], file: Path) -> None:
    """Draw what each kind costs: bars for all classes, and a map of object sizes and classes."""
    from matplotlib.figure import Figure

    rows = _rows(costs, names)[:_SHOWN]
    with readable_fonts():
        figure = Figure(figsize=(10, 5.2 + 0.34 * len(rows)), layout="constrained")
        bars, map_ = figure.subplots(2, 1, height_ratios=(3.6, 1 + 0.34 * len(rows)))
        _draw_bars(bars, costs.all)
        left_out = len(costs.per_class) + len(costs.per_size) + 1 - len(rows)
        more = f" (the first {len(rows)}, {left_out} more in results.json)" if left_out > 0 else ""
        _draw_map(map_, rows, f"The same by object size and class{more}, points of AP50")
        figure.savefig(file, dpi=100)


def _rows(costs: ErrorCosts, names: Mapping[int, str], *, per_class: bool = True) -> list[tuple[str, Costs]]:
    rows = [("all", costs.all), *((SIZE_TEXTS[size], one) for size, one in costs.per_size.items())]
    return rows + [(names[c], one) for c, one in costs.per_class.items() if per_class]


def _draw_bars(axes: Axes, costs: Costs) -> None:
    values = [100 * costs.gain[name] for name in COSTS]
    texts = [name.replace("_", " ") for name in COSTS]
    colours = [PALETTE[0]] * len(KINDS) + ["#7a7a7a"] * 2
    bars = axes.barh(range(len(COSTS)), values, color=colours)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3)
    axes.set_yticks(range(len(COSTS)), texts)
    axes.invert_yaxis()
    axes.set_xlim(0, max(*values, 1) * 1.1)
    axes.set(
        xlabel="points of AP50 gained if this kind alone is mended (grey: every false detection; every label not found)"
    )
    axes.set_title(f"What each kind of mistake costs: AP50 is {100 * costs.ap50:.1f} points")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_map(axes: Axes, rows: list[tuple[str, Costs]], title: str) -> None:
    points = 100 * np.array([[one.gain[name] for name in COSTS] for _, one in rows])
    top = max(points.max(), 1.0)
    axes.imshow(points, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(points):
        colour = "white" if value > 0.6 * top else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(COSTS)), [name.replace("_", "\n") for name in COSTS])
    axes.set_yticks(range(len(rows)), [f"{name[:40]} ({one.instances})" for name, one in rows])
    axes.set(title=title, ylabel="objects (how many)", xlabel="kind of mistake")
