"""Daylight, weather and headlights: the light that everything in a scene is seen in."""

from dataclasses import dataclass

import numpy as np

from data.synth.world import difficulty
from data.synth.world.colour import LINEAR

RETRO_LIMIT = 0.42  # a camera's own exposure keeps signs in the headlights from washing out
Colour = np.ndarray  # float32 (3,) linear light


@dataclass(frozen=True)
class Atmosphere:
    """Light and air. Radiance 1 is white paper in full daylight."""

    time: str  # day, dusk, night
    sky: Colour  # light from all sides
    sun: Colour  # light from one side
    sun_from: np.ndarray  # (3,) unit vector (right, ahead, up) towards the sun
    zenith: Colour
    horizon: Colour
    clouds: float  # 0 clear, 1 overcast
    haze: Colour
    haze_m: float  # distance at which 63 % of the view is haze
    rain: float  # 0 dry, 1 heavy
    headlights: float  # own headlights
    lamp: float  # how bright lit lamps are

    @property
    def night(self) -> bool:
        """True when lamps and windows are lit."""
        return self.time != "day" and self.headlights > 0

    def facing(self, right: float, ahead: float, up: float) -> float:
        """How squarely a surface with this normal meets the sun, 0..1."""
        return max(0.0, float(np.dot((right, ahead, up), self.sun_from)))

    def lit(
        self, albedo: np.ndarray, depth_m: float, facing: float = 0.5, aside_m: float = 0.0, retro: float = 0.0
    ) -> np.ndarray:
        """Radiance of a surface: albedo ((3,) or (..., 3), linear) under sky, sun and headlights, then through haze.

        Args:
            albedo: Share of light sent back.
            depth_m: Distance from the camera.
            facing: How squarely it meets the sun.
            aside_m: Distance from the line of the headlights.
            retro: Gain of retroreflective sheeting in the headlights.
        """
        light = self.sky + self.sun * np.float32(facing)
        if self.headlights:
            light = light + np.minimum(self.beam(depth_m, aside_m) * (1 + retro), np.float32(RETRO_LIMIT))
        return self.through_air(albedo * light.astype(np.float32), depth_m)

    def table(self, depth_m: float, facing: float = 0.5, aside_m: float = 0.0, retro: float = 0.0) -> np.ndarray:
        """`lit` for every sRGB value: float32 (256, 3)."""
        return self.lit(np.repeat(LINEAR[:, None], 3, axis=1), depth_m, facing, aside_m, retro)

    def beam(self, depth_m: float, aside_m: float) -> Colour:
        """Light of the own headlights at a place."""
        width = 2.5 + 0.22 * depth_m
        strength = self.headlights * np.exp(-((aside_m / width) ** 2)) / (1 + (depth_m / 14) ** 2)
        return np.array([1.0, 0.95, 0.85], np.float32) * np.float32(strength)

    def through_air(self, radiance: np.ndarray, depth_m: float) -> np.ndarray:
        """What is left of a radiance after `depth_m` of haze."""
        clear = np.float32(np.exp(-depth_m / self.haze_m))
        return (radiance * clear + self.haze * (1 - clear)).astype(np.float32)


def _colour(*values: float) -> Colour:
    return np.array(values, np.float32)


def draw_atmosphere(rng: np.random.Generator) -> Atmosphere:
    """A random time of day and weather, in the shares that `difficulty` names."""
    time = str(rng.choice(list(difficulty.DAYTIME), p=list(difficulty.DAYTIME.values())))
    rain = float(rng.uniform(0.35, 1.0)) if rng.random() < difficulty.RAIN_SHARE else 0.0
    fog = rng.random() < difficulty.FOG_SHARE
    clouds = float(rng.uniform(0.75, 1.0)) if rain or fog else float(rng.beta(0.7, 1.1))
    make = {"day": _day, "dusk": _dusk, "night": _night}[time]
    sky, sun, zenith, horizon = make(clouds, rng)
    side, high = rng.uniform(-1, 1), rng.uniform(0.25, 1.1) if time == "day" else rng.uniform(0.05, 0.25)
    behind = rng.uniform(-1, 0.8)
    direction = np.array([side, behind, high]) / np.linalg.norm([side, behind, high])
    haze = (horizon * 0.9 + sky * 0.1).astype(np.float32)
    haze_m = rng.uniform(45, 110) if fog else rng.uniform(140, 320) if rain else rng.uniform(350, 1500)
    headlights = {"day": 0.0, "dusk": rng.uniform(0.05, 0.25), "night": rng.uniform(0.5, 1.0)}[time]
    lamp = {"day": 1.0, "dusk": 1.15, "night": 1.5}[time]
    return Atmosphere(
        time, sky, sun, direction, zenith, horizon, clouds, haze, float(haze_m), rain, float(headlights), lamp
    )


Lights = tuple[Colour, Colour, Colour, Colour]  # sky light, sun light, zenith, horizon


def _day(clouds: float, rng: np.random.Generator) -> Lights:
    grey = _colour(0.66, 0.7, 0.75) * np.float32(rng.uniform(0.75, 1.05))
    blue = _colour(0.16, 0.34, 0.72) * np.float32(rng.uniform(0.8, 1.2))
    pale = _colour(0.62, 0.76, 0.92)
    cover = np.float32(clouds)
    zenith = blue * (1 - cover) + grey * 0.85 * cover
    horizon = pale * (1 - cover) + grey * cover
    sun = _colour(1.0, 0.93, 0.8) * np.float32(0.95) * (1 - cover) ** np.float32(1.3)
    sky = _colour(0.36, 0.42, 0.5) * (1 - cover) + _colour(0.62, 0.65, 0.68) * cover
    return sky, sun.astype(np.float32), zenith, horizon


def _dusk(clouds: float, rng: np.random.Generator) -> Lights:
    warm = np.float32(rng.uniform(0.2, 1.0)) * (1 - np.float32(clouds) * np.float32(0.7))
    zenith = _colour(0.07, 0.1, 0.22)
    horizon = _colour(0.34, 0.33, 0.38) * (1 - warm) + _colour(0.85, 0.45, 0.2) * warm
    sun = _colour(0.5, 0.26, 0.1) * warm
    sky = _colour(0.2, 0.21, 0.27) * np.float32(rng.uniform(0.7, 1.2))
    return sky, sun, zenith, horizon


def _night(clouds: float, rng: np.random.Generator) -> Lights:
    town = np.float32(rng.uniform(0.4, 1.0))
    zenith = _colour(0.006, 0.009, 0.018) + _colour(0.012, 0.009, 0.006) * np.float32(clouds) * town
    horizon = _colour(0.05, 0.04, 0.035) * town
    sky = _colour(0.075, 0.07, 0.072) * town + _colour(0.012, 0.014, 0.02)
    return sky, _colour(0.05, 0.035, 0.015) * town, zenith, horizon
