"""k-fold cross-validation (`--folds 5 --fold 0`): which images are validated, decided by seed, spread by class.

Rare classes are dealt out first, each to the folds that have fewest of it, as Sechidis et al. 2011 ("On the
stratification of multi-label data") do for examples with several labels. Images are dealt one by one: frames of one
video are not kept together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from data.dataset.dataset_yaml import DatasetSpec, list_images
from data.dataset.label_scan import cache_file, scan_labels
from engine.runtime.console import say

FOLD_DATA = "data.yaml"


def write_fold(dataset: DatasetSpec, folds: int, fold: int, seed: int, folder: Path) -> Path:
    """Split the training and validation images of a data set anew, and describe the split in a folder.

    Args:
        dataset: All images of its train and val entries are dealt out.
        folds: Number of parts.
        fold: The part that is validated, from 0; all others are trained on.
        seed: Of the dealing: folds of one seed do not overlap.
        folder: Gets train.txt, val.txt and data.yaml.

    Returns:
        The data set YAML of the split.

    Raises:
        ValueError: If there are fewer usable images than folds.
    """
    entries = [entry for split in ("train", "val") if getattr(dataset, split) for entry in dataset.entries(split)]
    images = list_images(entries, root=dataset.path)
    scan = scan_labels(images, dataset.file_nc, split="all folds", cache=cache_file(entries, images))
    if len(scan.paths) < folds:
        raise ValueError(f"--folds {folds}: {dataset.file} has {len(scan.paths)} usable images; expected one a fold")
    number = deal(scan.labels, dataset.file_nc, folds, seed)
    for split, chosen in (("train", number != fold), ("val", number == fold)):
        rows = [path for path, wanted in zip(scan.paths, chosen.tolist(), strict=True) if wanted]
        (folder / f"{split}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    content = {"path": str(folder.resolve()), "train": "train.txt", "val": "val.txt", "names": dataset.file_names}
    if dataset.test:
        content["test"] = [str(entry) for entry in dataset.test]
    if dataset.hyp:
        content["hyp"] = dataset.hyp
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    file = folder / FOLD_DATA
    file.write_text(text, encoding="utf-8")
    counts = f"{(number != fold).sum()} images to train on, {(number == fold).sum()} to validate"
    say(f"Fold {fold} of {folds}, seed {seed}: {counts}; python val.py --data {file} measures on the same images")
    return file


def deal(labels: Sequence[np.ndarray], classes: int, folds: int, seed: int) -> np.ndarray:
    """Give every image a fold: sizes differ by one at most, and each class is spread as evenly as that allows.

    Args:
        labels: Rows [class, ...] of each image.
        classes: Number of classes.
        folds: Number of folds, at most as many as images.
        seed: Of the order in which images of equal content are dealt.

    Returns:
        (images,) fold numbers.
    """
    holds = np.zeros((len(labels), classes), bool)
    for image, rows in enumerate(labels):
        holds[image, rows[:, 0].astype(int)] = True
    order = np.random.default_rng(seed).permutation(len(labels))
    rarity = np.argsort(holds.sum(0), kind="stable")
    # An image is dealt for the rarest class that it holds; those without objects come last.
    rarest = np.where(holds[:, rarity].any(1), holds[:, rarity].argmax(1), classes)
    number = np.full(len(labels), -1)
    room = np.full(folds, len(labels) // folds) + (np.arange(folds) < len(labels) % folds)
    have = np.zeros((folds, classes), int)
    for image in order[np.argsort(rarest[order], kind="stable")].tolist():
        same = have[:, rarity[rarest[image]]] if rarest[image] < classes else np.zeros(folds, int)
        choice = min(np.flatnonzero(room).tolist(), key=lambda fold: (same[fold], -room[fold], fold))
        number[image] = choice
        room[choice] -= 1
        have[choice] += holds[image]
    return number
