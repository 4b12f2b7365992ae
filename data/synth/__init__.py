"""The built-in `signs` data set: street scenes drawn by code, with boxes from what was drawn.

`ensure` draws a set on first use; `render` draws one image. NumPy and OpenCV only.
"""

from data.synth.options import CLASS_NAMES, SPLITS, SynthOptions
from data.synth.scene import Rendered, render
from data.synth.writer import GENERATOR_VERSION, ensure

__all__ = ["CLASS_NAMES", "GENERATOR_VERSION", "SPLITS", "Rendered", "SynthOptions", "ensure", "render"]
