import pytest
import torch

from models.attention import CAA
from tests.support.pieces import channels, count, depthwise, silu
from tests.support.reference import batch_norm, check, sigmoid


def smooth(x):
    """Mean over 7x7, zeros outside the map counted."""
    box = torch.full((x.shape[1], 1, 7, 7), 1 / 49, dtype=x.dtype)
    return depthwise(x, box, None)


def reference(x, p, training):
    z = smooth(x)
    z = silu(batch_norm(channels(p["conv1.conv.weight"], None, z), p, "conv1.bn", training))
    z = depthwise(z, p["h_conv.weight"], p["h_conv.bias"])
    z = depthwise(z, p["v_conv.weight"], p["v_conv.bias"])
    z = silu(batch_norm(channels(p["conv2.conv.weight"], None, z), p, "conv2.bn", training))
    return x * sigmoid(z)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 2, 20, 20)])
def test_reference(shape, training):
    check(CAA(shape[1]), reference, shape, training=training, tolerances=(3e-6, 1e-4))


def test_strips_have_their_own_lengths():
    module = CAA(4, h_kernel_size=3, v_kernel_size=5)
    assert module.h_conv.weight.shape == (4, 1, 1, 3)
    assert module.v_conv.weight.shape == (4, 1, 5, 1)
    check(module, reference, (2, 4, 6, 7), tolerances=(3e-6, 1e-4))
    with pytest.raises(ValueError, match="Expected `v_kernel_size` to be odd but got 6"):
        CAA(4, v_kernel_size=6)


def test_count_and_names():
    assert count(CAA(512)) == 538624
    assert {"conv1.conv.weight", "conv1.bn.weight", "h_conv.bias"} <= set(CAA(8).state_dict())
