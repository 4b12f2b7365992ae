"""Four images as one, and their boxes on the same pixels."""

import numpy as np
import pytest
import torch

from data.loading.loader import collate_quads
from data.loading.quad import _choice, quads
from data.loading.samples import Item
from engine.config.train_config import TrainConfig


def sample(number: int, height: int = 32, width: int = 48) -> Item:
    """A bright rectangle in its class's colour on noise, and its box."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 50, (3, height, width), dtype=np.uint8)
    x, y = 8 + number % 3 * 8, 8
    image[:, y : y + 8, x : x + 12] = 200 + number % 4
    row = [number % 4, (x + 6) / width, (y + 4) / height, 12 / width, 8 / height]
    return Item(image, np.array([row], np.float32), f"{number}.jpg", None)


def groups(joined: bool) -> list[Item]:
    first = next(n for n in range(100) if _choice(sample(n)) is joined)
    return [sample(n) for n in (first, first + 1, first + 2, first + 3)]


def pixels(item: Item, row: np.ndarray) -> np.ndarray:
    _, height, width = item.image.shape
    x, y, w, h = row[1:] * (width, height, width, height)
    return item.image[:, round(y - h / 2) : round(y + h / 2), round(x - w / 2) : round(x + w / 2)]


def test_four_images_become_one_and_boxes_stay_on_their_objects() -> None:
    items = groups(joined=True)
    (quad,) = quads(items)
    assert quad.image.shape == (3, 64, 96)
    assert len(quad.targets) == 4
    for row, item in zip(quad.targets, items, strict=True):
        found = pixels(quad, row)
        assert found.shape == (3, 8, 12)
        assert (found == 200 + item.targets[0, 0]).all()
    # as the original lays them: 0 above 1 on the left, 2 above 3 on the right
    np.testing.assert_array_equal(quad.image[:, 32:, :48], items[1].image)
    np.testing.assert_array_equal(quad.image[:, :32, 48:], items[2].image)


def test_one_of_four_is_enlarged() -> None:
    items = groups(joined=False)
    (large,) = quads(items)
    assert large.image.shape == (3, 64, 96)
    np.testing.assert_array_equal(large.targets, items[0].targets)
    want = torch.nn.functional.interpolate(
        torch.from_numpy(items[0].image)[None].float(), scale_factor=2, mode="bilinear", align_corners=False
    )[0].numpy()
    assert np.abs(large.image - want).max() <= 1  # rounding


def test_both_happen_and_what_is_left_over_is_kept() -> None:
    chosen = [_choice(sample(n)) for n in range(400)]
    assert 0.4 < np.mean(chosen) < 0.6
    images, targets, paths, _ = collate_quads([sample(n) for n in range(10)])
    assert images.shape == (3, 3, 64, 96)
    assert sorted(set(targets[:, 0].tolist())) == [0, 1, 2]
    assert paths[2] == "8.jpg"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rect": True}, "--quad and --rect"),
        ({"multi_scale": True}, "--quad and --multi-scale"),
        ({"batch_size": 2}, "expected --batch-size 4 or more, not 2"),
    ],
)
def test_mistakes(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(data="a.yaml", cfg="yolov5n.yaml", quad=True, **settings)
