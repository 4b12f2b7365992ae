"""Runs of an imagined detector: what images and seeds leave to chance is known, so that intervals can be checked."""

import numpy as np

from analysis.compare.execute.image_results import ImageResults


def simulated_scenes(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image of each object, how hard the object is, and how well attention suits its image."""
    image = np.repeat(np.arange(images), rng.integers(1, 5, images))
    hardness = rng.normal(0, 1, images)[image] + rng.normal(0, 1, len(image))
    return image, hardness, rng.normal(0, 1, images)[image]


def simulated_run(
    rng: np.random.Generator,
    scenes: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    skill: float,
    seed_sd: float,
    suits: float = 0.0,
) -> ImageResults:
    """One run: objects are found the better the easier they are, beside false detections.

    Args:
        rng: The run's own chance.
        scenes: From `simulated_scenes`.
        skill: Of the configuration; higher is better.
        seed_sd: How much skill differs from seed to seed.
        suits: How much the configuration's skill depends on the image.
    """
    image, hardness, fit = scenes
    images = int(image.max()) + 1
    quality = skill + rng.normal(0, seed_sd) + suits * fit - hardness + rng.normal(0, 0.7, len(image))
    level = np.clip(np.floor(5 + 2.5 * quality), 0, 10).astype(int)  # how many IoU thresholds are passed
    found = quality > -2.5
    false = rng.integers(0, images, len(image))
    score = 1 / (1 + np.exp(-np.concatenate((quality[found], rng.normal(-1.5, 1, len(false))))))
    correct = np.concatenate((np.arange(10) < level[found, None], np.zeros((len(false), 10), dtype=bool)))
    where = np.concatenate((image[found], false))
    truth = np.bincount(image, minlength=images)[:, None]
    return ImageResults(
        ("thing",), tuple(map(str, range(images))), truth, where, score, np.zeros(len(where), int), correct
    )
