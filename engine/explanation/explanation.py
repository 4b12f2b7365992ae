"""An explanation of one image: arrays, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.explanation.explained import Explained
from engine.explanation.page import write_page
from engine.explanation.pictures import overview
from engine.explanation.saved_pictures import save_pictures


class Explanation(Explained):
    """What the model looked at in one image."""

    def plot(self) -> np.ndarray:
        """Everything in one picture, (H, W, 3) uint8 RGB: the detections, then what was asked for."""
        return overview(self)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the pictures and a page, `index.html`, that shows them without a network; returns the files."""
        section = save_pictures(self, Path(folder))
        return [*section.files, write_page(Path(folder), [section])]
