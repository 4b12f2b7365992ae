import pytest
import torch

from models.attention import GlobalContext
from tests.support.pieces import channels, count, normalise, positions
from tests.support.reference import SHAPES, check, sigmoid, softmax


def context(x, weight, bias):
    place = positions(x)  # (B, HW, C)
    share = softmax(place @ weight.flatten() + bias, 1)
    return torch.einsum("bn,bnc->bc", share, place)


def transform(v, p, first, norm, second, eps):
    hidden = normalise(channels(p[f"{first}.weight"], p[f"{first}.bias"], v), (1,), eps)
    hidden = hidden * p[f"{norm}.weight"].flatten() + p[f"{norm}.bias"].flatten()
    return channels(p[f"{second}.weight"], p[f"{second}.bias"], hidden.clamp(min=0))[:, :, None, None]


def reference(x, p, training):
    c = context(x, p["conv_attn.weight"], p["conv_attn.bias"])
    if "mlp_scale.fc1.weight" in p:
        x = x * sigmoid(transform(c, p, "mlp_scale.fc1", "mlp_scale.norm", "mlp_scale.fc2", 1e-6))
    if "mlp_add.fc1.weight" in p:
        x = x + transform(c, p, "mlp_add.fc1", "mlp_add.norm", "mlp_add.fc2", 1e-6)
    return x


def reference_of_the_authors(x, p, training):
    c = context(x, p["conv_mask.weight"], p["conv_mask.bias"])
    block = "channel_add_conv"
    return x + transform(c, p, f"{block}.0", f"{block}.1", f"{block}.3", 1e-5)


@pytest.mark.parametrize("shape", SHAPES[:4] + SHAPES[5:])
def test_reference(shape):
    check(GlobalContext(shape[1], ratio=0.5), reference, shape, tolerances=(5e-6, 5e-5))


@pytest.mark.parametrize("fusion", ["scale", "add", "both"])
def test_reference_of_each_fusion(fusion):
    check(GlobalContext(24, fusion=fusion), reference, (2, 24, 5, 6), tolerances=(5e-6, 5e-5))


def test_reference_of_the_authors():
    check(GlobalContext(24, variant="authors"), reference_of_the_authors, (2, 24, 5, 6), tolerances=(5e-6, 5e-5))


def test_the_authors_block_starts_as_the_identity():
    x = torch.randn(2, 24, 5, 6)
    assert torch.equal(GlobalContext(24, variant="authors")(x), x)


def test_names_and_count_of_the_releases():
    assert count(GlobalContext(512)) == 66753
    assert list(GlobalContext(64, fusion="add").state_dict()) == [
        "conv_attn.weight",
        "conv_attn.bias",
        *(f"mlp_add.{layer}.{kind}" for layer in ("fc1", "norm", "fc2") for kind in ("weight", "bias")),
    ]
    authors = GlobalContext(64, variant="authors").state_dict()
    assert {"conv_mask.weight", "channel_add_conv.0.weight", "channel_add_conv.3.bias"} <= set(authors)
    assert authors["channel_add_conv.1.weight"].shape == (8, 1, 1)


def test_the_authors_block_only_adds():
    with pytest.raises(ValueError, match="Expected `fusion` to be one of 'add' but got 'scale'"):
        GlobalContext(64, variant="authors", fusion="scale")
    with pytest.raises(ValueError, match=r"Expected `ratio` to be a number above 0\.0 and at most 1\.0 but got 2"):
        GlobalContext(64, ratio=2)
