"""Rare classes: images drawn by the classes they hold (`--image-weights`), and the class loss weighted by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np

if TYPE_CHECKING:
    from data.loading.loader import BatchLoader
    from engine.training.best_epoch import Best
    from engine.training.lightning_module import DetectionModule
    from engine.validation.result_table import EvalResult


class WeightImages(pl.Callback):
    """Before every epoch, weighs the images by what the last validation says of their classes.

    The weights follow from the labels and `best.class_ap`, which is in every checkpoint, so a resumed run draws the
    images that an uninterrupted one draws. Stands behind the callback that validates.

    Args:
        loader: Of the training split.
        classes: Number of classes.
        best: Knows the average precision of each class.
    """

    def __init__(self, loader: BatchLoader, classes: int, best: Best) -> None:
        self.sampler, self.labels, self.classes, self.best = loader.sampler, loader.dataset.labels, classes, best
        self.weigh()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Weigh for the next epoch."""
        self.weigh()

    def weigh(self) -> None:
        """Hand the weights to the sampler."""
        self.sampler.weights = image_weights(self.labels, self.classes, self.best.class_ap)


def image_weights(labels: Sequence[np.ndarray], classes: int, class_ap: Sequence[float]) -> np.ndarray:
    """How often each image is drawn, as YOLOv5 has it.

    An object weighs (1 - AP of its class)² / labels of its class, an image the sum of its objects; images without
    objects are not drawn, and come only as parts of mosaics.

    Args:
        labels: Rows [class, ...] of each image.
        classes: Number of classes.
        class_ap: mAP 0.5:0.95 of each class so far; empty before the first validation.

    Returns:
        (images,) probabilities, adding up to 1.
    """
    counts = np.stack([np.bincount(rows[:, 0].astype(int), minlength=classes) for rows in labels])
    per_object = 1 / np.maximum(counts.sum(0), 1)
    missing = (1 - np.asarray(class_ap if len(class_ap) else np.zeros(classes))) ** 2
    weights = counts @ (per_object * missing)
    if not weights.sum():  # nothing left to learn
        weights = counts @ per_object
    return weights / weights.sum()


def average_precisions(result: EvalResult) -> list[float]:
    """The mAP 0.5:0.95 of every class; of a class that the validation split lacks, the mean of the others."""
    measured = {row.class_id: row.map50_95 for row in result.per_class}
    return [measured.get(number, result.map50_95) for number in sorted(result.names)]


def class_weights(labels: Sequence[np.ndarray], classes: int, power: float) -> np.ndarray:
    """What an object of each class weighs in the class loss: (1 / labels of the class) ** power.

    Args:
        labels: Rows [class, ...] of each image.
        classes: Number of classes.
        power: 0 for equal weights, 1 for classes that weigh the same in total.

    Returns:
        (classes,) weights whose mean over the labels is 1, so that the loss keeps its size.

    Raises:
        ValueError: If there is one class only.
    """
    if classes == 1:
        raise ValueError("--class-weights: the data set has one class, so there is no class loss to weigh")
    counts = np.bincount(np.concatenate(labels)[:, 0].astype(int), minlength=classes)
    weights = np.maximum(counts, 1) ** -float(power)
    return weights * counts.sum() / (weights * counts).sum()
