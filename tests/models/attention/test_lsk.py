import pytest
import torch

from models.attention import LSKBlock
from tests.support.pieces import channels, count, depthwise
from tests.support.reference import check, convolution, sigmoid


def reference(x, p, training):
    near = depthwise(x, p["conv0.weight"], p["conv0.bias"])
    far = depthwise(near, p["conv_spatial.weight"], p["conv_spatial.bias"], dilation=3)
    near = channels(p["conv1.weight"], p["conv1.bias"], near)
    far = channels(p["conv2.weight"], p["conv2.bias"], far)
    both = torch.cat([near, far], 1)
    pooled = torch.stack([both.mean(1), both.max(1).values], 1)
    m = sigmoid(convolution(pooled, p["conv_squeeze.weight"], p["conv_squeeze.bias"]))
    return x * channels(p["conv.weight"], p["conv.bias"], near * m[:, :1] + far * m[:, 1:])


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 2, 20, 20), (1, 1, 4, 3)])
def test_reference(shape):
    check(LSKBlock(shape[1]), reference, shape, tolerances=(3e-6, 5e-5))


def test_count():
    assert count(LSKBlock(512)) == 433350


def test_large_values_saturate_in_float16():
    module = LSKBlock(8)
    x = (torch.randn(1, 8, 5, 5) * 1e4).half()
    with torch.autocast("cpu", torch.float16):
        y = module(x)
    assert y.dtype == torch.float16
    assert y.isfinite().all()
