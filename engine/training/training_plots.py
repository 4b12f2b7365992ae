"""Pictures of a training run: labels.jpg, train_batch*.jpg and results.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.boxes import convert_boxes
from data.images import write_image
from engine.drawing.boxes_on_images import TextPainter, class_colour
from engine.drawing.figure_style import COUNTS, PALETTE, readable_fonts
from engine.training.results_csv import ResultsFile
from engine.validation.batch_mosaics import MAX_IMAGES, Marks, draw_mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from data.loading.loader import Batch

MAX_DRAWN_BOXES = 1000
MAX_NAMED_CLASSES = 30
SMOOTHED_FROM = 20  # epochs; shorter runs would be smoothed to a flat line
# results.png: the panels from left to right, losses and precision, then recall, above; below validation and mAP.
RESULT_PANELS = (
    ("train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall"),
    ("val/box_loss", "val/obj_loss", "val/cls_loss", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"),
)


def plot_labels(labels: NDArray[np.floating], names: Mapping[int, str], file: Path) -> None:
    """Draw how many labels each class has, the boxes over one another, and where and how large they are.

    Args:
        labels: (n, 5) rows of class, cx, cy, w, h, normalised.
        names: Class names by number.
        file: The picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    counts = np.bincount(labels[:, 0].astype(int), minlength=len(names))
    colours = [tuple(value / 255 for value in class_colour(i)) for i in range(len(counts))]
    with readable_fonts():
        axes[0, 0].bar(range(len(counts)), counts, width=0.8, color=colours)
        axes[0, 0].set(title="Labels of each class", ylabel="labels", xlabel="class")
        if len(names) <= MAX_NAMED_CLASSES:
            axes[0, 0].set_xticks(range(len(names)), [names[i] for i in sorted(names)], rotation=90, fontsize=10)
        _draw_boxes(axes[0, 1], labels, colours)
        for axis, first, title, (x, y) in (
            (axes[1, 0], 1, "Where the boxes are", ("centre x, share of the width", "centre y, share of the height")),
            (axes[1, 1], 3, "How large they are", ("width, share of the image's", "height, share of the image's")),
        ):
            drawn = axis.hist2d(
                labels[:, first], labels[:, first + 1], bins=50, range=((0, 1), (0, 1)), cmin=1, cmap=COUNTS
            )
            axis.set(title=title, xlabel=x, ylabel=y)
            if len(labels):
                figure.colorbar(drawn[3], ax=axis, label="boxes")
        axes[1, 0].invert_yaxis()  # as in the image, whose y grows downwards
        figure.savefig(file, dpi=120)


def plot_correlogram(labels: NDArray[np.floating], file: Path) -> None:
    """Draw each pair of centre x, centre y, width and height as counts, and each alone on the diagonal.

    Args:
        labels: (n, 5) rows of class, cx, cy, w, h, normalised.
        file: The picture.
    """
    from matplotlib.figure import Figure

    columns = ("centre x", "centre y", "width", "height")
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(4, 4)
    for row, column in np.ndindex(4, 4):
        axis = axes[row, column]
        if column > row:  # the mirror image of the other half
            axis.set_axis_off()
            continue
        if column == row:
            axis.hist(labels[:, 1 + row], bins=50, range=(0, 1), color=PALETTE[0])
            axis.set_ylabel("boxes")
        else:
            pair = labels[:, 1 + column], labels[:, 1 + row]
            axis.hist2d(*pair, bins=50, range=((0, 1), (0, 1)), cmin=1, cmap=COUNTS)
            axis.set(ylim=(0, 1), ylabel=columns[row])
        axis.set(xlim=(0, 1), xlabel=columns[column])
    figure.suptitle("Boxes: shares of the image; bright cells hold more of them")
    figure.savefig(file, dpi=100)


def _draw_boxes(axis: Axes, labels: NDArray[np.floating], colours: Sequence[tuple[float, ...]]) -> None:
    """Boxes with their centres laid on each other; the picture is two images wide, so none is cut."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    shown = labels[:MAX_DRAWN_BOXES]
    boxes = [Rectangle((-w / 2, -h / 2), w, h) for w, h in shown[:, 3:5]]
    edges = [colours[int(c)] for c in shown[:, 0]]
    axis.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=edges, linewidth=0.8))
    title = f"Boxes on one centre, {'all' if len(shown) == len(labels) else f'the first {len(shown)}'}"
    axis.set(xlim=(-0.5, 0.5), ylim=(0.5, -0.5), aspect="equal", title=title, xticks=[], yticks=[])


def plot_train_batch(batch: Batch, names: Mapping[int, str], file: Path) -> None:
    """Draw the first images of a training batch with their labels."""
    images = batch.images[:MAX_IMAGES].permute(0, 2, 3, 1).cpu().numpy()
    height, width = images.shape[1:3]
    targets = batch.targets.cpu().numpy()
    marks = []
    for index in range(len(images)):
        rows = targets[targets[:, 0] == index]
        boxes = convert_boxes(rows[:, 2:], "cxcywh_norm", "xyxy_px", width, height)
        marks.append(Marks(boxes, rows[:, 1], [names.get(int(c), str(int(c))) for c in rows[:, 1]]))
    titles = [Path(path).name for path in batch.paths]
    painter = TextPainter([*names.values(), *titles])
    write_image(file, draw_mosaic(images, marks, titles, painter), jpeg_quality=90)


def plot_results(results: ResultsFile, file: Path) -> None:
    """Draw the columns of results.csv over the epochs, with a smoothed line where there are enough of them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from scipy.ndimage import gaussian_filter1d

    rows = results.rows()
    if not rows:
        return
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(15, 6.5), layout="constrained")
    axes = figure.subplots(2, 5)
    for axis, column in zip(axes.ravel(), [name for panel in RESULT_PANELS for name in panel], strict=True):
        values = np.array([row[column] for row in rows])
        axis.plot(epochs, values, marker=".", linewidth=1.5, markersize=6, color=PALETTE[0], label="each epoch")
        if len(values) >= SMOOTHED_FROM and np.isfinite(values).all():
            smooth = gaussian_filter1d(values, sigma=3)
            axis.plot(epochs, smooth, linewidth=2, color=PALETTE[1], label="smoothed")
        axis.set_title(column, fontsize=12)
        axis.set(xlabel="epoch", ylabel="loss" if column.endswith("loss") else "share, 0 to 1")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    lines = {str(line.get_label()): line for axis in figure.axes for line in axis.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside upper right", ncols=len(lines))
    figure.suptitle("Losses and figures of each epoch, in training (train) and on the validation images (val, metrics)")
    figure.savefig(file, dpi=110)
