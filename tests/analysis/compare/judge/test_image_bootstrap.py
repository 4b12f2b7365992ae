"""Weighted average precision against the evaluation's own, on images that are really repeated."""

import numpy as np
import pytest

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.judge.image_bootstrap import draw_weights, mean_ap, resampled_ap
from engine.validation.metrics import detection_metrics


def random_results(seed: int, images: int = 12, classes: int = 3, detections: int = 300) -> ImageResults:
    """Detections of which about as many are correct as there are labels, more at low thresholds."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, (images, classes))
    truth[:, classes - 1] *= np.arange(images) < 2  # a rare class, absent from many samples
    image = rng.integers(0, images, detections)
    class_id = rng.integers(0, classes, detections)
    score = rng.random(detections)  # no ties: their order would be arbitrary
    correct = np.zeros((detections, 10), dtype=bool)
    left = np.repeat(truth[:, :, None], 10, axis=2)
    for i in np.argsort(-score):
        quality = rng.integers(-6, 11)
        for t in range(max(quality, 0)):
            if left[image[i], class_id[i], t] > 0:
                left[image[i], class_id[i], t] -= 1
                correct[i, t] = True
    names = tuple(f"class {c}" for c in range(classes))
    return ImageResults(names, tuple(map(str, range(images))), truth, image, score, class_id, correct)


def repeated(results: ImageResults, weights: np.ndarray) -> np.ndarray:
    """Average precisions (C, T) by the evaluation, from detections and labels that are written out again."""
    times = weights[results.image]
    true = [c for i, row in enumerate(results.truth) for c, n in enumerate(row) for _ in range(n * weights[i])]
    found = detection_metrics(
        np.repeat(results.correct, times, axis=0),
        np.repeat(results.score, times),
        np.repeat(results.class_id, times),
        np.array(true, dtype=float),
    )
    ap = np.full((results.truth.shape[1], 10), np.nan)
    ap[found.classes] = found.ap
    return ap


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_repeated_images(seed: int) -> None:
    results = random_results(seed)
    weights = np.concatenate((np.ones((1, 12), np.int32), draw_weights(12, 70, seed)))
    ap = resampled_ap(results, weights)
    assert np.isnan(ap[:, 2]).any()
    for row, values in zip(weights, ap, strict=True):
        np.testing.assert_allclose(values, repeated(results, row), rtol=0, atol=1e-12)


def test_perfect_and_empty_detections() -> None:
    truth = np.array([[2], [1]])
    perfect = ImageResults(
        ("a",),
        ("0", "1"),
        truth,
        np.array([0, 0, 1]),
        np.array([0.9, 0.8, 0.7]),
        np.zeros(3, int),
        np.ones((3, 10), bool),
    )
    ones = np.ones((1, 2), np.int32)
    np.testing.assert_allclose(resampled_ap(perfect, ones)[0, 0], repeated(perfect, ones[0])[0])
    assert mean_ap(resampled_ap(perfect, ones))[0] == pytest.approx(0.995)
    nothing = ImageResults(("a",), ("0", "1"), truth, *(np.zeros(0, int),) * 3, np.zeros((0, 10), bool))
    assert resampled_ap(nothing, ones).sum() == 0


def test_mean_leaves_out_classes_without_labels() -> None:
    ap = np.stack([np.full((2, 10), 0.5), np.stack([np.full(10, 0.2), np.full(10, np.nan)])])
    assert mean_ap(ap).tolist() == pytest.approx([0.5, 0.2])


def test_draws_are_samples_with_replacement() -> None:
    weights = draw_weights(50, 400, seed=1)
    assert (weights.sum(1) == 50).all()
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)  # of a binomial count
    assert (weights == draw_weights(50, 400, seed=1)).all()
    assert (weights != draw_weights(50, 400, seed=2)).any()


def test_round_trip_and_foreign_files(tmp_path) -> None:
    results = random_results(0)
    results.save(tmp_path / "images.npz")
    loaded = ImageResults.load(tmp_path / "images.npz")
    assert loaded.same_images(results)
    assert loaded.names == results.names
    np.testing.assert_array_equal(loaded.correct, results.correct)
    np.savez(tmp_path / "other.npz", truth=np.array([object()], dtype=object))
    for name in ("other.npz", "missing.npz"):
        with pytest.raises(ValueError, match=f"{name}: is not the per-image data"):
            ImageResults.load(tmp_path / name)
