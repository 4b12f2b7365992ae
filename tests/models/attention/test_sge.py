import pytest
import torch

from models.attention import SpatialGroupEnhance
from tests.support.reference import check, sigmoid

SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 248, 13, 21), (2, 24, 20, 20), (1, 8, 80, 80), (1, 8, 1, 2))


def reference_of(groups):
    def reference(x, p, training):
        _, channels, height, width = x.shape
        size, count = channels // groups, height * width
        outputs = []
        for g in range(groups):
            part = x[:, g * size : (g + 1) * size]
            mean = part.sum((2, 3)) / count
            likeness = torch.einsum("bchw,bc->bhw", part, mean)
            deviation = likeness - likeness.sum((1, 2), keepdim=True) / count
            t = deviation * 0
            if count > 1:
                std = (deviation.square().sum((1, 2), keepdim=True) / (count - 1)) ** 0.5
                t = deviation / (std + 1e-5)
            gate = sigmoid(p["weight"][0, g, 0, 0] * t + p["bias"][0, g, 0, 0])
            outputs.append(part * gate[:, None])
        return torch.cat(outputs, 1)

    return reference


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(SpatialGroupEnhance(shape[1]), reference_of(8), shape)


@pytest.mark.parametrize(("channels", "groups"), [(7, 1), (9, 3), (10, 10), (64, 64)])
def test_reference_of_other_groups(channels, groups):
    check(SpatialGroupEnhance(channels, groups=groups), reference_of(groups), (2, channels, 5, 7))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_map_is_finite_forward_and_backward(value):
    module = SpatialGroupEnhance(16)
    torch.nn.init.ones_(module.weight)
    x = torch.full((2, 16, 4, 4), value, requires_grad=True)
    module(x).sum().backward()
    assert bool(x.grad.isfinite().all())
    assert bool(module.weight.grad.isfinite().all())


def test_a_map_of_one_position_is_gated_by_the_bias():
    module = SpatialGroupEnhance(8)
    torch.nn.init.constant_(module.bias, 0.5)
    x = torch.randn(2, 8, 1, 1)
    torch.testing.assert_close(module(x), x * torch.tensor(0.5).sigmoid())


def test_names_and_shapes_of_the_release():
    state = SpatialGroupEnhance(64).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {"weight": (1, 8, 1, 1), "bias": (1, 8, 1, 1)}
    assert not any(value.any() for value in state.values())


def test_channels_that_cannot_be_split():
    with pytest.raises(ValueError, match="multiple of groups = 8 but got 100; the nearest that works is 96"):
        SpatialGroupEnhance(100)
