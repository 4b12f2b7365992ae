"""A fingerprint of a data set: which images and labels lie behind a YAML, so that a change of them is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from data.dataset.dataset_yaml import DatasetSpec, list_images
from data.dataset.label_place import find_labels


def data_digest(dataset: DatasetSpec, task: str = "val") -> str:
    """Digest of what a run trains, validates and is measured on: names and sizes of the images, content of the labels.

    The same wherever the data set lies and whenever its files were written. Images are not read, only their sizes: an
    image that is replaced by another of the same name and as many bytes is not noticed.

    Args:
        dataset: The data set.
        task: The split of the figures, `val` or `test`.

    Raises:
        ValueError: If a split is missing or empty.
    """
    digest = hashlib.sha256()
    for split in dict.fromkeys(("train", "val", task)):
        for part in _parts(dataset, split):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _parts(dataset: DatasetSpec, split: str) -> Iterator[bytes]:
    """Everything that counts of a split, in an order that does not depend on the machine."""
    yield split.encode()
    images = list_images(dataset.entries(split), root=dataset.path)
    labels = find_labels(images).paths
    named = ((image_name(dataset, image), image, Path(label)) for image, label in zip(images, labels, strict=True))
    for name, image, label in sorted(named):
        size = os.path.getsize(image) if os.path.isfile(image) else -1
        yield f"{name}\0{size}".encode(errors="surrogateescape")
        yield label.read_bytes() if label.is_file() else b"no label"


def image_name(dataset: DatasetSpec, image: str) -> str:
    """An image's path below the data set's folder, the same on every machine; outside of it, its name alone."""
    file = Path(image)
    return file.relative_to(dataset.path).as_posix() if file.is_relative_to(dataset.path) else file.name
