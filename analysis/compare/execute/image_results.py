"""What one model made of every validation image, kept so that images can be drawn again without the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ImageResults:
    """What one model made of every validation image.

    Attributes:
        names: Class names by number.
        images: Image names below the data set's folder, in the order of the loader.
        truth: (I, C) labels of each class in each image.
        image: (N,) image of each detection.
        score: (N,) confidences.
        class_id: (N,) classes.
        correct: (N, T) which detections are correct at each IoU threshold, 0.5 to 0.95.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]
    truth: np.ndarray
    image: np.ndarray
    score: np.ndarray
    class_id: np.ndarray
    correct: np.ndarray

    def save(self, file: Path) -> None:
        """Write as a compressed npz of plain arrays."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}
        with file.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, file: Path) -> ImageResults:
        """Read what `save` wrote, without pickle.

        Raises:
            ValueError: If the file is missing or holds something else.
        """
        try:
            with np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in cls.__dataclass_fields__}
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{file}: is not the per-image data of a run: {error}") from error
        texts = {name: tuple(str(v) for v in arrays.pop(name)) for name in ("names", "images")}
        return cls(**texts, **arrays)

    def same_images(self, other: ImageResults) -> bool:
        """Whether both were measured on the same images with the same labels."""
        return self.images == other.images and np.array_equal(self.truth, other.truth)
