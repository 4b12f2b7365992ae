import pytest

from models.attention import EffectiveSE
from tests.support.pieces import channels, count
from tests.support.reference import SHAPES, check


def reference(x, p, training):
    pooled = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    return x * gate(p, pooled)


def reference_with_maximum(x, p, training):
    return x * gate(p, (x.mean((2, 3)) + x.flatten(2).max(2).values) / 2)


def gate(p, pooled):
    z = channels(p["fc.weight"], p["fc.bias"], pooled)
    return (z / 6 + 0.5).clamp(0, 1)[:, :, None, None]


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(EffectiveSE(shape[1]), reference, shape)


@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_reference_with_maximum(shape):
    check(EffectiveSE(shape[1], add_maxpool=True), reference_with_maximum, shape)


def test_count_and_names_of_the_release():
    module = EffectiveSE(512)
    assert count(module) == 262656
    assert {key: tuple(v.shape) for key, v in module.state_dict().items()} == {
        "fc.weight": (512, 512, 1, 1),
        "fc.bias": (512,),
    }
