import math

import pytest
import torch

from models.attention import DAttention
from tests.support.pieces import channels, count, depthwise, gelu, normalise, positions
from tests.support.reference import check, randomise, softmax


def read(plane, y, x):
    """Bilinear value of (K, H, W) at a fractional position, zero outside the map."""
    height, width = plane.shape[1:]
    top, left = math.floor(float(y.detach())), math.floor(float(x.detach()))
    value = 0
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < height and 0 <= j < width:
                value = value + plane[:, i, j] * (1 - (y - i).abs()) * (1 - (x - j).abs())
    return value if torch.is_tensor(value) else plane.new_zeros(plane.shape[0]) + 0 * (x + y)


def displaced(part, q, p, factor):
    """Sampling positions of one group, in pixels: rows and columns (B, H, W)."""
    _, _, height, width = part.shape
    z = depthwise(q, p["conv_offset.0.weight"], p["conv_offset.0.bias"])
    z = normalise(z, (1,), 1e-5)
    z = z * p["conv_offset.1.norm.weight"].view(-1, 1, 1) + p["conv_offset.1.norm.bias"].view(-1, 1, 1)
    offset = torch.tanh(channels(p["conv_offset.3.weight"], None, gelu(z))) * factor / 2
    rows = torch.arange(height, dtype=part.dtype)[:, None] + 0.5 + offset[:, 0]
    columns = torch.arange(width, dtype=part.dtype) + 0.5 + offset[:, 1]
    return rows * (height > 1), columns * (width > 1)


def reference_with(heads, groups, factor=4):
    def reference(x, p, training):
        batch, depth, height, width = x.shape
        q = channels(p["proj_q.weight"], p["proj_q.bias"], x)
        sampled = []
        for part, query in zip(x.chunk(groups, 1), q.chunk(groups, 1), strict=True):
            rows, columns = displaced(part, query, p, factor)
            sampled.append(
                torch.stack(
                    [
                        torch.stack([read(part[b], rows[b, i, j], columns[b, i, j]) for b in range(batch)])
                        for i in range(height)
                        for j in range(width)
                    ],
                    2,
                )
            )
        sampled = torch.cat(sampled, 1)  # (B, C, HW)
        k = channels(p["proj_k.weight"], p["proj_k.bias"], sampled).view(batch, heads, -1, height * width)
        v = channels(p["proj_v.weight"], p["proj_v.bias"], sampled).view(batch, heads, -1, height * width)
        queries = positions(q).unflatten(2, (heads, -1))
        logits = torch.einsum("bihd,bhdj->bhij", queries, k) / (depth // heads) ** 0.5
        out = torch.einsum("bhij,bhdj->bhdi", softmax(logits, 3), v).reshape(x.shape)
        if "rpe_table.weight" in p:
            out = out + depthwise(q, p["rpe_table.weight"], p["rpe_table.bias"])
        return channels(p["proj_out.weight"], p["proj_out.bias"], out)

    return reference


@pytest.mark.parametrize("shape", [(2, 8, 1, 1), (1, 8, 5, 4), (1, 16, 3, 7), (1, 8, 1, 6), (1, 8, 6, 1)])
def test_reference(shape):
    check(DAttention(shape[1]), reference_with(8, 4), shape, tolerances=(5e-6, 2e-4))


@pytest.mark.parametrize("depthwise_term", [True, False])
def test_reference_with_options(depthwise_term):
    module = DAttention(6, heads=2, groups=3, kernel_size=5, offset_range_factor=1.5, dwc_pe=depthwise_term)
    check(module, reference_with(2, 3, 1.5), (2, 6, 4, 5), tolerances=(5e-6, 2e-4))


def test_a_table_of_zeros_changes_nothing_and_another_does():
    plain = randomise(DAttention(8, dwc_pe=False)).eval()
    table = DAttention(8, dwc_pe=False, q_size=[5, 6]).eval()
    table.load_state_dict(plain.state_dict() | {"rpe_table": torch.zeros(8, 9, 11)})
    x = torch.randn(2, 8, 4, 7)
    torch.testing.assert_close(table(x), plain(x), rtol=1e-5, atol=1e-5)
    table.rpe_table.data[:] = torch.randn(8, 9, 11)
    assert (table(x) - plain(x)).abs().max() > 1e-3


def test_a_table_weights_positions_by_their_distance():
    # Only the entry for "same place" is large: each position attends to the sample that lies on it.
    module = DAttention(8, heads=1, groups=1, dwc_pe=False, q_size=[5, 5]).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        eye = torch.eye(8)[..., None, None]
        module.proj_v.weight.copy_(eye)
        module.proj_out.weight.copy_(eye)
        module.conv_offset[1].norm.bias.fill_(-0.6744897501960817)  # GELU(-0.6745) = -0.6745 * 0.25
        module.conv_offset[3].weight.fill_(math.atanh(0.25) / (0.6744897501960817 * 0.25) / 8)
        module.rpe_table[0, 4, 4] = 1e4
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(module(x), x, rtol=1e-3, atol=1e-3)


def test_one_row_is_finite_where_the_release_divides_by_zero():
    for size in ((1, 9), (9, 1), (1, 1)):
        x = torch.randn(2, 16, *size, requires_grad=True)
        y = DAttention(16)(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()


def test_count_and_names_of_the_release():
    module = DAttention(512, q_size=[20, 20])
    assert count(module) == 1057536
    assert {"conv_offset.1.norm.weight", "conv_offset.3.weight", "rpe_table.weight"} <= set(module.state_dict())
    table = DAttention(64, q_size=[20, 30], dwc_pe=False)
    assert table.rpe_table.shape == (8, 39, 59)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="multiple of heads and groups = 8 but got 100; the nearest that works is 96"):
        DAttention(100)
    with pytest.raises(ValueError, match=r"Expected `q_size` to be \[height, width\] but got \[20\]"):
        DAttention(64, q_size=[20])
    with pytest.raises(ValueError, match="Expected `q_size` to be an integer of at least 1 but got 0"):
        DAttention(64, q_size=[20, 0])
