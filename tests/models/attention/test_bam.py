import pytest
import torch

from models.attention import BAM
from tests.support.reference import SHAPES, batch_norm, check, convolution, sigmoid


def linear(x, p, name):
    return torch.einsum("oi,bi->bo", p[f"{name}.weight"], x) + p[f"{name}.bias"]


def conv(x, p, name, dilation=1):
    return convolution(x, p[f"{name}.weight"], p[f"{name}.bias"], dilation)


def reference(x, p, training, dilation=2):
    c = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    for i in range(3):
        c = batch_norm(linear(c, p, f"ca.ca.fc{i}"), p, f"ca.ca.bn{i}", training).clamp(min=0)
    c = linear(c, p, "ca.ca.last_fc")[:, :, None, None]
    t = batch_norm(conv(x, p, "sa.sa.conv_reduce1"), p, "sa.sa.bn_reduce1", training).clamp(min=0)
    for i in range(3):
        t = batch_norm(conv(t, p, f"sa.sa.conv_{i}", dilation), p, f"sa.sa.bn_{i}", training).clamp(min=0)
    return x * (1 + sigmoid(conv(t, p, "sa.sa.last_conv") + c))


def reference_of_the_authors(x, p, training):
    gate_c, gate_s = "channel_att.gate_c.gate_c", "spatial_att.gate_s.gate_s"
    c = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    c = batch_norm(linear(c, p, f"{gate_c}_fc_0"), p, f"{gate_c}_bn_1", training).clamp(min=0)
    c = linear(c, p, f"{gate_c}_fc_final")[:, :, None, None]
    t = batch_norm(conv(x, p, f"{gate_s}_conv_reduce0"), p, f"{gate_s}_bn_reduce0", training).clamp(min=0)
    for i in range(2):
        t = batch_norm(conv(t, p, f"{gate_s}_conv_di_{i}", 4), p, f"{gate_s}_bn_di_{i}", training).clamp(min=0)
    return x * (1 + sigmoid(c * conv(t, p, f"{gate_s}_conv_final")))


# With two images the first channel normalisation divides by half the difference of two values; where that is small,
# float32 rounding of the means is amplified. The gradients before it need that room.
TRAINING = (1e-4, 2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(BAM(shape[1]), reference, shape)


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 16, 7, 7), (3, 33, 13, 21)])
def test_reference_in_training(shape):
    check(BAM(shape[1]), reference, shape, training=True, tolerances=TRAINING)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (3, 16, 7, 7), (2, 33, 13, 21)])
def test_reference_of_the_authors(shape, training):
    tolerances = TRAINING if training else (1e-6, 1e-5)
    check(BAM(shape[1], variant="authors"), reference_of_the_authors, shape, training=training, tolerances=tolerances)


def test_dilation_pads_by_itself():
    def dilated(x, p, training):
        return reference(x, p, training, dilation=3)

    check(BAM(16, dilation=3, reduction=4), dilated, (2, 16, 7, 9))


def test_names_and_shapes_of_the_release():
    shapes = {name: tuple(value.shape) for name, value in BAM(64).named_parameters()}
    expected = {
        "ca.ca.fc0.weight": (4, 64),
        "ca.ca.fc1.weight": (4, 4),
        "ca.ca.fc2.weight": (4, 4),
        "ca.ca.last_fc.weight": (64, 4),
        "ca.ca.last_fc.bias": (64,),
        "sa.sa.conv_reduce1.weight": (4, 64, 1, 1),
        "sa.sa.last_conv.weight": (1, 4, 1, 1),
        "sa.sa.last_conv.bias": (1,),
        **{f"ca.ca.fc{i}.bias": (4,) for i in range(3)},
        **{f"ca.ca.bn{i}.{kind}": (4,) for i in range(3) for kind in ("weight", "bias")},
        **{f"sa.sa.conv_{i}.weight": (4, 4, 3, 3) for i in range(3)},
        **{f"sa.sa.{layer}.bias": (4,) for layer in ("conv_reduce1", "conv_0", "conv_1", "conv_2")},
        **{f"sa.sa.bn_{i}.{kind}": (4,) for i in ("reduce1", 0, 1, 2) for kind in ("weight", "bias")},
    }
    assert shapes == expected
