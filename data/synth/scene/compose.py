"""Decides a scene: what stands where."""

import numpy as np

from data.synth.scene.layout import ARR_L, ARR_S, RED_TL, Layout, draw_camera
from data.synth.scene.place_lights import place_lights
from data.synth.scene.place_marks import place_marks
from data.synth.scene.place_signs import place_signs
from data.synth.world.street import draw_street

HOOD_SHARE = 0.25  # of the images show the own bonnet


def compose(rng: np.random.Generator, counts: tuple[int, ...], image_px: tuple[int, int]) -> Layout:
    """Decide camera, street and the place of each planned object and of the look-alikes.

    Args:
        rng: The image's random numbers.
        counts: Planned objects per class, in the order of CLASS_NAMES.
        image_px: Width and height.
    """
    street = draw_street(rng, min(max(counts[ARR_S] + counts[ARR_L], 1), 4))
    layout = Layout(draw_camera(rng, street, counts, image_px), street)
    layout.hood = float(rng.uniform(0.03, 0.08)) if rng.random() < HOOD_SHARE else 0.0
    place_marks(layout, rng, counts)
    place_lights(layout, rng, counts[RED_TL])
    place_signs(layout, rng, counts)
    return layout
