"""`--source screen`: pictures of the screen, through the optional package mss."""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np

from data.sources.frame import Frame, Trouble


class Screen:
    """Pictures of a monitor or a part of it, one whenever the iteration asks."""

    live = True
    alpha = False

    def __init__(self, text: str) -> None:
        """Open the screen.

        Args:
            text: `screen [monitor] [left top width height]` in pixels; monitor 0, the default, is all of them together.

        Raises:
            ValueError: If mss is not installed, there is no display, or the monitor does not exist.
        """
        try:
            import mss  # pyright: ignore[reportMissingImports]  (optional)
            from mss.exception import ScreenShotError  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError(
                "--source screen needs the package mss, which is not installed: pip install mss"
            ) from error
        numbers = [int(word) for word in text.split()[1:]]
        if len(numbers) not in (0, 1, 4, 5):
            raise ValueError(f"--source {text!r}: expected `screen [monitor] [left top width height]`")
        self.number = numbers[0] if len(numbers) in (1, 5) else 0
        self._errors = (ScreenShotError,)
        try:
            self._grabber = (getattr(mss, "MSS", None) or mss.mss)()
            monitors = self._grabber.monitors
        except self._errors as error:
            raise ValueError(f"--source screen: no screen can be read here: {error}") from error
        if not 0 <= self.number < len(monitors):
            raise ValueError(f"--source {text!r}: expected a monitor from 0 to {len(monitors) - 1}")
        self.area = dict(monitors[self.number])
        if len(numbers) >= 4:
            left, top, width, height = numbers[-4:]
            if width < 1 or height < 1:
                raise ValueError(f"--source {text!r}: expected a width and a height of at least 1")
            left, top = self.area["left"] + left, self.area["top"] + top
            self.area = {"left": left, "top": top, "width": width, "height": height}

    def __iter__(self) -> Generator[Frame | Trouble, None, None]:
        """Yield pictures without end."""
        number = 0
        while True:
            try:
                bgra = np.asarray(self._grabber.grab(self.area))
            except self._errors as error:
                yield Trouble("screen", f"cannot be read any more: {error}", partial=number > 0)
                return
            number += 1
            rgb = np.ascontiguousarray(bgra[:, :, 2::-1])
            heading = f"screen {self.number} ({number})"
            yield Frame(rgb, "screen", f"screen{self.number}", "", "stream", heading, number, time_s=time.monotonic())

    def close(self) -> None:
        """Let go of the display."""
        self._grabber.close()
