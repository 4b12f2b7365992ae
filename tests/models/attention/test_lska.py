import pytest

from models.attention import LSKA
from tests.support.pieces import channels, count, depthwise
from tests.support.reference import check


def reference_with(dilation):
    def reference(x, p, training):
        a = depthwise(x, p["conv0h.weight"], p["conv0h.bias"])
        a = depthwise(a, p["conv0v.weight"], p["conv0v.bias"])
        a = depthwise(a, p["conv_spatial_h.weight"], p["conv_spatial_h.bias"], dilation)
        a = depthwise(a, p["conv_spatial_v.weight"], p["conv_spatial_v.bias"], dilation)
        return x * channels(p["conv1.weight"], p["conv1.bias"], a)

    return reference


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 2, 20, 20)])
def test_reference(shape):
    check(LSKA(shape[1]), reference_with(2), shape, tolerances=(3e-6, 5e-5))


@pytest.mark.parametrize(("size", "dilation"), [(11, 2), (23, 3), (35, 3), (41, 3), (53, 3)])
def test_reference_of_each_size(size, dilation):
    check(LSKA(3, kernel_size=size), reference_with(dilation), (1, 3, 13, 9), tolerances=(3e-6, 5e-5))


def test_counts():
    assert count(LSKA(512)) == 270848
    assert count(LSKA(512, kernel_size=23)) == 276992


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="Expected `kernel_size` to be one of 7, 11, 23, 35, 41, 53 but got 9"):
        LSKA(8, kernel_size=9)
