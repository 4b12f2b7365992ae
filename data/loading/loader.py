"""From a data set to batches: `create_loader`."""

from __future__ import annotations

import multiprocessing.util
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.augmentation.augment import AugmentConfig
from data.augmentation.pixel_transforms import TRANSFORMS, is_available
from data.dataset.dataset_yaml import DatasetSpec, list_images
from data.dataset.label_place import find_labels, no_labels_text
from data.dataset.label_scan import LabelScan, cache_file, scan_labels
from data.hyp import Hyperparameters
from data.loading.quad import quads
from data.loading.sampler import EpochSampler
from data.loading.samples import DetectionDataset, ImageShape, Item
from files.cores import usable_cores

_NAMED = 10  # classes without a label that are named
__all__ = ["Batch", "BatchLoader", "DetectionDataset", "ImageShape", "collate", "create_loader", "rect_batches"]


class Batch(NamedTuple):
    """Samples of one size."""

    images: Tensor  # (B, C, H, W) uint8, see data.images
    targets: Tensor  # (M, 6) float32: image index, class, cx, cy, w, h normalised to the batch image
    paths: tuple[str, ...]
    shapes: tuple[ImageShape, ...]


class BatchLoader(DataLoader[Item]):
    """Iterates over `Batch`es; what it was made of, by its own types."""

    dataset: DetectionDataset
    sampler: EpochSampler
    batch_size: int


def create_loader(
    spec: DatasetSpec,
    split: str = "train",
    *,
    image_px: int,
    batch_size: int,
    stride_px: int = 32,
    hyp: Hyperparameters | Mapping[str, float] | None = None,
    augment: bool = False,
    rect: bool = False,
    pad: float = 0.0,
    cache: str | None = None,
    single_cls: bool = False,
    classes: Sequence[int] | None = None,
    workers: int = 8,
    seed: int = 0,
    shuffle: bool | None = None,
    rank: int = 0,
    world: int = 1,
    pin_memory: bool = False,
    progress: bool = True,
    channels: int = 3,
    quad: bool = False,
) -> BatchLoader:
    """Scan a split and return a loader of its batches.

    `loader.sampler.set_epoch(epoch)` chooses the order and the randomness of the next pass. `loader.dataset` has
    `labels`, `shapes` (width, height), `paths`, `report` and `unreadable`.

    Args:
        spec: Data set.
        split: "train", "val" or "test".
        image_px: Longer side to resize to, a multiple of `stride_px`; side of the square images without `rect`.
        batch_size: Images per batch of this process; the last batch may be smaller.
        stride_px: Largest stride of the model.
        hyp: Ranges and probabilities of `augment`; defaults to `Hyperparameters()`.
        augment: Mosaic, mixup, warp, colour and flips as `hyp` says.
        rect: Sort the images by aspect ratio and give each batch the smallest shape that holds them; no mosaic.
        pad: With `rect`, strides to add to each side of a batch; YOLOv5 validates with 0.5.
        cache: "ram", "disk" or "auto" to decode every image once; see `DetectionDataset.use_cache`.
        single_cls: Give every object class 0.
        classes: Keep only objects of these classes.
        workers: Processes that load; not more than CPU cores, and none for batches of one image.
        seed: Seed of order and augmentation.
        shuffle: Draw a new order every epoch; defaults to doing so with `augment` and without `rect`.
        rank: Number of this process of a distributed run.
        world: Number of processes of a distributed run.
        pin_memory: Copy batches to pinned memory.
        progress: Show progress and print the scan's summary.
        quad: Give quarter batches of images twice as large; see `data.loading.quad`.
        channels: Of the images: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Raises:
        ValueError: If an argument is out of range, the split is missing or none of its images or labels can be used.
    """
    shuffle = (augment and not rect) if shuffle is None else shuffle
    _check_counts(1, image_px=image_px, batch_size=batch_size)
    _check_counts(0, workers=workers, seed=seed)
    _check(image_px, stride_px, rect, pad, cache, shuffle)
    progress = progress and rank == 0
    entries = spec.entries(split)
    images = list_images(entries, root=spec.path)
    scan = scan_labels(images, spec.file_nc, split=split, cache=cache_file(entries, images), progress=progress)
    scan = select_classes(scan, classes, single_cls, spec.file_nc)
    config = _augmentation(hyp, scan, progress) if augment else None
    if augment and not any(len(rows) for rows in scan.labels):
        raise ValueError(f"{spec.file}: {split}: no labels to train on; {_why_no_labels(scan)}")
    if augment and progress and classes is None:
        _tell_unlabelled(scan, spec, split)
    batch_shapes = None
    if rect:
        # The processes' n-th batches together are one process's n-th batch, and of one shape.
        scan, batch_shapes = rect_batches(scan, image_px, batch_size * world, stride_px, pad)
    dataset = DetectionDataset(
        scan,
        image_px=image_px,
        seed=seed,
        augment=config,
        batch_shapes=batch_shapes,
        batch_size=batch_size * world,
        channels=channels,
    )
    if cache:
        dataset.use_cache(cache, copies=world, progress=progress)
    batch_size = min(batch_size, len(dataset))
    even_batches = batch_size if augment or shuffle else None
    sampler = EpochSampler(len(dataset), shuffle=shuffle, seed=seed, rank=rank, world=world, even_batches=even_batches)
    processes = min(workers, usable_cores(), batch_size if batch_size > 1 else 0)
    if processes:
        multiprocessing.util.get_temp_dir()  # made here it goes with this process; each worker's own would stay
    return BatchLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=processes,
        collate_fn=collate_quads if quad else collate,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        persistent_workers=processes > 0,
        generator=torch.Generator().manual_seed(seed),  # leaves the global one alone
    )


def collate(items: Sequence[Item]) -> Batch:
    """Put samples of one size into a batch and number their targets."""
    images = torch.from_numpy(np.stack([item.image for item in items]))
    counts = [len(item.targets) for item in items]
    targets = np.empty((sum(counts), 6), np.float32)
    targets[:, 0] = np.repeat(np.arange(len(items)), counts)
    targets[:, 1:] = np.concatenate([item.targets for item in items])
    paths, shapes = tuple(item.path for item in items), tuple(item.shape for item in items)
    return Batch(images, torch.from_numpy(targets), paths, shapes)


def collate_quads(items: Sequence[Item]) -> Batch:
    """Put samples into a batch of a quarter as many, twice as large."""
    return collate(quads(items))


def rect_batches(
    scan: LabelScan, image_px: int, batch_size: int, stride_px: int, pad: float
) -> tuple[LabelScan, np.ndarray]:
    """Sort images by aspect ratio and find the smallest shape for each batch of them.

    Args:
        scan: Images in any order.
        image_px: Longer side of the images.
        batch_size: Images per batch.
        stride_px: Sides become multiples of this.
        pad: Strides to add before rounding up.

    Returns:
        The sorted images, and (batches, 2) height and width.
    """
    aspect = scan.shapes_wh[:, 1] / scan.shapes_wh[:, 0]  # height / width
    order = np.argsort(aspect)  # as in the original: which of equal ratios opens the next batch changes shapes, so mAP
    aspect = aspect[order]
    sides = []
    for start in range(0, len(order), batch_size):
        low, high = aspect[start], aspect[start : start + batch_size][-1]
        sides.append((high, 1.0) if high < 1 else (1.0, 1 / low) if low > 1 else (1.0, 1.0))
    shapes = np.ceil(np.array(sides) * image_px / stride_px + pad).astype(int) * stride_px
    return take(scan, order.tolist()), shapes


def take(scan: LabelScan, order: Sequence[int]) -> LabelScan:
    """Return some images of a scan in a new order."""
    return LabelScan(
        paths=[scan.paths[index] for index in order],
        labels=[scan.labels[index] for index in order],
        polygons=[scan.polygons[index] for index in order],
        shapes_wh=scan.shapes_wh[list(order)],
        report=scan.report,
    )


def select_classes(scan: LabelScan, classes: Sequence[int] | None, single_cls: bool, class_count: int) -> LabelScan:
    """Keep the objects of some classes and, with `single_cls`, make them one class."""
    for number in classes or ():
        if not 0 <= number < class_count:
            raise ValueError(f"Expected classes from 0 to {class_count - 1} but got {number}")
    labels, polygons = [], []
    for rows, outlines in zip(scan.labels, scan.polygons, strict=True):
        keep = np.isin(rows[:, 0], classes) if classes is not None else np.ones(len(rows), bool)
        rows = rows[keep]
        if single_cls:
            rows[:, 0] = 0
        labels.append(rows)
        polygons.append([outline for outline, kept in zip(outlines, keep, strict=True) if kept])
    return LabelScan(scan.paths, labels, polygons, scan.shapes_wh, scan.report)


def _check_counts(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"Expected `{name}` to be at least {least} but got {value}")


def _check(image_px: int, stride_px: int, rect: bool, pad: float, cache: str | None, shuffle: bool) -> None:
    if image_px % stride_px:
        lower = image_px // stride_px * stride_px
        raise ValueError(
            f"Expected the image size to be a multiple of the stride {stride_px} but got {image_px}; "
            f"try {lower or stride_px} or {lower + stride_px}"
        )
    if cache not in (None, "auto", "ram", "disk"):
        raise ValueError(f"Expected `cache` to be auto, ram or disk but got {cache!r}")
    if rect and shuffle:
        raise ValueError("Expected `shuffle` to be off with `rect`: its batches are sorted by aspect ratio")
    if pad and not rect:
        raise ValueError(f"Expected `pad` to be 0 without `rect` but got {pad}")


def _augmentation(hyp: Hyperparameters | Mapping[str, float] | None, scan: LabelScan, progress: bool) -> AugmentConfig:
    """Return the augmentation settings and say which parts of them cannot have an effect."""
    if hyp is None:
        hyp = Hyperparameters()
    elif not isinstance(hyp, Hyperparameters):
        hyp = Hyperparameters.from_dict(hyp)
    split = scan.report.split
    has_polygons = any(outline is not None for outlines in scan.polygons for outline in outlines)
    if progress and hyp.copy_paste and not has_polygons:
        print(f"{split}: copy_paste {hyp.copy_paste:g} has no effect: no label row is a polygon", flush=True)
    if progress and not is_available():
        print(f"{split}: albumentations is not installed: no {', '.join(TRANSFORMS)}", flush=True)
    return AugmentConfig.from_hyp(hyp)


def _tell_unlabelled(scan: LabelScan, spec: DatasetSpec, split: str) -> None:
    """Name the classes that nothing can be learned of."""
    seen = set(np.concatenate(scan.labels)[:, 0].astype(int).tolist())
    absent = [name for class_id, name in spec.names.items() if class_id not in seen]
    if absent:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        print(
            f"{split}: warning: {len(absent)} of the {spec.nc} classes of `names:` have no label here and are not "
            f"learned: {', '.join(absent[:_NAMED])}{more}",
            flush=True,
        )


def _why_no_labels(scan: LabelScan) -> str:
    if len(scan.report.missing) == len(scan.paths):
        return no_labels_text(scan.paths[0])
    return f"the label files hold none; they are expected as {find_labels(scan.paths).paths[0]}"


def _start_worker(worker: int) -> None:
    """Keep OpenCV from starting threads of its own in every worker, and leave without a word when told to end.

    A signal to the whole group, as systemd sends it, reaches workers too; one that it kills is an error of the loader,
    in the midst of the main process's tidy end.
    """
    cv2.setNumThreads(0)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: os._exit(0))
