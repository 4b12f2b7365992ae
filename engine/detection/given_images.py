"""Whatever a caller in Python gives as images, one by one: paths, PIL images, arrays, tensors and lists of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.images import from_pillow, to_channels
from data.sources.frame import Frame
from data.sources.open_source import open_source


def images_of(source: Any, *, rgb_arrays: bool, alpha: bool) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ANN401  (many kinds)
    """Name and (H, W, 3) uint8 RGB of every image, or (H, W, 4) where there is alpha and it is asked for."""
    several = isinstance(source, (list, tuple)) or (isinstance(source, Tensor) and source.ndim == 4)
    for number, item in enumerate(source if several else [source]):
        if isinstance(item, (str, Path)):
            yield from _from_path(str(item), alpha)
        elif isinstance(item, Image.Image):
            name = getattr(item, "filename", "") or f"image{number}.jpg"
            yield name, from_pillow(item, name=name, alpha=alpha)
        elif isinstance(item, Tensor):
            yield f"image{number}.jpg", _from_tensor(item, alpha)
        elif isinstance(item, np.ndarray):
            yield f"image{number}.jpg", _from_array(item, rgb_arrays, alpha)
        else:
            raise ValueError(f"Expected paths, PIL images, arrays or tensors but got a {type(item).__name__}")


def _from_path(text: str, alpha: bool) -> Iterator[tuple[str, np.ndarray]]:
    with closing(open_source(text)) as source:
        if source.live:
            raise ValueError(f"{text}: cameras, streams and the screen never end; detect.py shows and writes them")
        source.alpha = alpha
        for item in source:
            if isinstance(item, Frame):
                yield item.path, item.pixels
            elif item.partial:  # what could be read counts
                warnings.warn(f"{item.path}: {item.reason}", stacklevel=2)
            else:
                raise ValueError(f"{item.path}: {item.reason}")


def _from_tensor(item: Tensor, alpha: bool) -> np.ndarray:
    if item.ndim != 3 or item.shape[0] not in (1, 3, 4) or not item.numel():
        raise ValueError(
            f"Expected a tensor (3, H, W) or (B, 3, H, W), or of 1 or 4 channels, but got {tuple(item.shape)}"
        )
    if item.is_floating_point():
        if not 0 <= float(item.min()) <= float(item.max()) <= 1:
            raise ValueError("Expected a floating tensor with values from 0 to 1; divide pixels by 255")
        item = (item * 255).round()
    elif item.dtype is not torch.uint8:
        raise ValueError(f"Expected a tensor of floating numbers or uint8 but got {item.dtype}")
    return _from_array(item.to(torch.uint8).cpu().permute(1, 2, 0).numpy(), True, alpha)


def _from_array(item: np.ndarray, rgb: bool, alpha: bool) -> np.ndarray:
    shaped = item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (1, 3, 4))
    if item.dtype != np.uint8 or not item.size or not shaped:
        raise ValueError(f"Expected an array (H, W, 3) uint8 but got {item.shape} {item.dtype}")
    if not rgb and item.ndim == 3 and item.shape[2] >= 3:
        item = item[..., [2, 1, 0, 3][: item.shape[2]]]
    return np.ascontiguousarray(to_channels(item, 4 if alpha else 3))
