import pytest
import torch

from models.attention import SKAttention
from tests.support.pieces import channels, count, grouped
from tests.support.reference import batch_norm, check, softmax


def reference_with(kernels, groups):
    def reference(x, p, training):
        branches = []
        for k in range(len(kernels)):
            u = grouped(x, p[f"convs.{k}.conv.weight"], p[f"convs.{k}.conv.bias"], groups)
            branches.append(batch_norm(u, p, f"convs.{k}.bn", training).clamp(min=0))
        hidden = channels(p["fc.weight"], p["fc.bias"], sum(branches).mean((2, 3)))
        logits = [channels(p[f"fcs.{k}.weight"], p[f"fcs.{k}.bias"], hidden) for k in range(len(kernels))]
        share = softmax(torch.stack(logits), 0)
        return sum(share[k][:, :, None, None] * branches[k] for k in range(len(kernels)))

    return reference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21)])
def test_reference(shape, training):
    reference = reference_with((1, 3, 5, 7), 1)
    check(SKAttention(shape[1]), reference, shape, training=training, tolerances=(5e-6, 1e-4))


def test_reference_with_options():
    module = SKAttention(12, kernels=[3, 5], reduction=2, groups=3, min_width=4)
    assert module.fc.out_features == 6
    check(module, reference_with((3, 5), 3), (2, 12, 5, 6), training=True, tolerances=(5e-6, 1e-4))


@pytest.mark.parametrize("branches", range(2, 9))
def test_identity_is_exact_for_any_number_of_kernels(branches):
    x = torch.randn(2, 4, 5, 5)
    for dtype in (torch.float32, torch.float64):
        module = SKAttention(4, kernels=[1, 3] * (branches // 2) + [5] * (branches % 2), start="identity").to(dtype)
        assert torch.equal(module(x.to(dtype)), x.to(dtype))


def test_count_and_names_of_the_release():
    module = SKAttention(512)
    assert count(module) == 22110240
    assert {"convs.0.conv.weight", "convs.3.bn.bias", "fc.weight", "fcs.3.bias"} <= set(module.state_dict())


def test_wrong_kernels_are_refused():
    with pytest.raises(ValueError, match="Expected `kernels` to be at least two odd sizes to choose from but got"):
        SKAttention(8, kernels=(3,))
    with pytest.raises(ValueError, match="Expected `kernels` to be odd but got 4"):
        SKAttention(8, kernels=(3, 4))
    with pytest.raises(ValueError, match="multiple of groups = 3 but got 8; the nearest that works is 9"):
        SKAttention(8, groups=3)
