"""The ground: road, pavements and verges with their texture, paint, shadows and light."""

import cv2
import numpy as np

from data.synth.paint import noise
from data.synth.paint.canvas import Canvas, Sighting, fill, polygon_area, polygon_mask
from data.synth.paint.markings import WHITE, YELLOW, Mark
from data.synth.world import difficulty
from data.synth.world.atmosphere import Atmosphere
from data.synth.world.camera import Camera
from data.synth.world.colour import LINEAR, linear, through, tinted, triple
from data.synth.world.street import FAR_M, Street, on_ground, strip

FINE = 2  # surfaces and paint are drawn at twice the resolution
VERGE, ROAD, PAVEMENT, KERB, GUTTER, PATCH, SEAM = range(7)


class Ground:
    """Draws the ground of one scene; `shadows` may be added to before `draw`."""

    def __init__(self, camera: Camera, street: Street, air: Atmosphere, rng: np.random.Generator) -> None:
        self.camera, self.street, self.air, self.rng = camera, street, air, rng
        self.top, self.lateral, self.ahead = camera.ground()
        self.shape = self.lateral.shape
        self.shade = np.zeros(self.shape, np.uint8)  # 255 where something keeps the sun off
        self.lamps: tuple[float, float, float] | None = None  # lateral, ahead of the first, distance between them
        self.contact = np.zeros(self.shape, np.uint8)  # 255 right under a vehicle

    def pixels(self, outline: np.ndarray, fine: int = 1) -> np.ndarray:
        """An outline (lateral, ahead) in pixels of this ground's own picture."""
        points = self.camera.project(on_ground(outline))
        return (points - (0, self.top)) * fine if len(points) else points

    def add_shadow(self, outline: np.ndarray, contact: bool = False) -> None:
        """Keep the sun (or, in contact, all light) off an area."""
        points = self.pixels(outline)
        if len(points) >= 3:
            fill(self.contact if contact else self.shade, points)

    def draw(self, canvas: Canvas, marks: list[Mark]) -> list[Sighting]:
        """Paint the ground onto the canvas; returns the arrows to follow."""
        albedo = self._surfaces()
        rough = self._texture(albedo)
        self._paint(albedo, marks, rough)
        albedo *= self._light()
        clear = np.exp(-np.minimum(self.ahead, 2 * FAR_M) / np.float32(self.air.haze_m))
        albedo *= triple(clear)
        albedo += tinted(1 - clear, self.air.haze)
        self._lay(canvas, albedo)
        return self._sightings(canvas, marks)

    def _lay(self, canvas: Canvas, radiance: np.ndarray) -> None:
        """Put the ground below the horizon, which a rolled camera tilts."""
        camera = self.camera
        right = np.arange(camera.width_px) + 0.5 - camera.width_px / 2
        line = camera.horizon_px + right * np.tan(camera.roll)
        rows = np.arange(self.top, camera.height_px)[:, None] + 0.5
        alpha = triple(np.clip(rows - line[None] + 0.5, 0, 1).astype(np.float32))
        region = canvas.rgb[self.top :]
        region += alpha * (radiance - region)

    def _surfaces(self) -> np.ndarray:
        """Albedo of the bare ground, linear (h, w, 3)."""
        street = self.street
        height, width = self.shape
        index = np.full((height * FINE, width * FINE), VERGE, np.uint8)
        left, right = street.kerbs
        for kerb, side, pavement in ((left, -1, street.pavement_m[0]), (right, 1, street.pavement_m[1])):
            for span in street.free_spans(0.3, FAR_M):
                self._strip(index, kerb, kerb + side * pavement, span, PAVEMENT)
                self._strip(index, kerb, kerb + side * 0.18, span, KERB)
        self._strip(index, left, right, (0.3, FAR_M), ROAD)
        if street.junction:
            self._strip(index, -150, 150, street.junction, ROAD)
            for kerb, side in ((left, -1), (right, 1)):
                self._corners(index, kerb, side, street.junction)
        for kerb, side in ((left, 1), (right, -1)):
            for span in street.free_spans(0.3, FAR_M):
                self._strip(index, kerb, kerb + side * 0.3, span, GUTTER)
        self._repairs(index)
        colours = np.zeros((256, 3), np.uint8)
        table = self._colours()
        colours[: len(table)] = table
        picture = cv2.LUT(triple(index), colours.reshape(1, 256, 3))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return through(small, np.repeat(LINEAR[:, None], 3, axis=1))

    def _strip(self, index: np.ndarray, a: float, b: float, span: tuple[float, float], value: int) -> None:
        if abs(a - b) > 20:  # the crossing road: fine steps across rather than along
            lateral = np.linspace(a, b, 9)
            outline = np.concatenate(
                [np.stack([lateral, np.full(9, span[0])], 1), np.stack([lateral[::-1], np.full(9, span[1])], 1)]
            )
        else:
            outline = strip(a, b, *span)
        points = self.pixels(outline, FINE)
        if len(points) >= 3:
            fill(index, points, value)

    def _corners(self, index: np.ndarray, kerb: float, side: int, junction: tuple[float, float]) -> None:
        """Round the kerb into the crossing road."""
        radius = 4.0
        turn = np.linspace(0, np.pi / 2, 6)
        for edge, way in ((junction[0], -1), (junction[1], 1)):
            arc = np.stack([kerb + side * radius * (1 - np.cos(turn)), edge + way * radius * (1 - np.sin(turn))], 1)
            points = self.pixels(np.concatenate([[[kerb, edge]], arc]), FINE)
            if len(points) >= 3:
                fill(index, points, ROAD)

    def _repairs(self, index: np.ndarray) -> None:
        """Patches, seams and covers in the road."""
        rng = self.rng
        left, right = self.street.kerbs
        for _ in range(rng.poisson(1.2)):
            u, s = rng.uniform(left, right - 1), rng.uniform(3, 40)
            box = strip(u, min(u + rng.uniform(0.6, 2.5), right), s, s + rng.uniform(1, 6))
            self._fill(index, box, PATCH)
        for _ in range(rng.poisson(1.0)):
            u, s = rng.uniform(left + 0.7, right - 0.7), rng.uniform(4, 30)
            turn = np.linspace(0, 2 * np.pi, 20)
            self._fill(index, np.stack([u + 0.33 * np.cos(turn), s + 0.33 * np.sin(turn)], 1), SEAM)
        for _ in range(rng.poisson(1.5)):
            self._crack(index, rng.uniform(left, right), rng.uniform(2, 25))

    def _crack(self, index: np.ndarray, lateral: float, ahead: float) -> None:
        steps = self.rng.normal(0, 0.18, (10, 2)) + self.rng.normal(0, 0.35, 2)
        line = np.cumsum(steps, axis=0) + np.array([lateral, ahead])
        width = self.rng.uniform(0.012, 0.035)
        self._fill(index, np.concatenate([line, line[::-1] + width]), SEAM)

    def _fill(self, index: np.ndarray, outline: np.ndarray, value: int) -> None:
        points = self.pixels(outline, FINE)
        if len(points) >= 3:
            fill(index, points, value)

    def _colours(self) -> np.ndarray:
        """Colour of each surface (n, 3), sRGB uint8."""
        rng, street = self.rng, self.street
        road = rng.uniform(66, 128) + rng.normal(0, 2.5, 3)
        if self.air.rain:
            road *= 0.72
        slab = rng.uniform(105, 160) + np.array([6, 2, -6]) * rng.uniform(-0.5, 2)
        grass = np.array([70, 92, 42]) * rng.uniform(0.75, 1.15) + rng.normal(0, 6, 3)
        bare = np.array([128, 120, 108]) * rng.uniform(0.7, 1.1)
        verge = bare if street.town == 1 or rng.random() < 0.3 else grass
        kerb = slab * rng.uniform(1.05, 1.25)
        table = [verge, road, slab, kerb, road * 0.82, road * rng.uniform(0.82, 1.12), road * 0.5]
        return np.clip(np.array(table), 0, 255).astype(np.uint8)

    def _texture(self, albedo: np.ndarray) -> np.ndarray:
        """Multiply fine and coarse noise into the albedo; returns the coarse noise, which also wears the paint."""
        rng = self.rng
        u, s = self.lateral + np.float32(rng.uniform(0, 90)), self.ahead + np.float32(rng.uniform(0, 90))
        coarse = noise.sample(noise.tile(1.4, 1), u * 9, s * 5)
        fine = noise.sample(noise.tile(0.6, 2), u * 70, s * 34)
        footprint = (
            np.maximum(self.ahead[:, self.shape[1] // 2], 0.5) / self.camera.focal_px
        )  # metres per pixel, by row
        fine *= np.exp(-footprint * 26).astype(np.float32)[:, None]
        tracks = self._wheel_tracks()
        strength = np.float32(rng.uniform(0.04, 0.11))
        gain = 1 + strength * coarse + np.float32(0.13) * fine - np.float32(rng.uniform(0, 0.1)) * tracks
        albedo *= triple(np.clip(gain, 0.3, 1.8))
        return coarse + np.float32(0.6) * fine + np.float32(0.5) * tracks

    def _wheel_tracks(self) -> np.ndarray:
        """Where wheels run, 0..1 (h, w): a profile across the road, looked up for every pixel."""
        left, right = self.street.kerbs
        across = np.linspace(left - 1, right + 1, 256)
        profile = np.zeros(256, np.float32)
        for lane in self.street.own_lanes() + self.street.oncoming_lanes():
            for wheel in (-0.75, 0.75):
                profile += np.exp(-(((across - lane - wheel) / 0.34) ** 2)).astype(np.float32)
        place = (self.lateral - np.float32(left - 1)) * np.float32(255 / (right - left + 2))
        place = np.clip(place, -2, 258)  # outside lies nothing
        return cv2.remap(profile[None], place, np.zeros_like(place), cv2.INTER_LINEAR)

    def _paint(self, albedo: np.ndarray, marks: list[Mark], rough: np.ndarray) -> None:
        """Lay worn paint over the albedo."""
        height, width = self.shape
        wear = np.float32(self.rng.uniform(*difficulty.PAINT_WEAR))
        kept = np.clip(np.float32(1.9) - wear * np.float32(2.2) - rough * np.float32(0.55), 0.16, 1)
        kept *= (1 - wear * np.float32(0.25)) / 255
        for colour, srgb in ((WHITE, (222, 222, 216)), (YELLOW, (214, 168, 58))):
            chosen = [mark for mark in marks if mark.colour == colour]
            if not chosen:
                continue
            layer = np.zeros((height * FINE, width * FINE), np.uint8)
            for mark in chosen:
                for points in (self.pixels(outline, FINE) for outline in mark.outlines):
                    if len(points) >= 3:
                        fill(layer, points, int(255 * mark.opacity))
            alpha = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA) * kept
            tone = linear(srgb) * np.float32(self.rng.uniform(0.8, 1.05))
            albedo *= triple(1 - alpha)
            albedo += tinted(alpha, tone)

    def _light(self) -> np.ndarray:
        """Light on each pixel of the ground (h, w, 3)."""
        air = self.air
        open_sun = np.float32(air.facing(0, 0, 1))
        shade = cv2.GaussianBlur(self.shade, (0, 0), 1.5).astype(np.float32) / 255
        under = cv2.GaussianBlur(self.contact, (0, 0), self.camera.width_px / 320).astype(np.float32) / 255
        below = 1 - np.float32(0.75) * under
        dim, sun = below * (1 - np.float32(0.12) * shade), below * (1 - shade) * open_sun
        planes = [dim * air.sky[c] + sun * air.sun[c] for c in range(3)]
        if air.headlights:
            depth, aside = self.ahead, self.lateral - np.float32(self.camera.lateral_m)
            beam = np.exp(-((aside / (2.0 + 0.2 * depth)) ** 2)) / (1 + (depth / 11) ** 2)
            beam *= (1 - np.exp(-depth / 4)) * below * np.float32(air.headlights * 0.9)
            planes = [plane + beam * np.float32(tint) for plane, tint in zip(planes, (1.0, 0.95, 0.85), strict=True)]
        if air.night and self.lamps:
            pool = self._lamp_light(*self.lamps) * below * np.float32(0.2 if air.time == "night" else 0.05)
            planes = [plane + pool * np.float32(tint) for plane, tint in zip(planes, (1.0, 0.8, 0.5), strict=True)]
        return cv2.merge(planes)

    def _lamp_light(self, lateral: float, first: float, step: float) -> np.ndarray:
        """Pools of light under a row of lamps, 0..1 (h, w)."""
        along = np.cos((self.ahead - np.float32(first)) * np.float32(2 * np.pi / step)) - 1
        across = (self.lateral - np.float32(lateral)) / np.float32(5.5)
        return np.exp(along * np.float32(2.2) - across * across)

    def _sightings(self, canvas: Canvas, marks: list[Mark]) -> list[Sighting]:
        """Follow the labelled marks, and their heads, from here on."""
        sightings = []
        for mark in marks:
            if mark.class_id is None or mark.core is None:
                continue
            whole, core = canvas.track(), canvas.track()
            for track, outline in ((whole, mark.outlines[0]), (core, mark.core)):
                points = self.camera.project(on_ground(outline))
                if len(points) >= 3:
                    track.add(*polygon_mask(points, canvas.rgb.shape[:2]), polygon_area(points))
            sightings.append(Sighting(mark.class_id, whole, core))
        return sightings
