"""Plots of an evaluation: PR_curve.png, F1_curve.png, P_curve.png, R_curve.png and confusion_matrix.png."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.drawing.figure_style import MEAN, line_style, readable_fonts
from engine.validation.metrics import CONFIDENCE_AXIS, DetectionMetrics, smooth

_DPI = 150
_MANY = 20  # from here on classes are grey lines without a legend entry
_ANNOTATED = 30  # up to here the cells of the confusion matrix carry numbers


def save_curves(metrics: DetectionMetrics, names: Mapping[int, str], folder: Path) -> list[Path]:
    """Draw precision against recall, and F1, precision and recall against confidence, at IoU 0.5.

    Args:
        metrics: Of the classes that have instances.
        names: Class names by number.
        folder: Where the four PNG files go.

    Returns:
        The files written.
    """
    labels = [names[int(c)] for c in metrics.classes]
    curves, ap50 = metrics.curves, metrics.ap[:, 0]
    files = []
    with readable_fonts():
        scored = [f"{label} {value:.3f}" for label, value in zip(labels, ap50, strict=True)]
        figure, axes = _axes("Precision-recall curve", "Recall", "Precision")
        _lines(axes, curves.precision_at_recall, scored, lambda _: f"all classes {metrics.means()[2]:.3f} mAP@0.5")
        files.append(_save(figure, axes, folder / "PR_curve.png"))
        for name, title, values in (
            ("F1", "F1", curves.f1),
            ("P", "Precision", curves.precision),
            ("R", "Recall", curves.recall),
        ):
            figure, axes = _axes(f"{title}-confidence curve", "Confidence", title)
            _lines(axes, values, labels, _highest)
            files.append(_save(figure, axes, folder / f"{name}_curve.png"))
    return files


def save_confusion_matrix(counts: np.ndarray, names: Mapping[int, str], folder: Path) -> Path:
    """Draw the confusion matrix, every column (true class) divided by its sum.

    Args:
        counts: (classes + 1, classes + 1) [predicted, true], the last one is background.
        names: Class names by number.
        folder: Where confusion_matrix.png goes.

    Returns:
        The file written.
    """
    shares = counts / np.maximum(counts.sum(0, keepdims=True), 1)
    labels = [*(names[i] for i in sorted(names)), "background"]
    with readable_fonts():
        figure = Figure(figsize=(12, 9))
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, label="share of the true class")
        axes.set(xlabel="True class", ylabel="Predicted class", title="Confusion matrix")
        if len(labels) < 100:
            axes.set_xticks(range(len(labels)), labels, rotation=90)
            axes.set_yticks(range(len(labels)), labels)
        if len(labels) <= _ANNOTATED:
            for row, column in np.argwhere(shares >= 0.005):
                share = shares[row, column]
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
        file = folder / "confusion_matrix.png"
        figure.savefig(file, dpi=_DPI, bbox_inches="tight")
    return file


def _highest(mean: np.ndarray) -> str:
    smoothed = smooth(mean, 0.05)
    return f"all classes {smoothed.max():.2f} at {CONFIDENCE_AXIS[smoothed.argmax()]:.3f}"


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, 6))
    axes = figure.add_axes((0.08, 0.1, 0.62, 0.82))
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    return figure, axes


def _lines(axes: Axes, curves: np.ndarray, labels: Sequence[str], mean_label: Callable[[np.ndarray], str]) -> None:
    """One line a class, (c, 1000), and their mean."""
    if not len(curves):
        axes.text(0.5, 0.5, "no labels in this data set", ha="center")
        return
    few = len(labels) <= _MANY
    for number, (curve, label) in enumerate(zip(curves, labels, strict=True)):
        # a leading underscore would hide a label from the legend
        style: dict[str, Any] = (
            {"label": label.lstrip("_") or "_", **line_style(number)} if few else {"color": "grey", "alpha": 0.5}
        )
        axes.plot(CONFIDENCE_AXIS, curve, linewidth=1, **style)
    mean = curves.mean(0)
    axes.plot(CONFIDENCE_AXIS, mean, linewidth=3, color=MEAN, label=mean_label(mean))


def _save(figure: Figure, axes: Axes, file: Path) -> Path:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)
    figure.savefig(file, dpi=_DPI)
    return file
