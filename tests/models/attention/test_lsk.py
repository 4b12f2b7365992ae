import pytest
import torch

from models.attention import LSKBlock
from tests.support.pieces import count
from tests.support.reference import check, published


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 2, 20, 20), (1, 1, 4, 3)])
def test_reference(shape):
    check(LSKBlock(shape[1]), published("LSKBlock", shape[1]), shape, tolerances=(3e-6, 5e-5))


def test_count():
    assert count(LSKBlock(512)) == 433350


def test_large_values_saturate_in_float16():
    module = LSKBlock(8)
    x = (torch.randn(1, 8, 5, 5) * 1e4).half()
    with torch.autocast("cpu", torch.float16):
        y = module(x)
    assert y.dtype == torch.float16
    assert y.isfinite().all()
