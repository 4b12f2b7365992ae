"""`--view-img`: a window per input, where the installed OpenCV and the machine have windows."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np


class Viewer:
    """Shows pictures; the keys q and Escape end the run."""

    def __init__(self) -> None:
        """Check that a window can be opened.

        Raises:
            ValueError: If OpenCV was built without windows, or there is no display.
        """
        try:
            framework = cv2.currentUIFramework()
        except cv2.error:
            framework = ""
        if not framework:
            raise ValueError(
                "--view-img: the installed OpenCV has no window support (opencv-python-headless overlays opencv-python "
                "when both are installed): pip install --force-reinstall --no-deps opencv-python"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("--view-img: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set)")
        self._opened: set[str] = set()

    def show(self, title: str, rgb: np.ndarray, *, wait_ms: int = 1) -> bool:
        """Show a picture; False when the user wants to end."""
        if title not in self._opened:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(title, rgb.shape[1], rgb.shape[0])
            self._opened.add(title)
        cv2.imshow(title, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        return cv2.waitKey(wait_ms) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        """Close the windows."""
        if self._opened:
            cv2.destroyAllWindows()
