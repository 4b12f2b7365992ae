"""The four pixel transforms of albumentations that YOLOv5 applies, each to one image in a hundred.

This is the only file that imports albumentations. Which transforms are active is drawn here, so that 96 % of the images
never reach the package; the active ones are seeded from the same generator. Pixel transforms leave boxes alone. Images
are handed over as RGB, the order the package expects (YOLOv5 hands over BGR, which shifts the weights of ToGray).
"""

from __future__ import annotations

import importlib.util
import os

import numpy as np

PROBABILITY = 0.01
TRANSFORMS = ("Blur", "MedianBlur", "ToGray", "CLAHE")  # with the package's default strengths


def is_available() -> bool:
    """Tell whether albumentations is installed, without importing it."""
    return importlib.util.find_spec("albumentations") is not None


def draw_active(rng: np.random.Generator) -> list[str]:
    """Draw which transforms an image gets, in the order in which they are applied."""
    return [name for name, drawn in zip(TRANSFORMS, rng.random(len(TRANSFORMS)), strict=True) if drawn < PROBABILITY]


def apply_pixel_transforms(rng: np.random.Generator, names: list[str], image: np.ndarray) -> np.ndarray:
    """Apply transforms to an image.

    Args:
        rng: Seeds the strengths.
        names: From `TRANSFORMS`.
        image: (H, W, 3) uint8 RGB.

    Returns:
        A new image, or `image` itself when there is nothing to do.
    """
    if not names:
        return image
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version
    import albumentations

    chosen = [getattr(albumentations, name)(p=1.0) for name in names]
    return albumentations.Compose(chosen, seed=int(rng.integers(2**31)))(image=image)["image"]
