"""The albumentations part: how often, which, and seeded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.augmentation.pixel_transforms import (
    PROBABILITY,
    TRANSFORMS,
    apply_pixel_transforms,
    draw_active,
    is_available,
)

pytestmark = pytest.mark.skipif(not is_available(), reason="albumentations is not installed")
_ROWS, _COLUMNS = np.mgrid[:120, :160]
IMAGE = np.stack((_ROWS * 2, _COLUMNS, (_ROWS * _COLUMNS) // 150 % 200), 2).astype(np.uint8)


def test_one_image_in_a_hundred_each() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_active(rng) for _ in range(20000)]
    for name in TRANSFORMS:
        assert sum(name in names for names in drawn) / len(drawn) == pytest.approx(PROBABILITY, abs=0.003)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_decided_by_the_generator_alone(name: str) -> None:
    first, again, other = (apply_pixel_transforms(np.random.default_rng(s), [name], IMAGE) for s in (1, 1, 2))
    assert first.shape == IMAGE.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, IMAGE)
    np.testing.assert_array_equal(first, again)
    if name == "ToGray":
        assert (first.std(2) == 0).all()
        np.testing.assert_allclose(first[..., 0], IMAGE @ [0.299, 0.587, 0.114], atol=1)
    else:
        seeds = [apply_pixel_transforms(np.random.default_rng(seed), [name], IMAGE) for seed in range(8)]
        assert any(not np.array_equal(first, image) for image in (other, *seeds))


def test_nothing_to_do_is_free_of_the_package(root: Path) -> None:
    code = (
        "import sys, numpy as np; from data.augmentation.pixel_transforms import apply_pixel_transforms as f\n"
        "image = np.zeros((8, 8, 3), np.uint8)\n"
        "assert f(np.random.default_rng(0), [], image) is image\n"
        "raise SystemExit('albumentations' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_the_package_is_kept_from_asking_the_network() -> None:
    apply_pixel_transforms(np.random.default_rng(0), ["Blur"], IMAGE)
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
