import pytest
import torch

from models.attention import DoubleAttention, attention_maps
from tests.support.pieces import channels, count, positions
from tests.support.reference import check, randomise, softmax


def reference(x, p, training):
    a, b, v = (positions(channels(p[f"conv{n}.weight"], p[f"conv{n}.bias"], x)) for n in "ABV")  # (B, N, .)
    gather, distribute = softmax(b, 1), softmax(v, 2)
    descriptors = torch.einsum("bnm,bnk->bmk", a, gather)
    z = torch.einsum("bmk,bnk->bmn", descriptors, distribute).unflatten(2, x.shape[2:])
    if "conv_reconstruct.weight" in p:
        z = channels(p["conv_reconstruct.weight"], p["conv_reconstruct.bias"], z)
    return z


@pytest.mark.parametrize(
    "shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 3, 20, 20), (1, 4, 1, 7), (2, 24, 3, 5)]
)
def test_reference(shape):
    check(DoubleAttention(shape[1], c_m=6, c_n=7), reference, shape, tolerances=(2e-6, 3e-5))


def test_reference_without_reconstruction():
    check(DoubleAttention(6, c_m=6, c_n=5, reconstruct=False), reference, (2, 6, 5, 4), tolerances=(2e-6, 3e-5))


def test_batch_mates_do_not_matter():
    # The release's softmax runs over the batch: with a batch of one, every weight is 1.
    module = randomise(DoubleAttention(16)).eval()
    x = torch.randn(4, 16, 6, 5)
    torch.testing.assert_close(module(x)[2:3], module(x[2:3]), rtol=1e-5, atol=1e-6)


def test_the_affinity_of_a_position_sums_to_one():
    affinity = attention_maps(DoubleAttention(16), torch.randn(2, 16, 6, 5))[""]["affinity"]
    torch.testing.assert_close(affinity.sum((1, 2, 3)), torch.ones(2))


def test_count_and_widths():
    assert count(DoubleAttention(512)) == 263040
    with pytest.raises(ValueError, match="Expected `c_m` to be the channels 64 without reconstruct but got 128"):
        DoubleAttention(64, reconstruct=False)
