"""Run a detector over a loader and measure it as YOLOv5's val.py does.

Used by val.py and, every epoch, by the trainer. Labels and detections are compared in the pixels of the original
images. The network runs in the precision asked for; boxes are always decoded in float32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.boxes import convert_boxes
from engine.inference.network import Network, PlainNetwork
from engine.runtime.device import seconds_when_done
from engine.validation.observer import EvaluatedBatch, Observer, to_original
from engine.validation.result_table import HEADER, ClassResult, EvalResult, Speeds
from engine.validation.tally import Tally

if TYPE_CHECKING:
    from data.loading.loader import Batch
    from engine.validation.worst_images_page import Explain


class _Clock:
    """Adds up the seconds of each stage; waits for the device at every reading."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(Speeds._fields, 0.0)
        self.last = 0.0

    def start(self) -> None:
        self.last = seconds_when_done(self.device)

    def stop(self, stage: str) -> None:
        now = seconds_when_done(self.device)
        self.seconds[stage] += now - self.last
        self.last = now

    def per_image(self, images: int) -> Speeds:
        return Speeds(*(1000 * self.seconds[stage] / max(images, 1) for stage in Speeds._fields))


def evaluate(
    network: Network,
    loader: Iterable[Batch],
    *,
    names: Mapping[int, str],
    conf_thres: float = 0.001,
    iou_thres: float = 0.6,
    max_det: int = 300,
    single_cls: bool = False,
    hybrid: bool = False,
    save_dir: Path | None = None,
    plots: bool = False,
    loss: Callable[[list[Tensor], Tensor], Any] | None = None,
    observers: Iterable[Observer] = (),
    progress: bool = True,
    gather: Callable[[Any], list[Any]] | None = None,
    explain: Explain | None = None,
) -> EvalResult:
    """Measure a detector on a data set.

    Args:
        network: The detector, with its device, its precision and its augmentation.
        loader: Batches of letterboxed images.
        names: Class names by number, those of the data set.
        conf_thres: Confidence threshold; above 0.001 it cuts off the recall curve and lowers the figures.
        iou_thres: IoU threshold of the suppression.
        max_det: Detections kept per image at most.
        single_cls: Count every detection as class 0 and suppress across classes.
        hybrid: Add the labels to the predictions; the figures then say nothing about the model.
        save_dir: Folder for the plots.
        plots: Write curves, confusion matrix and mosaics of the first three batches to `save_dir`.
        loss: Gets the raw maps (float32) of a `PlainNetwork` and the targets of a batch, returns an object with `box`,
            `obj` and `cls`.
        observers: Called with every batch after it is evaluated.
        progress: Show a progress bar if stderr is a terminal.
        gather: Given where several processes have taken the images in turn: brings together what each hands in. The
            result is that of all images, but the speeds are this process's.
        explain: For the plots: writes what the model looked at in one of the worst images.

    Raises:
        ValueError: If the model's classes are not as many as `names`, plots are wanted without a folder, or a loss
            of a network that gives no raw maps.
    """
    if network.nc != len(names) and not single_cls:
        wanted = f"Expected a model of {len(names)} classes, those of the data set,"
        raise ValueError(f"{wanted} but got {network.nc} classes")
    if loss is not None and type(network) is not PlainNetwork:
        raise ValueError("Expected a `PlainNetwork` where the loss is wanted: it needs the raw maps")
    observers = [*observers, *_plotters(save_dir, names, plots, explain)]
    clock, tally, losses = _Clock(network.device), Tally(len(names)), []
    suppression = {"conf_thres": conf_thres, "iou_thres": iou_thres, "max_det": max_det, "agnostic": single_cls}
    detector = _Detector(network, loss, hybrid, suppression, clock)
    for batch in _with_bar(loader, progress):
        detections, parts = detector.detect(batch)
        losses += parts
        _count(tally, batch, detections, single_cls, observers)
    speeds = clock.per_image(tally.images)
    if gather is not None:
        tallies, shares = zip(*gather((tally, [part.cpu() for part in losses])), strict=True)
        tally, losses = Tally.together(tallies), [part for share in shares for part in share]
    result = _result(tally, names, speeds, losses)
    if plots and save_dir is not None:
        _save_plots(result, save_dir)
        for observer in observers:
            if hasattr(observer, "close"):
                observer.close()
    return result


@dataclass(frozen=True)
class _Detector:
    """From a batch to detections, with the clock running."""

    network: Network
    loss: Callable[[list[Tensor], Tensor], Any] | None
    hybrid: bool
    suppression: Mapping[str, Any]
    clock: _Clock

    @torch.no_grad()
    def detect(self, batch: Batch) -> tuple[list[np.ndarray], list[Tensor]]:
        """Detections (n, 6) of each image in letterboxed pixels, and the loss parts (3,) if wanted."""
        self.clock.start()
        device = self.network.device
        images = batch.images.to(device, non_blocking=True)
        images = images.contiguous(memory_format=self.network.memory_format).float() / 255
        self.clock.stop("preprocess")
        raw: list[Tensor] = []
        if self.loss is not None and isinstance(self.network, PlainNetwork):
            raw = self.network.raw(images)
            predictions = self.network.decode(raw)
        else:
            predictions = self.network(images)
        self.clock.stop("inference")
        parts = []
        if self.loss is not None:
            values = self.loss(raw, batch.targets.to(device))
            parts = [torch.stack([part.detach().float().reshape(()) for part in (values.box, values.obj, values.cls)])]
            self.clock.start()
        labels = [torch.from_numpy(rows) for rows in _labels_px(batch, "cxcywh_px")] if self.hybrid else None
        found = self.network.select(predictions, multi_label=True, labels=labels, **self.suppression)
        ends = np.cumsum([len(rows) for rows in found])[:-1]
        found = np.split(torch.cat(found).cpu().numpy(), ends)
        self.clock.stop("nms")
        return found, parts


def _labels_px(batch: Batch, target: str) -> list[np.ndarray]:
    """Labels of each image, (m, 5): class and box in pixels of the letterboxed image, in the format `target`."""
    height, width = batch.images.shape[2:]
    targets = batch.targets.cpu().numpy()
    rows = np.concatenate((targets[:, 1:2], convert_boxes(targets[:, 2:], "cxcywh_norm", target, width, height)), 1)
    return [rows[targets[:, 0] == i] for i in range(len(batch.images))]


def _count(
    tally: Tally, batch: Batch, detections: list[np.ndarray], single_cls: bool, observers: list[Observer]
) -> None:
    """Compare the detections of a batch with its labels in the pixels of the original images."""
    native = []
    for found, shape in zip(detections, batch.shapes, strict=True):
        if single_cls:
            found[:, 5] = 0
        native.append(np.concatenate((to_original(found[:, :4], shape), found[:, 4:]), 1))
    labels = _labels_px(batch, "xyxy_px")
    seen = EvaluatedBatch(batch.images, labels, detections, native, batch.paths, batch.shapes)
    for found, known in zip(native, seen.native_labels, strict=True):
        tally.add(found, known)
    for observer in observers:
        observer(seen)


def _result(tally: Tally, names: Mapping[int, str], speeds: Speeds, losses: list[Tensor]) -> EvalResult:
    metrics = tally.metrics()
    columns = (metrics.classes, metrics.instances, metrics.precision, metrics.recall, metrics.ap[:, 0])
    rows = zip(*(column.tolist() for column in (*columns, metrics.ap.mean(1))), strict=True)
    loss = torch.stack(losses).mean(0).tolist() if losses else None
    return EvalResult(
        *metrics.means(),
        per_class=tuple(ClassResult(class_id, names[class_id], *values) for class_id, *values in rows),
        images=tally.images,
        instances=int(metrics.instances.sum()),
        speeds_ms=speeds,
        loss=None if loss is None else tuple(loss),
        metrics=metrics,
        confusion=tally.confusion,
        names=dict(names),
    )


def _with_bar(loader: Iterable[Batch], progress: bool) -> Iterable[Batch]:
    """The loader behind a progress bar with the table's header, on terminals only."""
    hidden = not (progress and sys.stderr.isatty())
    return tqdm(loader, desc=HEADER, bar_format="{l_bar}{bar:10}{r_bar}", leave=False, disable=hidden)


def _plotters(save_dir: Path | None, names: Mapping[int, str], plots: bool, explain: Explain | None) -> list[Observer]:
    """Drawing libraries are imported only when something is drawn."""
    if not plots:
        return []
    if save_dir is None:
        raise ValueError("Expected `save_dir` for the plots but got None")
    from engine.validation.batch_mosaics import MosaicWriter
    from engine.validation.worst_images_page import WorstImages

    return [MosaicWriter(save_dir, names), WorstImages(save_dir / "worst.html", names, explain)]


def _save_plots(result: EvalResult, save_dir: Path) -> None:
    from engine.validation.curve_plots import save_confusion_matrix, save_curves

    save_curves(result.metrics, result.names, save_dir)
    save_confusion_matrix(result.confusion, result.names, save_dir)
