"""What a training run is made of, built from its configuration: data, model, anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from data.loading.loader import create_loader
from data.mirrored_names import mirrored_names
from engine.runtime.console import say
from engine.runtime.distributed import ALONE, Processes
from files.cores import usable_cores
from models.autoanchor import check_anchors
from models.cost import gigaflops
from models.weights.checkpoint import read_checkpoint
from models.weights.transfer import transfer
from models.weights.transfer_report import TransferReport
from models.yolo import DetectionModel, build_model

if TYPE_CHECKING:
    from data.dataset.dataset_yaml import DatasetSpec
    from data.hyp import Hyperparameters
    from data.loading.loader import BatchLoader
    from engine.config.train_config import TrainConfig
    from engine.config.train_request import TrainRequest

SMALL_LABEL_PX = 3
VAL_PAD = 0.5  # of a stride around validation images, as in YOLOv5


def create_loaders(
    request: TrainRequest,
    processes: Processes = ALONE,
    **sizes: Any,  # noqa: ANN401  (create_loader's own)
) -> tuple[BatchLoader, BatchLoader]:
    """A process's share of augmented batches of the training split, and of the validation split's; see `val_loader`."""
    config = request.config
    cache = "none" if config.cache == "val" else config.cache
    train = {"hyp": request.hyp, "augment": True, "rect": config.rect, "shuffle": not config.rect}
    loader = _loader(
        config, request.dataset, "train", processes, config.batch_size, cache, quad=config.quad, **train, **sizes
    )
    return loader, val_loader(config, request.dataset, processes, **sizes)


def val_loader(
    config: TrainConfig,
    dataset: DatasetSpec,
    processes: Processes = ALONE,
    split: str = "val",
    **sizes: Any,  # noqa: ANN401  (create_loader's own)
) -> BatchLoader:
    """Rectangular, padded batches of the validation split, or another, twice as large as those for training."""
    cache = "none" if config.noval else "ram" if config.cache == "val" else config.cache
    return _loader(config, dataset, split, processes, config.batch_size * 2, cache, rect=True, pad=VAL_PAD, **sizes)


def _loader(
    config: TrainConfig,
    dataset: DatasetSpec,
    split: str,
    processes: Processes,
    batch_size: int,
    cache: str,
    **options: Any,  # noqa: ANN401  (create_loader's own)
) -> BatchLoader:
    """A process's share of a split. The first scans the labels and fills a disk cache, the others read them there."""
    with processes.in_turns():
        loader = create_loader(
            dataset,
            split,
            batch_size=processes.share_of(batch_size),
            cache="disk" if cache == "disk" else None,
            single_cls=config.single_cls,
            workers=min(config.workers, max(usable_cores() // len(processes.devices), 1)),
            seed=config.seed,
            rank=processes.rank,
            world=processes.world,
            **options,
        )
    if cache in ("auto", "ram"):  # each has its own, and all are filled at once
        loader.dataset.use_cache(cache, copies=len(processes.devices), progress=processes.main)
    return loader


class StartModel(NamedTuple):
    """A model to train, and what became of the weights it started from."""

    model: DetectionModel
    transfer: TransferReport | None


def create_model(request: TrainRequest) -> StartModel:
    """Build the model for the data set's classes and carry the weights over, if there are any.

    With `cfg` its layers and anchors are taken; without, those inside the weights file.

    Raises:
        ValueError: If the model or the weights are wrong, or the anchors can neither be read nor searched.
    """
    config = request.config
    source = read_checkpoint(config.weights) if config.weights else None
    spec = request.spec
    if spec is None:
        assert source is not None  # one of the two is given
        spec = request.complete(source.spec)
    torch.manual_seed(config.seed)
    model, report = build_model(spec), None
    model.set_names(request.dataset.names)
    if source is not None:
        anchors = model.detect.anchors.clone()
        report = transfer(model, source, dict(pair.split("=", 1) for pair in config.class_map))
        say(report.overview)
        if config.cfg or request.hyp.anchors:  # asked for: those of the weights do not replace them
            model.detect.anchors.copy_(anchors)
    else:
        say("Fresh weights: nothing was named with --weights, e.g. --weights yolov5s.pt")
    return StartModel(model, report)


def fit_anchors(model: DetectionModel, loader: BatchLoader, image_px: int, anchor_t: float, seed: int) -> None:
    """Check the anchors against the labels, replace them where others fit better, and say what was done."""
    labels, sizes = loader.dataset.labels, loader.dataset.shapes
    found = check_anchors(model.detect, labels, sizes, image_px=image_px, anchor_t=anchor_t, seed=seed)
    if found.anchors_px is not None:
        cells = torch.from_numpy(found.anchors_px).float() / model.stride.cpu().view(-1, 1, 1)
        model.detect.anchors.copy_(cells)
        levels = found.anchors_px.round(2).reshape(len(found.anchors_px), -1).tolist()
        model.spec = replace(model.spec, anchors=tuple(tuple(level) for level in levels))
    say(found.message)


def summary(model: DetectionModel, image_px: int) -> str:
    """Rows, parameters and arithmetic of a model in one line."""
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    flops = gigaflops(model, image_px)
    cost = f"{flops:.3g} GFLOPs at {image_px} px" if flops else "GFLOPs unknown"
    return f"Model: {len(model.model)} rows, {parameters:,} parameters, {trained:,} trained, {cost}"


def label_statistics(loader: BatchLoader, names: Mapping[int, str], image_px: int) -> str:
    """How many images and labels there are, of which classes, and how many are too small to see."""
    labels, sizes = loader.dataset.labels, np.asarray(loader.dataset.shapes, dtype=float)
    rows = np.concatenate(labels) if len(labels) else np.zeros((0, 5))
    counts = np.bincount(rows[:, 0].astype(int), minlength=len(names))
    empty = sum(not len(label) for label in labels)
    classes = ", ".join(f"{names[i]} {count}" for i, count in enumerate(counts.tolist()))
    per_px = image_px / sizes.max(1) if len(sizes) else np.zeros(0)
    small = sum(
        int((label[:, 3:5] * size * scale < SMALL_LABEL_PX).any(1).sum())
        for label, size, scale in zip(labels, sizes, per_px, strict=True)
    )
    text = f"Labels: {len(rows)} in {len(labels)} images, {empty} without labels ({classes})"
    return f"{text}; {small} below {SMALL_LABEL_PX} px at {image_px} px" if small else text


def tell_of_mirrored_classes(hyp: Hyperparameters, names: Mapping[int, str]) -> None:
    """Warn of classes that say left or right where images are mirrored."""
    mirrored = mirrored_names(names.values())
    if hyp.fliplr > 0 and mirrored:
        say(
            f"Warning: fliplr {hyp.fliplr:g} shows {', '.join(mirrored)} mirrored under the same name; "
            "--hyp hyp.no-mirror.yaml leaves mirroring out"
        )
