import math

import pytest
import torch

from models.attention import BiLevelRoutingAttention
from tests.support.pieces import channels, count, depthwise
from tests.support.reference import check, randomise, softmax


def windows_of(height, width, n):
    """Positions of each of the n x n windows, without any padding; some are empty on small maps."""
    rows, columns = math.ceil(height / n), math.ceil(width / n)
    return [
        [
            (i, j)
            for i in range(a * rows, min((a + 1) * rows, height))
            for j in range(b * columns, min((b + 1) * columns, width))
        ]
        for a in range(n)
        for b in range(n)
    ]


def reference_with(n, heads, topk):
    def reference(x, p, training):
        batch, depth, height, width = x.shape
        qkv = channels(p["qkv.qkv.weight"], p["qkv.qkv.bias"], x)
        q, k, v = qkv.chunk(3, 1)
        windows = [places for places in windows_of(height, width, n) if places]
        out = torch.zeros_like(x)
        pieces = {}
        for b in range(batch):
            means = [[sum(t[b, :, i, j] for i, j in w) / len(w) for w in windows] for t in (q, k)]
            for at, window in enumerate(windows):
                scores = [float((means[0][at] @ means[1][other]).detach()) for other in range(len(windows))]
                chosen = sorted(range(len(windows)), key=lambda other: -scores[other])[:topk]
                keys = [place for other in chosen for place in windows[other]]
                key = torch.stack([k[b, :, i, j] for i, j in keys]).view(len(keys), heads, -1)
                value = torch.stack([v[b, :, i, j] for i, j in keys]).view(len(keys), heads, -1)
                for i, j in window:
                    logits = torch.einsum("hd,khd->hk", q[b, :, i, j].view(heads, -1), key) / depth**0.5
                    pieces[b, i, j] = torch.einsum("hk,khd->hd", softmax(logits, 1), value).flatten()
        out = torch.stack(
            [torch.stack([pieces[b, i, j] for i in range(height) for j in range(width)], 1) for b in range(batch)]
        ).view(x.shape)
        out = out + depthwise(v, p["lepe.weight"], p["lepe.bias"])
        return channels(p["wo.weight"], p["wo.bias"], out)

    return reference


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 8, 7, 7), (1, 16, 13, 9), (1, 8, 2, 10), (1, 8, 14, 14)])
def test_reference(shape):
    check(BiLevelRoutingAttention(shape[1]), reference_with(7, 8, 4), shape, tolerances=(5e-6, 5e-5))


@pytest.mark.parametrize("size", [(6, 6), (5, 7), (1, 3), (2, 8)])
def test_reference_with_options(size):
    module = BiLevelRoutingAttention(6, n_win=3, heads=2, topk=2)
    check(module, reference_with(3, 2, 2), (2, 6, *size), tolerances=(5e-6, 5e-5))


def test_all_windows_are_plain_attention():
    module = randomise(BiLevelRoutingAttention(8, n_win=2, topk=99)).eval()
    assert module.topk == 4
    one = BiLevelRoutingAttention(8, n_win=1, topk=1).eval()
    one.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(module(x), one(x), rtol=1e-5, atol=1e-5)


def test_padding_takes_no_part():
    # The release pads before the projections, so that the biases become tokens.
    module = randomise(BiLevelRoutingAttention(8, n_win=4, heads=2, topk=16)).eval()
    plain = BiLevelRoutingAttention(8, n_win=1, heads=2, topk=1).eval()
    plain.load_state_dict(module.state_dict())
    x = torch.randn(1, 8, 5, 6)
    torch.testing.assert_close(module(x), plain(x), rtol=1e-5, atol=1e-5)


def test_without_padding_other_sizes_are_refused():
    module = BiLevelRoutingAttention(8, n_win=3, auto_pad=False)
    assert module(torch.randn(1, 8, 6, 9)).shape == (1, 8, 6, 9)
    with pytest.raises(ValueError, match="Expected a map that divides into 3 windows per side but got 6x8"):
        module(torch.randn(1, 8, 6, 8))


def test_count_and_names():
    assert count(BiLevelRoutingAttention(512)) == 1055744
    assert {"lepe.weight", "qkv.qkv.weight", "wo.bias"} <= set(BiLevelRoutingAttention(8).state_dict())
    with pytest.raises(ValueError, match="multiple of heads = 8 but got 100; the nearest that works is 96"):
        BiLevelRoutingAttention(100)
