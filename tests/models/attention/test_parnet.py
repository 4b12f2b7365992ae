import pytest

from models.attention import ParNetAttention
from tests.support.pieces import channels, count, silu
from tests.support.reference import batch_norm, check, convolution, sigmoid


def branches(x, p, training):
    one = batch_norm(channels(p["conv1x1.0.weight"], p["conv1x1.0.bias"], x), p, "conv1x1.1", training)
    three = batch_norm(convolution(x, p["conv3x3.0.weight"], p["conv3x3.0.bias"]), p, "conv3x3.1", training)
    return one + three


def gated(x, p):
    return x * sigmoid(channels(p["sse.1.weight"], p["sse.1.bias"], x.mean((2, 3))))[:, :, None, None]


def reference(x, p, training):
    return silu(branches(x, p, training) + gated(x, p))


def reference_of_a_trained_identity_start(x, p, training):
    return silu(branches(x, p, training)) + 2 * gated(x, p)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 2, 20, 20)])
def test_reference(shape, training):
    check(ParNetAttention(shape[1]), reference, shape, training=training, tolerances=(3e-6, 1e-4))


def test_reference_of_a_trained_identity_start():
    module = ParNetAttention(5, start="identity")
    check(module, reference_of_a_trained_identity_start, (2, 5, 6, 7), tolerances=(3e-6, 1e-4))


def test_count_and_names_of_the_release():
    assert count(ParNetAttention(512)) == 2887168
    assert {"sse.1.weight", "conv1x1.0.weight", "conv3x3.1.running_mean"} <= set(ParNetAttention(8).state_dict())
