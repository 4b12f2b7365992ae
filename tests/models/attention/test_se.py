import pytest
import torch

from models.attention import SE
from tests.support.reference import SHAPES, check, sigmoid


def reference(x, p, training):
    mean = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    hidden = torch.einsum("hc,bc->bh", p["fc.0.weight"], mean).clamp(min=0)
    gate = sigmoid(torch.einsum("ch,bh->bc", p["fc.2.weight"], hidden))
    return torch.einsum("bchw,bc->bchw", x, gate)


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(SE(shape[1]), reference, shape)


def test_names_and_shapes_of_the_release():
    shapes = {name: tuple(value.shape) for name, value in SE(64).state_dict().items()}
    assert shapes == {"fc.0.weight": (4, 64), "fc.2.weight": (64, 4)}


def test_fewer_channels_than_the_reduction_keep_one_hidden_channel():
    assert SE(8, reduction=16).fc[0].out_features == 1


def test_reduction_sets_the_hidden_width():
    assert SE(64, reduction=8).fc[0].out_features == 8
    with pytest.raises(ValueError, match="Expected `reduction` to be an integer of at least 1 but got 0"):
        SE(64, reduction=0)
