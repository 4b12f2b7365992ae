import pytest
import torch

from models.attention import CPCA
from tests.support.pieces import channels, count, depthwise, gelu
from tests.support.reference import check, sigmoid


def layer(p, name, v, function):
    return function(v, p[f"{name}.weight"], p[f"{name}.bias"])


def pointwise(v, weight, bias):
    return channels(weight, bias, v)


def reference(x, p, training):
    y = gelu(layer(p, "conv", x, pointwise))
    gate = 0
    for pooled in (y.mean((2, 3)), y.flatten(2).max(2).values):
        hidden = layer(p, "ca.fc1", pooled, pointwise).clamp(min=0)
        gate = gate + sigmoid(layer(p, "ca.fc2", hidden, pointwise))
    y = y * gate[:, :, None, None]
    local = layer(p, "dconv5_5", y, depthwise)
    spread = local
    for size in (7, 11, 21):
        across = layer(p, f"dconv1_{size}", local, depthwise)
        spread = spread + layer(p, f"dconv{size}_1", across, depthwise)
    return layer(p, "conv", layer(p, "conv", spread, pointwise) * y, pointwise)


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (1, 1, 3, 20)])
def test_reference(shape):
    check(CPCA(shape[1]), reference, shape, tolerances=(5e-6, 1e-4))


def test_reference_with_another_reduction():
    check(CPCA(6, reduction=2), reference, (2, 6, 5, 4), tolerances=(5e-6, 1e-4))


def test_count_and_names():
    module = CPCA(512)
    assert count(module) == 450688
    assert {"ca.fc1.weight", "ca.fc2.bias", "dconv1_21.weight", "dconv21_1.weight"} <= set(module.state_dict())


def test_large_values_stay_finite_in_float16():
    x = torch.randn(2, 16, 7, 7) * 1e4
    with torch.autocast("cpu", torch.float16):
        y = CPCA(16)(x.half())
    assert y.dtype == torch.float16
    assert y.isfinite().all()


def test_weights_of_half_precision_work():
    module = CPCA(8).half()
    x = torch.randn(1, 8, 5, 5).half()
    torch.testing.assert_close(module(x).float(), module.float()(x.float()), rtol=1e-2, atol=1e-2)
