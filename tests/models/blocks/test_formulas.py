"""The blocks of YOLOv5's relatives against slow forms of their published formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model
from models.blocks.deformable import DCNv2
from models.blocks.joins import BiFPNAdd, BiFPNConcat
from models.blocks.more_stages import SPPCSPC, C2f, MixConv2d, SimSPPF
from models.blocks.reparameterised import RepConv, RepVGGBlock
from models.blocks.resampling import CARAFE, SpaceToDepth
from models.blocks.slim_neck import GSBottleneck, GSConv, VoVGSCSP
from models.graph.checked import checked_spec
from models.insertion.insert import insert
from models.weights.transfer import transfer
from tests.support.model_layouts import layout


def lively(module):
    """In eval mode and float64, with every number away from where it begins."""
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return module.double().eval()


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_carafe_position_by_position():
    module, x = lively(CARAFE(4, 6, 3, 2, hidden=8)), maps(2, 4, 3, 5)
    logits = module.encoder(module.down(x))
    expected = torch.zeros(2, 4, 6, 10, dtype=torch.float64)
    for b, c, i, j, a, d in np.ndindex(2, 4, 3, 5, 2, 2):
        of_position = logits[b, :, i, j].reshape(9, 4)[:, 2 * a + d]  # the cell's position varies fastest
        weights = of_position.exp() / of_position.exp().sum()
        for n, (p, q) in enumerate((p, q) for p in (-1, 0, 1) for q in (-1, 0, 1)):
            if 0 <= i + p < 3 and 0 <= j + q < 5:
                expected[b, c, 2 * i + a, 2 * j + d] += weights[n] * x[b, c, i + p, j + q]
    torch.testing.assert_close(module(x), module.out(expected))


def test_space_to_depth_by_hand():
    x = maps(2, 3, 4, 6)
    y = SpaceToDepth()(x)
    assert y.shape == (2, 12, 2, 3)
    for cell, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        assert y[1, 3 * cell + 2, 1, 2] == x[1, 2, 2 + row, 4 + column]


def fast_fusion(weights):
    """Equation of section 3.3 of EfficientDet with its epsilon of 0.0001."""
    kept = [max(0.0, w) for w in weights]
    return [w / (sum(kept) + 0.0001) for w in kept]


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.3, -2.0, 1.5]])
def test_bifpn_weights_its_maps(weights):
    read = [maps(2, 4, 3, 5) for _ in weights]
    share = fast_fusion(weights)
    join, add = (lively(module) for module in (BiFPNConcat([4] * len(weights)), BiFPNAdd([4] * len(weights), 6)))
    for module in (join, add):
        module.w.data = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(join(read), torch.cat([w * x for w, x in zip(share, read, strict=True)], 1))
    total = sum(w * x for w, x in zip(share, read, strict=True))
    expected = torch.einsum("oc,bchw->bohw", add.conv.weight[:, :, 0, 0], total / (1 + torch.exp(-total)))
    torch.testing.assert_close(add(read), expected + add.conv.bias.view(1, -1, 1, 1))


@pytest.mark.parametrize("cls", [RepVGGBlock, RepConv])
@pytest.mark.parametrize(("c2", "k", "s", "g"), [(8, 3, 1, 1), (8, 3, 1, 4), (12, 3, 2, 1), (8, 5, 1, 2), (8, 3, 2, 8)])
def test_fused_branches_are_the_branches(cls, c2, k, s, g):
    module, x = lively(cls(8, c2, k, s, g)), maps(2, 8, 7, 6)
    dense, point = (branch.bn(branch.conv(x)) for branch in (module.rbr_dense, module.rbr_1x1))
    total = dense + point + (module.rbr_identity(x) if c2 == 8 and s == 1 else 0)
    expected = total.relu() if cls is RepVGGBlock else total * total.sigmoid()
    torch.testing.assert_close(module(x), expected)
    module.fuse()
    torch.testing.assert_close(module(x), expected)
    assert [name for name, _ in module.named_parameters()] == ["rbr_reparam.weight", "rbr_reparam.bias"]
    module.fuse()  # once is enough


def test_repvgg_has_the_names_of_its_release():
    keys = RepVGGBlock(8, 8).state_dict()
    assert {"rbr_identity.weight", "rbr_dense.conv.weight", "rbr_dense.bn.running_var", "rbr_1x1.conv.weight"} <= set(
        keys
    )


@pytest.mark.parametrize(("s", "g", "k"), [(1, 1, 3), (2, 1, 3), (1, 2, 3)])
def test_deformable_taps_by_loops(s, g, k):
    module, x = lively(DCNv2(4, 6, k, s, g=g, act=False)).float(), torch.randn(1, 4, 6, 7)
    nn.init.normal_(module.conv_offset_mask.weight, std=0.3)
    row, column, mask = module.conv_offset_mask(x).chunk(3, 1)
    high, wide = row.shape[2:]

    def at(c, r, q):
        """Bilinear, zeros outside."""
        total = torch.zeros(())
        for i in (math.floor(r), math.floor(r) + 1):
            for j in (math.floor(q), math.floor(q) + 1):
                if 0 <= i < 6 and 0 <= j < 7:
                    total = total + x[0, c, i, j] * (1 - abs(r - i)) * (1 - abs(q - j))
        return total

    expected = torch.zeros(1, 6, high, wide)
    with torch.no_grad():
        for o, i, j, t in np.ndindex(6, high, wide, k * k):
            a, b = divmod(t, k)
            r = i * s - k // 2 + a + float(row[0, t, i, j])
            q = j * s - k // 2 + b + float(column[0, t, i, j])
            for inside in range(4 // g):
                c = o // (6 // g) * (4 // g) + inside
                weight = module.conv.weight[o, inside, a, b] * mask[0, t, i, j].sigmoid()
                expected[0, o, i, j] += weight * at(c, r, q)
        torch.testing.assert_close(module(x), module.bn(expected), rtol=1e-4, atol=1e-4)
        offset = torch.stack((row, column), 2).flatten(1, 2)
        torch.testing.assert_close(
            module._sampled(x, offset, mask.sigmoid()),
            module._operator(x, offset, mask.sigmoid()),
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_new_deformable_convolution_is_half_a_plain_one():
    module, x = lively(DCNv2(4, 6, act=False)).float(), torch.randn(1, 4, 6, 7)
    torch.testing.assert_close(module(x), module.bn(module.conv(x) / 2), rtol=1e-4, atol=1e-5)


def test_gsconv_shuffles_pairs():
    module, x = lively(GSConv(4, 8, 3, 2)), maps(1, 4, 8, 8)
    y = module.cv1(x)
    both = torch.cat((y, module.cv2(y)), 1)
    torch.testing.assert_close(module(x), both[:, [0, 2, 4, 6, 1, 3, 5, 7]])
    with pytest.raises(ValueError, match="even number of output channels but got 7; try 8"):
        GSConv(4, 7)


def test_slim_neck_stage_by_hand():
    module, x = lively(VoVGSCSP(4, 8, 2)), maps(1, 4, 5, 5)
    y = module.cv1(x)
    for bottleneck in module.gsb:
        assert isinstance(bottleneck, GSBottleneck)
        y = bottleneck.conv_lighting[1](bottleneck.conv_lighting[0](y)) + bottleneck.shortcut(y)
    torch.testing.assert_close(module(x), module.cv3(torch.cat((module.cv2(x), y), 1)))


def test_c2f_by_hand():
    module, x = lively(C2f(4, 8, 2, True)), maps(1, 4, 5, 5)
    first, second = module.cv1(x).chunk(2, 1)
    third = second + module.m[0].cv2(module.m[0].cv1(second))
    fourth = third + module.m[1].cv2(module.m[1].cv1(third))
    torch.testing.assert_close(module(x), module.cv2(torch.cat((first, second, third, fourth), 1)))
    assert module.m[0].cv1.conv.kernel_size == (3, 3)


def test_poolings_of_the_relatives():
    x = maps(1, 8, 9, 7)
    assert SimSPPF(8, 8).cv1.act.__class__ is nn.ReLU
    module = lively(SPPCSPC(8, 8))
    y = module.cv4(module.cv3(module.cv1(x)))
    pooled, one = [y], y
    for _ in range(3):  # pools of 5, 9 and 13 are one of 5 applied one, two and three times
        one = nn.functional.max_pool2d(one, 5, 1, 2)
        pooled.append(one)
    y = module.cv6(module.cv5(torch.cat(pooled, 1)))
    torch.testing.assert_close(module(x), module.cv7(torch.cat((y, module.cv2(x)), 1)))


@pytest.mark.parametrize(
    ("c2", "k", "equal_ch", "widths"),
    [(64, (1, 3), True, [32, 32]), (63, (1, 3), True, [32, 31]), (64, (1, 3, 5), True, [22, 21, 21]),
     (64, (1, 3), False, [58, 6]), (128, (1, 3, 5), False, [112, 12, 4])],
)  # fmt: skip
def test_mixed_kernels_share_the_channels_as_in_yolov5(c2, k, equal_ch, widths):
    """The widths are what the original's MixConv2d makes; the last by its rule, whose rounding there gives 127."""
    module = MixConv2d(16, c2, k, equal_ch=equal_ch)
    assert [conv.out_channels for conv in module.m] == widths
    assert module(torch.rand(2, 16, 5, 5)).shape == (2, c2, 5, 5)
    with pytest.raises(ValueError, match="at least one channel for each of the kernels"):
        MixConv2d(16, 8, (1, 31), equal_ch=False)


@pytest.mark.parametrize("name", ["CBAMC3", "C3_CBAM", "Conv_CBAM"])
def test_weights_of_the_plain_block_arrive_in_one_with_attention(name):
    """And with the identity start nothing changes."""
    data = layout("yolov5", 2)
    row = 3 if name == "Conv_CBAM" else 4
    options = {"attention": {"CBAM": {"start": "identity"}}}
    base = build_model(checked_spec(data, "base.yaml"))
    data["backbone"][row][2] = {"CBAMC3": "AttentionC3", "C3_CBAM": "C3", "Conv_CBAM": "AttentionConv"}[name]
    data["backbone"][row][3].append(options)
    model = build_model(checked_spec(data, "mine.yaml"))
    report = transfer(model, base)
    assert {entry.target.split(".")[1] for entry in report.entries if entry.fate == "new"} == {str(row)}
    assert report.count("unused") == 0
    images = torch.rand(1, 3, 64, 64)
    for ours, theirs in zip(model.eval().raw(images), base.eval().raw(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_attention_goes_between_the_new_blocks_too():
    data = layout("yolov5", 2)
    data["backbone"][4][2] = "C2f"
    data["backbone"][9][2:] = ["SPPCSPC", [1024]]
    spec = insert(checked_spec(data, "c2f.yaml"), "SE@backbone.P3,backbone.sppf,neck.P3")
    assert [spec.layers[row].module for row in (5, 11)] == ["SE", "SE"]
    build_model(spec)
