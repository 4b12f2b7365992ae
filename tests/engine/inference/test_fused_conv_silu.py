"""Convolution and SiLU in one operation give what the two give."""

import pytest
import torch

from engine.inference.fused_conv_silu import ConvSiLU, fuse_silu
from engine.inference.network import TorchNetwork
from engine.runtime.device import choose_precision
from models import build_model, insert, load_spec, save_model
from models.blocks.convolutions import Conv

CPU = torch.device("cpu")


def trained(name="yolov5n.yaml", attention=None):
    """A model with statistics as training leaves them, so that its maps are of a size that shows errors."""
    torch.manual_seed(0)
    spec = load_spec(name)
    model = build_model(insert(spec, attention) if attention else spec)
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(4, 3, 64, 96))
    return model.eval()


@pytest.mark.parametrize("attention", [None, "CBAM@neck.P3", "PSA_p@neck.P4", "CoordAtt@backbone.P3"])
def test_equals_the_plain_model(attention):
    model, images = trained(attention=attention), torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model.raw(images)
        network = TorchNetwork(model, CPU, choose_precision("32", CPU))
        found = network.model.raw(images.contiguous(memory_format=torch.channels_last))
    assert (
        sum(isinstance(module, ConvSiLU) for module in network.model.modules()) == fuse_silu(model, torch.float32) > 50
    )
    for one, other in zip(found, expected, strict=True):
        assert expected[0].std() > 0.01
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"k": 5, "s": 2}, {"k": 3, "g": 4}, {"k": 3, "d": 2}, {"k": (1, 3), "p": (0, 1)}])
def test_every_geometry(options):
    block, maps = Conv(8, 12, **options).eval(), torch.randn(2, 8, 9, 11)
    block.fuse()
    with torch.inference_mode():
        torch.testing.assert_close(ConvSiLU(block, torch.float32)(maps), block(maps), rtol=1e-5, atol=1e-5)


def test_other_activations_stay():
    model = torch.nn.Sequential(Conv(3, 8, act=torch.nn.ReLU()), Conv(8, 8, act=False), Conv(8, 8)).eval()
    for block in model:
        block.fuse()
    assert fuse_silu(model, torch.float32) == 1
    assert [type(block) for block in model] == [Conv, Conv, ConvSiLU]


def test_bf16_is_as_close_as_the_plain_bf16_model():
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        exact = trained().raw(images)
        with torch.autocast("cpu", torch.bfloat16):
            plain = trained().fuse().raw(images)
        model = trained()
        network = TorchNetwork(model, CPU, choose_precision("bf16", CPU))
        with torch.autocast("cpu", torch.bfloat16):
            fused = network.model.raw(images)
    for level, ours, theirs in zip(exact, fused, plain, strict=True):
        assert (ours.float() - level).norm() < 1.1 * (theirs.float() - level).norm()
    with torch.inference_mode():  # the same model again, in another type
        again = TorchNetwork(model, CPU, choose_precision("32", CPU)).model.raw(images)
    torch.testing.assert_close(again, exact, rtol=1e-4, atol=1e-5)


def test_gradients_flow_as_in_a_plain_convolution():
    block = Conv(4, 8, 3).eval()
    images = torch.rand(1, 4, 8, 8, requires_grad=True)
    block.fuse()
    (expected,) = torch.autograd.grad(block(images).square().sum(), images)
    (found,) = torch.autograd.grad(ConvSiLU(block, torch.float32)(images).square().sum(), images)
    torch.testing.assert_close(found, expected)
    assert expected.abs().sum() > 0


def test_such_a_model_is_not_saved_by_mistake(tmp_path):
    model = TorchNetwork(trained(), CPU, choose_precision("32", CPU)).model
    with pytest.raises(ValueError, match="a fused model cannot be written"):
        save_model(model, tmp_path / "fused.pt")


def test_without_the_operation_the_model_stays(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fuse_silu(trained().fuse(), torch.float32) == 0


def test_a_cpu_without_bf16_keeps_plain_blocks(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=True)
    block = torch.nn.Sequential(Conv(3, 8)).eval()
    block[0].fuse()
    assert fuse_silu(block, torch.bfloat16) == 0
    assert fuse_silu(block, torch.float32) == 1
