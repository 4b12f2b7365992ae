import pytest
import torch

from models.attention import CBAM
from tests.support.reference import SHAPES, batch_norm, check, convolution, sigmoid


def channel_gate(x, first, first_bias, second, second_bias):
    logit = 0
    for pooled in (x.flatten(2).max(2).values, x.sum((2, 3)) / (x.shape[2] * x.shape[3])):
        hidden = (torch.einsum("hc,bc->bh", first, pooled) + first_bias).clamp(min=0)
        logit = logit + torch.einsum("ch,bh->bc", second, hidden) + second_bias
    return sigmoid(logit)[:, :, None, None]


def pool_channels(y):
    return torch.stack([y.max(1).values, y.sum(1) / y.shape[1]], 1)


def reference(x, p, training):
    y = x * channel_gate(x, p["ca.se.0.weight"][:, :, 0, 0], 0, p["ca.se.2.weight"][:, :, 0, 0], 0)
    return y * sigmoid(convolution(pool_channels(y), p["sa.conv.weight"], p["sa.conv.bias"])) + x


def reference_without_residual(x, p, training):
    return reference(x, p, training) - x


def reference_of_the_authors(x, p, training):
    mlp = (p[f"ChannelGate.mlp.{name}"] for name in ("1.weight", "1.bias", "3.weight", "3.bias"))
    y = x * channel_gate(x, *mlp)
    z = convolution(pool_channels(y), p["SpatialGate.spatial.conv.weight"], None)
    return y * sigmoid(batch_norm(z, p, "SpatialGate.spatial.bn", training))


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(CBAM(shape[1]), reference, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_reference_without_residual(shape):
    check(CBAM(shape[1], residual=False, kernel_size=3, reduction=4), reference_without_residual, shape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 16, 7, 7), (1, 33, 13, 21)])
def test_reference_of_the_authors(shape, training):
    check(CBAM(shape[1], variant="authors"), reference_of_the_authors, shape, training=training)


def test_a_tie_sends_the_gradient_of_the_maximum_to_one_element():
    module = CBAM(4)
    x = torch.ones(1, 4, 3, 3, requires_grad=True)
    module(x).sum().backward()
    assert len(x.grad[0, 0].unique()) > 1


def test_names_and_shapes_of_the_release():
    shapes = {name: tuple(value.shape) for name, value in CBAM(64).state_dict().items()}
    assert shapes == {
        "ca.se.0.weight": (4, 64, 1, 1),
        "ca.se.2.weight": (64, 4, 1, 1),
        "sa.conv.weight": (1, 2, 7, 7),
        "sa.conv.bias": (1,),
    }


def test_order_shapes_and_start_of_the_authors():
    module = CBAM(64, variant="authors")
    shapes = [tuple(value.shape) for value in module.state_dict().values()]
    assert shapes == [(4, 64), (4,), (64, 4), (64,), (1, 2, 7, 7), (1,), (1,), (1,), (1,), ()]
    assert not module.residual
    assert CBAM(64).residual
    assert module.SpatialGate["spatial"].bn.weight.tolist() == [0.0]
    assert module.SpatialGate["spatial"].bn.momentum == 0.01


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="Expected `kernel_size` to be odd but got 8; try 7 or 9"):
        CBAM(16, kernel_size=8)
