import pytest
import torch

from models.attention import EMA
from tests.support.pieces import channels, count, normalise
from tests.support.reference import check, convolution, sigmoid, softmax


def reference_with(groups):
    def reference(x, p, training):
        outputs = []
        for part in x.chunk(groups, 1):
            height, width = part.shape[2:]
            row = sigmoid(channels(p["conv1x1.weight"], p["conv1x1.bias"], part.sum(3) / width))
            column = sigmoid(channels(p["conv1x1.weight"], p["conv1x1.bias"], part.sum(2) / height))
            gated = torch.einsum("bchw,bch,bcw->bchw", part, row, column)
            u = normalise(gated, (2, 3), 1e-5) * p["gn.weight"].view(-1, 1, 1) + p["gn.bias"].view(-1, 1, 1)
            v = convolution(part, p["conv3x3.weight"], p["conv3x3.bias"])
            m = torch.einsum("bc,bchw->bhw", softmax(u.mean((2, 3)), 1), v)
            m = m + torch.einsum("bc,bchw->bhw", softmax(v.mean((2, 3)), 1), u)
            outputs.append(part * sigmoid(m).unsqueeze(1))
        return torch.cat(outputs, 1)

    return reference


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 24, 7, 7), (1, 40, 13, 21), (2, 16, 20, 20), (1, 16, 5, 1)])
def test_reference(shape):
    check(EMA(shape[1]), reference_with(8), shape, tolerances=(2e-6, 3e-5))


@pytest.mark.parametrize("factor", [1, 3])
def test_reference_with_other_groups(factor):
    check(EMA(9, factor=factor), reference_with(factor), (2, 9, 5, 6), tolerances=(2e-6, 3e-5))
    assert EMA(9, factor=1).train()(torch.randn(1, 9, 1, 1)).isfinite().all()


def test_parameter_counts():
    assert count(EMA(512)) == 41216
    assert count(EMA(512, factor=32)) == 2624


def test_a_refusal_names_channels_that_work():
    with pytest.raises(ValueError, match="multiple of factor = 8 but got 100; the nearest that works is 96"):
        EMA(100)
