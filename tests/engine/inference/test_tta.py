import pytest
import torch
from torch import nn
from torch.testing import assert_close

from engine.inference.tta import augmented_predictions
from engine.runtime.device import Precision

FP32 = Precision(torch.float32, False, "test")


class Head:
    def decode(self, raw):
        return torch.cat([level.flatten(1, 3) for level in raw], 1)


class Spy(nn.Module):
    """Two levels of stride 32 and 64 px; every cell predicts its own centre, and the mean of its image as score."""

    def __init__(self):
        super().__init__()
        self.stride = torch.tensor([32.0, 64.0])
        self.detect = Head()
        self.seen = []

    def raw(self, images):
        self.seen.append(images)
        levels = []
        for stride in (32, 64):
            height, width = images.shape[2] // stride, images.shape[3] // stride
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            rows = torch.zeros(len(images), 1, height, width, 6)
            rows[..., 0], rows[..., 1] = x * stride, y * stride
            rows[..., 2:4] = stride
            rows[..., 4] = images.mean((1, 2, 3))[:, None, None, None]
            levels.append(rows)
        return levels


@pytest.fixture
def images():
    return torch.rand(2, 3, 128, 192)


def test_sizes_borders_and_mirror(images):
    model = Spy()
    augmented_predictions(model, images, FP32)
    # 128 x 192 at 0.83 is 106.24 x 159.36 -> 106 x 159 in a frame of 128 x 192; at 0.67 85.76 x 128.64 -> 128 x 192
    assert [tuple(seen.shape[2:]) for seen in model.seen] == [(128, 192), (128, 192), (128, 192)]
    assert_close(model.seen[0], images)
    for seen, (height, width) in zip(model.seen[1:], ((106, 159), (85, 128)), strict=True):
        assert (seen[:, :, height:] == 0.447).all()
        assert (seen[:, :, :, width:] == 0.447).all()
        assert not (seen[:, :, height - 1, :width] == 0.447).all()
    small = nn.functional.interpolate(images.flip(3), size=(106, 159), mode="bilinear")
    assert_close(model.seen[1][:, :, :106, :159], small)


def test_levels_and_coordinates(images):
    rows = augmented_predictions(Spy(), images, FP32)
    # levels of 128 x 192: 4 x 6 and 2 x 3 cells; full size without the coarse level, smallest without the fine one
    assert rows.shape == (2, 24 + 24 + 6 + 6, 6)
    assert_close(rows[0, 0, :4], torch.tensor([16.0, 16, 32, 32]))
    assert_close(rows[0, 24, :4], torch.tensor([192 - 16 / 0.83, 16 / 0.83, 32 / 0.83, 32 / 0.83]))
    assert_close(rows[0, 24 + 24, :4], torch.tensor([192 - 32 / 0.83, 32 / 0.83, 64 / 0.83, 64 / 0.83]))
    assert_close(rows[0, -6, :4], torch.tensor([32 / 0.67, 32 / 0.67, 64 / 0.67, 64 / 0.67]))
    assert_close(rows[:, 0, 4], images.mean((1, 2, 3)))
