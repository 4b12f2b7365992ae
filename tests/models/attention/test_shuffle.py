import pytest
import torch

from models.attention import ShuffleAttention
from tests.support.reference import check, sigmoid

SHAPES = ((1, 16, 1, 1), (2, 16, 7, 7), (1, 240, 13, 21), (2, 32, 20, 20), (1, 16, 80, 80))


def reference_of(groups):
    def reference(x, p, training):
        _, channels, height, width = x.shape
        half = channels // (2 * groups)
        gated = []
        for c in range(channels):
            i, value = c % half, x[:, c]
            mean = value.sum((1, 2)) / (height * width)
            if (c // half) % 2 == 0:
                gate = sigmoid(p["cweight"][0, i, 0, 0] * mean + p["cbias"][0, i, 0, 0])[:, None, None]
            else:
                centred = value - mean[:, None, None]
                variance = (centred**2).sum((1, 2)) / (height * width)
                norm = centred / (variance[:, None, None] + 1e-5) ** 0.5 * p["gn.weight"][i] + p["gn.bias"][i]
                gate = sigmoid(p["sweight"][0, i, 0, 0] * norm + p["sbias"][0, i, 0, 0])
            gated.append(value * gate)
        shuffled = [gated[s * channels // 2 + j] for j in range(channels // 2) for s in range(2)]
        return torch.stack(shuffled, 1)

    return reference


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    # On one position the normalisation divides rounding noise by the root of its epsilon.
    check(
        ShuffleAttention(shape[1]), reference_of(8), shape, tolerances=(1e-5, 1e-5) if shape[2] == 1 else (1e-6, 1e-5)
    )


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (8, 4), (18, 3), (30, 5), (12, 2)])
def test_reference_of_other_groups(channels, groups):
    check(ShuffleAttention(channels, groups=groups), reference_of(groups), (2, channels, 5, 7))


def test_names_and_shapes_of_the_release():
    state = ShuffleAttention(64).state_dict()
    scales = {name: (1, 4, 1, 1) for name in ("cweight", "cbias", "sweight", "sbias")}
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        **scales,
        "gn.weight": (4,),
        "gn.bias": (4,),
    }
    starts = {"cweight": 0.0, "cbias": 1.0, "sweight": 0.0, "sbias": 1.0, "gn.weight": 1.0, "gn.bias": 0.0}
    for name, start in starts.items():
        torch.testing.assert_close(state[name], torch.full_like(state[name], start))


@pytest.mark.parametrize(("channels", "nearest"), [(24, 32), (8, 16), (100, 96), (255, 256)])
def test_channels_that_cannot_be_split(channels, nearest):
    with pytest.raises(ValueError, match=rf"multiple of 2 \* groups = 16 but got {channels}.* {nearest}"):
        ShuffleAttention(channels)


def test_identity_start_keeps_the_order_of_the_channels_while_training():
    module = ShuffleAttention(16, groups=2, start="identity")
    x = torch.randn(2, 16, 5, 5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(x).square().mean().backward()
    optimizer.step()
    ratio = module(x) / x
    assert bool((ratio > 0.5).all())
    assert bool((ratio < 1.5).all())
    assert not torch.equal(module(x), x)
