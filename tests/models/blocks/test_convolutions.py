"""The blocks against slow references written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolutions import (
    C3,
    Bottleneck,
    BottleneckCSP,
    Contract,
    Conv,
    DWConv,
    Expand,
    Focus,
    same_padding,
)
from models.blocks.ghost import C3Ghost, GhostBottleneck, GhostConv
from models.blocks.pooling import C3SPP, SPP, SPPF
from models.blocks.transformer import C3TR


def lively(module: nn.Module) -> nn.Module:
    """The module in eval mode, in float64, with normalisations that do something."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return module.double().eval()


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def conv_by_loops(module: Conv, x: Tensor) -> Tensor:
    """One image through a Conv with groups, pixel by pixel."""
    conv, norm = module.conv, module.bn
    k, s, p, d, g = conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.dilation[0], conv.groups
    c1, c2 = conv.in_channels, conv.out_channels
    padded = torch.zeros(c1, x.shape[2] + 2 * p, x.shape[3] + 2 * p, dtype=x.dtype)
    padded[:, p : p + x.shape[2], p : p + x.shape[3]] = x[0]
    height = (padded.shape[1] - d * (k - 1) - 1) // s + 1
    width = (padded.shape[2] - d * (k - 1) - 1) // s + 1
    out = torch.zeros(1, c2, height, width, dtype=x.dtype)
    for o in range(c2):
        first = o // (c2 // g) * (c1 // g)
        for i in range(height):
            for j in range(width):
                patch = padded[
                    first : first + c1 // g, i * s : i * s + d * (k - 1) + 1 : d, j * s : j * s + d * (k - 1) + 1 : d
                ]
                y = (patch * conv.weight[o]).sum()
                out[0, o, i, j] = (y - norm.running_mean[o]) / (norm.running_var[o] + norm.eps).sqrt() * norm.weight[o]
    return silu(out)


@pytest.mark.parametrize(("k", "s", "g", "d"), [(1, 1, 1, 1), (3, 1, 1, 1), (3, 2, 2, 1), (6, 2, 1, 1), (3, 1, 1, 2)])
def test_conv(k: int, s: int, g: int, d: int) -> None:
    module, x = lively(Conv(4, 6, k, s, 2 if k == 6 else None, g, d)), maps(1, 4, 8, 6)
    torch.testing.assert_close(module(x), conv_by_loops(module, x))
    assert module(x).shape == (1, 6, 8 // s, 6 // s)


def test_conv_fused() -> None:
    module, x = lively(Conv(4, 6, 3)), maps(2, 4, 5, 5)
    expected = module(x)
    module.fuse()
    assert module.conv.bias is not None
    torch.testing.assert_close(module(x), expected)


def test_padding_keeps_the_size() -> None:
    assert [same_padding(k) for k in (1, 3, 5, 7)] == [0, 1, 2, 3]
    assert same_padding(3, 2) == 2
    assert same_padding((1, 3)) == (0, 1)


def test_activation_of_a_conv() -> None:
    x = maps(1, 2, 3, 3)
    plain = lively(Conv(2, 2, act=False))
    assert plain(x).min() < -0.3  # below the least value of SiLU
    assert lively(Conv(2, 2, act=nn.ReLU()))(x).min() >= 0


def test_depthwise_groups() -> None:
    assert DWConv(8, 12, 3).conv.groups == 4
    assert DWConv(8, 8, 3).conv.groups == 8


def test_focus_takes_every_pixel_of_a_cell() -> None:
    module, x = lively(Focus(1, 4, act=False)), maps(1, 1, 4, 6)
    module.conv.conv.weight.data = torch.eye(4, dtype=torch.float64).view(4, 4, 1, 1)
    module.conv.bn = nn.Identity()
    expected = torch.zeros(1, 4, 2, 3, dtype=torch.float64)
    for i in range(2):
        for j in range(3):
            corners = [(0, 0), (1, 0), (0, 1), (1, 1)]  # row, column
            expected[0, :, i, j] = torch.stack([x[0, 0, 2 * i + a, 2 * j + b] for a, b in corners])
    torch.testing.assert_close(module(x), expected)


def test_contract_and_expand_are_inverse() -> None:
    x = maps(2, 3, 4, 6)
    small = Contract(2)(x)
    assert small.shape == (2, 12, 2, 3)
    # Channel 3 * position + c, the position of a pixel in its cell counted by rows.
    assert small[1, 3 * 2 + 1, 1, 2] == x[1, 1, 2 * 1 + 1, 2 * 2 + 0]
    torch.testing.assert_close(Expand(2)(small), x)


def test_bottleneck_adds_where_channels_agree() -> None:
    x = maps(1, 4, 5, 5)
    with_shortcut, without = lively(Bottleneck(4, 4)), lively(Bottleneck(4, 4, shortcut=False))
    without.load_state_dict(with_shortcut.state_dict())
    torch.testing.assert_close(with_shortcut(x), x + without(x))
    assert lively(Bottleneck(4, 6))(x).shape == (1, 6, 5, 5)


def test_c3_by_hand() -> None:
    module, x = lively(C3(4, 8, 2)), maps(1, 4, 5, 5)
    y = module.cv1(x)
    for bottleneck in module.m:
        y = y + bottleneck.cv2(bottleneck.cv1(y))
    torch.testing.assert_close(module(x), module.cv3(torch.cat((y, module.cv2(x)), 1)))


def test_c3_with_attention_ends_each_bottleneck() -> None:
    class Half(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels

        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    module, x = lively(C3(4, 8, 1, attention=Half)), maps(1, 4, 5, 5)
    y = module.cv1(x)
    y = y + module.m[0].cv2(module.m[0].cv1(y)) / 2
    torch.testing.assert_close(module(x), module.cv3(torch.cat((y, module.cv2(x)), 1)))
    assert module.m[0].attention.channels == 4


def test_csp_by_hand() -> None:
    module, x = lively(BottleneckCSP(4, 8, 1)), maps(1, 4, 5, 5)
    inside = module.m(module.cv1(x))
    joined = torch.cat((F.conv2d(inside, module.cv3.weight), F.conv2d(x, module.cv2.weight)), 1)
    torch.testing.assert_close(module(x), module.cv4(silu(module.bn(joined))))
    relu = lively(BottleneckCSP(4, 8, 1, act=nn.ReLU()))
    relu.load_state_dict(module.state_dict())
    torch.testing.assert_close(relu(x), relu.cv4(relu.bn(joined).relu()))


def pool_by_loops(x: Tensor, k: int) -> Tensor:
    out = torch.empty_like(x)
    reach = k // 2
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            window = x[:, :, max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
            out[:, :, i, j] = window.amax((2, 3))
    return out


def test_spp_pools_side_by_side() -> None:
    module, x = lively(SPP(4, 6, (3, 5))), maps(2, 4, 7, 6)
    y = module.cv1(x)
    torch.testing.assert_close(module(x), module.cv2(torch.cat((y, pool_by_loops(y, 3), pool_by_loops(y, 5)), 1)))


def test_sppf_is_spp_with_5_9_13() -> None:
    fast, slow = lively(SPPF(4, 6, 5)), lively(SPP(4, 6, (5, 9, 13)))
    slow.load_state_dict(fast.state_dict())
    x = maps(2, 4, 9, 14)
    torch.testing.assert_close(fast(x), slow(x))


def test_c3spp_has_one_pyramid_inside() -> None:
    module, x = lively(C3SPP(8, 8, (3, 7))), maps(1, 8, 6, 6)
    assert [pool.kernel_size for pool in module.m.m] == [3, 7]
    torch.testing.assert_close(module(x), module.cv3(torch.cat((module.m(module.cv1(x)), module.cv2(x)), 1)))


def test_ghost_conv_makes_half_of_its_output_cheaply() -> None:
    module, x = lively(GhostConv(4, 8, 3, 2)), maps(1, 4, 8, 8)
    primary = conv_by_loops(module.cv1, x)
    torch.testing.assert_close(module(x), torch.cat((primary, conv_by_loops(module.cv2, primary)), 1))


@pytest.mark.parametrize("stride", [1, 2])
def test_ghost_bottleneck(stride: int) -> None:
    module, x = lively(GhostBottleneck(8, 8, 3, stride)), maps(1, 8, 6, 6)
    assert module(x).shape == (1, 8, 6 // stride, 6 // stride)
    inner, middle, outer = module.conv
    expected = outer(middle(inner(x))) + (module.shortcut(x) if stride == 2 else x)
    torch.testing.assert_close(module(x), expected)
    assert len(C3Ghost(8, 8, 2).m) == 2


def attention_by_loops(module: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(N, c) each, one image."""
    c, heads = module.embed_dim, module.num_heads
    parts = module.in_proj_weight.chunk(3)
    q, k, v = (t @ w.T + b for t, w, b in zip((q, k, v), parts, module.in_proj_bias.chunk(3), strict=True))
    out = torch.empty_like(q)
    for head in range(heads):
        cut = slice(head * c // heads, (head + 1) * c // heads)
        for i in range(len(q)):
            weights = torch.stack([(q[i, cut] * k[j, cut]).sum() / (c // heads) ** 0.5 for j in range(len(k))]).exp()
            out[i, cut] = sum(w * v[j, cut] for j, w in enumerate(weights)) / weights.sum()
    return out @ module.out_proj.weight.T + module.out_proj.bias


def test_transformer_stage_by_loops() -> None:
    module, x = lively(C3TR(8, 16, 1)), maps(1, 8, 3, 2)
    y = module.cv1(x)
    tokens = y[0].reshape(8, 6).T  # (positions, channels)
    tokens = tokens + tokens @ module.m.linear.weight.T + module.m.linear.bias
    layer = module.m.tr[0]
    q, k, v = (tokens @ linear.weight.T for linear in (layer.q, layer.k, layer.v))
    tokens = tokens + attention_by_loops(layer.ma, q, k, v)
    tokens = tokens + tokens @ layer.fc1.weight.T @ layer.fc2.weight.T
    inside = tokens.T.reshape(1, 8, 3, 2)
    torch.testing.assert_close(module(x), module.cv3(torch.cat((inside, module.cv2(x)), 1)))
