"""The built-in `signs` data set: street scenes drawn by code, with boxes from what was drawn.

`ensure` draws a set on first use; `render` draws one image. NumPy and OpenCV only.

What is labelled:
    red_tl: a traffic light whose red lamp is lit, whatever its lens shows (disc, arrow, standing figure); the box is
        the housing with its plate. Green, amber and dark lights and lights seen from behind are not labelled.
    arr_s, arr_l: a straight or a left arrow painted in an own lane. Right and turning arrows, arrows that point at us
        in the oncoming lanes, diamonds and letters are not; there are no arrows with two heads.
    no_driving_mark_allsort: a white disc with a red ring and nothing inside.
    no_parking_mark: a blue disc with a red ring and one red diagonal. With two diagonals (no stopping) it is another
        sign and not labelled.
An object is labelled while `difficulty`'s limits hold: enough of it is visible, its telling part (lit lens, arrow head)
too, it is not tiny, and it stands out from its surroundings. Boxes enclose the visible part.

How a picture comes about: `plan` says how many objects of each class, `compose` where they stand (`layout`, `place_*`),
`scene` draws from far to near onto a `canvas` in linear light (`sky`, `ground`, `houses`, `roadside`, `vehicles`,
`furniture` with the faces of `signs` and the heads of `lights`), and `effects` turns light into a camera's picture.

A left arrow mirrored is a right arrow: train with `fliplr: 0.0` on this set.
"""

from data.synth.options import CLASS_NAMES, SPLITS, SynthOptions
from data.synth.render_scene import Rendered, render
from data.synth.writer import GENERATOR_VERSION, ensure

__all__ = ["CLASS_NAMES", "GENERATOR_VERSION", "SPLITS", "Rendered", "SynthOptions", "ensure", "render"]
