import pytest
import torch

from models.attention import GAM
from tests.support.reference import batch_norm, check, convolution, sigmoid

SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 65, 13, 21), (2, 24, 20, 20), (1, 8, 80, 80))


def grouped(x, weight, bias, groups):
    parts = zip(x.chunk(groups, 1), weight.chunk(groups), bias.chunk(groups), strict=True)
    return torch.cat([convolution(*part) for part in parts], 1)


def reference_of(with_sigmoid=False, groups=1, shuffle=False):
    def reference(x, p, training):
        hidden = torch.einsum("hc,bcyx->bhyx", p["channel_attention.0.weight"], x)
        hidden = (hidden + p["channel_attention.0.bias"].view(1, -1, 1, 1)).clamp(min=0)
        factor = torch.einsum("ch,bhyx->bcyx", p["channel_attention.2.weight"], hidden)
        factor = factor + p["channel_attention.2.bias"].view(1, -1, 1, 1)
        y = x * (sigmoid(factor) if with_sigmoid else factor)
        name = "spatial_attention"
        z = grouped(y, p[f"{name}.0.weight"], p[f"{name}.0.bias"], groups)
        z = batch_norm(z, p, f"{name}.1", training).clamp(min=0)
        z = grouped(z, p[f"{name}.3.weight"], p[f"{name}.3.bias"], groups)
        gate = sigmoid(batch_norm(z, p, f"{name}.4", training))
        if shuffle:
            size = x.shape[1] // groups
            gate = torch.stack([gate[:, g * size + j] for j in range(size) for g in range(groups)], 1)
        return y * gate

    return reference


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(GAM(shape[1]), reference_of(), shape)


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 16, 7, 7)])
def test_reference_in_training(shape):
    check(GAM(shape[1]), reference_of(), shape, training=True, tolerances=(1e-5, 1e-4))


def test_reference_with_the_papers_sigmoid():
    check(GAM(16, sigmoid=True, rate=2), reference_of(with_sigmoid=True), (2, 16, 5, 7))


@pytest.mark.parametrize("shuffle", [False, True])
def test_reference_with_groups(shuffle):
    check(GAM(32, groups=4, shuffle=shuffle), reference_of(groups=4, shuffle=shuffle), (2, 32, 5, 7))


def test_names_and_shapes_of_the_release():
    shapes = {name: tuple(value.shape) for name, value in GAM(64).named_parameters()}
    assert shapes == {
        "channel_attention.0.weight": (16, 64),
        "channel_attention.0.bias": (16,),
        "channel_attention.2.weight": (64, 16),
        "channel_attention.2.bias": (64,),
        "spatial_attention.0.weight": (16, 64, 7, 7),
        "spatial_attention.0.bias": (16,),
        "spatial_attention.1.weight": (16,),
        "spatial_attention.1.bias": (16,),
        "spatial_attention.3.weight": (64, 16, 7, 7),
        "spatial_attention.3.bias": (64,),
        "spatial_attention.4.weight": (64,),
        "spatial_attention.4.bias": (64,),
    }


def test_identity_start_with_the_papers_sigmoid():
    module = GAM(16, sigmoid=True, start="identity").eval()
    x = torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(module(x), x, rtol=0, atol=0)


def test_groups_that_do_not_divide():
    with pytest.raises(
        ValueError, match=r"`groups` = 4 to divide `channels` and channels // rate but got 20 and 5; .* 16"
    ):
        GAM(20, groups=4)
    with pytest.raises(ValueError, match="`groups` of at least 2 with `shuffle`"):
        GAM(16, shuffle=True)
