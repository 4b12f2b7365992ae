import pytest
import torch

from models.attention import S2Attention
from models.attention.s2 import shift
from tests.support.pieces import channels, count, gelu
from tests.support.reference import check, softmax

FIRST = ((1, 0), (-1, 0), (0, 1), (0, -1))  # rows and columns by which each quarter of the channels moves
SECOND = ((0, 1), (0, -1), (1, 0), (-1, 0))


def moved(x, moves):
    """Every position reads the one it came from, or itself at the border."""
    _, depth, height, width = x.shape
    planes = []
    for c in range(depth):
        quarter = [low <= c < high for low, high in zip(BOUNDS(depth)[:-1], BOUNDS(depth)[1:], strict=True)].index(True)
        down, right = moves[quarter]
        origins = []
        for i in range(height):
            for j in range(width):
                from_i, from_j = i - down, j - right
                inside = 0 <= from_i < height and 0 <= from_j < width
                origins.append(from_i * width + from_j if inside else i * width + j)
        planes.append(x[:, c].flatten(1)[:, origins].view(-1, height, width))
    return torch.stack(planes, 1)


def BOUNDS(depth):  # noqa: N802
    return [0, depth // 4, depth // 2, depth * 3 // 4, depth]


def reference(x, p, training):
    depth = x.shape[1]
    y = channels(p["mlp1.weight"], p["mlp1.bias"], x)
    copies = torch.stack([moved(y[:, :depth], FIRST), moved(y[:, depth : 2 * depth], SECOND), y[:, 2 * depth :]], 1)
    total = copies.sum((1, 3, 4))
    hidden = gelu(channels(p["split_attention.mlp1.weight"], None, total))
    weight = softmax(channels(p["split_attention.mlp2.weight"], None, hidden).view(-1, 3, depth), 1)
    return channels(p["mlp2.weight"], p["mlp2.bias"], torch.einsum("bkc,bkchw->bchw", weight, copies))


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 5, 11), (2, 1, 3, 4), (1, 4, 1, 6), (1, 3, 6, 1)])
def test_reference(shape):
    check(S2Attention(shape[1]), reference, shape, tolerances=(5e-6, 1e-4))


@pytest.mark.parametrize("moves", [FIRST, SECOND])
def test_the_shift_moves_by_one_position_and_smears_nothing(moves):
    x = torch.arange(2 * 8 * 4 * 5.0).view(2, 8, 4, 5)
    before = x.clone()
    axes = tuple((2, down) if down else (3, right) for down, right in moves)
    torch.testing.assert_close(shift(x, axes), moved(x, moves), rtol=0, atol=0)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_the_release_shift_smears():
    # What the published in-place assignment does: each row is overwritten before the next one reads it.
    rows = list(range(4))
    for i in range(1, 4):
        rows[i] = rows[i - 1]
    assert rows == [0, 0, 0, 0]
    x = torch.arange(4.0).view(1, 1, 4, 1).repeat(1, 4, 1, 1)
    assert shift(x, ((2, 1),) * 4)[0, 0].flatten().tolist() == [0, 0, 1, 2]


def test_any_channels_and_count():
    assert count(S2Attention(512)) == 2099200
    assert S2Attention(48)(torch.randn(1, 48, 4, 4)).shape == (1, 48, 4, 4)


def test_sums_over_a_large_map_stay_finite_in_float16():
    with torch.autocast("cpu", torch.float16):
        y = S2Attention(4)((torch.rand(1, 4, 80, 80) * 1e3).half())
    assert y.isfinite().all()
