"""Weights between models that read images of other channels: the outputs stay those of the same picture."""

from dataclasses import replace

import pytest
import torch

from data.images import to_channels
from models import build_model, load_spec
from models.weights.transfer import transfer

GREY_SHARES = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def pair(there, here, first=None):
    """A model of `there` channels, and one of `here` that has its weights."""
    spec = load_spec("yolov5n.yaml", nc=3)
    if first is not None:
        layers = (replace(spec.layers[0], module=first, args=(64, 3)), *spec.layers[1:])
        spec = replace(spec, layers=layers)
    torch.manual_seed(0)
    source, target = (build_model(replace(spec, channels=channels)).eval() for channels in (there, here))
    report = transfer(target, source)
    assert report.count("new") == report.count("unused") == 0
    return source, target, report


def agree(source, seen, target, shown):
    with torch.no_grad():
        torch.testing.assert_close(target(shown), source(seen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", [None, "Focus"])
def test_rgb_weights_see_grey_as_three_equal_colours(first):
    source, target, report = pair(3, 1, first)
    grey = torch.rand(2, 1, 64, 64)
    agree(source, grey.expand(-1, 3, -1, -1), target, grey)
    assert "1 in row 0: kernels for 3 channels mixed for 1" in report.overview


@pytest.mark.parametrize(("there", "here"), [(3, 4), (1, 2)])
def test_alpha_that_was_not_read_changes_nothing_at_first(there, here):
    source, target, _ = pair(there, here)
    image = torch.rand(2, here, 64, 64)
    agree(source, image[:, :there], target, image)


def test_grey_weights_see_the_luminance_of_colours():
    source, target, _ = pair(1, 3)
    image = torch.rand(2, 3, 64, 64)
    agree(source, (image * GREY_SHARES).sum(1, keepdim=True), target, image)


def test_alpha_that_both_read_travels():
    source, target, _ = pair(4, 2)
    image = torch.rand(2, 2, 64, 64)
    agree(source, image[:, [0, 0, 0, 1]], target, image)


def test_the_shares_of_colours_are_those_of_the_images():
    rgb = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8)
    grey = (rgb.permute(2, 0, 1)[None] * GREY_SHARES).sum(1)[0]
    assert (torch.from_numpy(to_channels(rgb.numpy(), 1))[..., 0] - grey).abs().max() <= 0.51
