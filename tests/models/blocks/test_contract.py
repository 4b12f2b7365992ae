"""What every block that a row may name promises, for every entry of the table."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from models import build_model, common
from models.blocks.convolutions import Conv
from models.blocks.reparameterised import RepVGGBlock
from models.graph.block_table import BLOCK_ALIASES, BLOCKS
from models.graph.checked import checked_spec
from models.graph.row_plan import Row, plan_row
from models.graph.wiring import judge
from tests.support.model_layouts import layout
from tests.support.reference import randomise

OWN = sorted(set(BLOCKS) - set(BLOCK_ALIASES))
C1 = 16
ARGS = {
    "Concat": [], "BiFPNConcat": [], "BiFPNAdd": [24], "SpaceToDepth": [], "Contract": [],
    "Expand": [],
    "CARAFE": [24, 3], "nn.Upsample": [None, 2, "nearest"], "nn.MaxPool2d": [2, 2], "nn.ZeroPad2d": [1],
    "nn.Identity": [], "nn.BatchNorm2d": [], "nn.ConvTranspose2d": [24, 2, 2], "DWConvTranspose2d": [24, 2, 2],
    "Conv": [24, 3, 2], "DWConv": [24, 3, 2], "AttentionConv": [24, 3, 2], "DCNv2": [24, 3, 2], "GSConv": [24, 3, 2],
    "GSBottleneck": [24, 3, 2], "RepVGGBlock": [24, 3, 2], "RepConv": [24, 3, 2], "GhostBottleneck": [24, 3, 2],
    "MixConv2d": [24, [1, 3], 2], "CrossConv": [24, 3, 2], "GhostConv": [24, 3, 2],
}  # fmt: skip
JOINS = {"Concat", "BiFPNConcat", "BiFPNAdd"}
WHOLE_CELLS = {"Contract", "Focus", "SpaceToDepth"}  # as published, of even height and width
PADS = {"nn.ZeroPad2d"}  # its row says that it keeps the size, for the pooling behind it

every_block = pytest.mark.parametrize("name", OWN)
# Exporters and the tracer warn of what they fix; the outputs are compared.
QUIET = ("DeprecationWarning", "FutureWarning", "UserWarning", "torch.jit.TracerWarning")
quiet = pytest.mark.filterwarnings(*(f"ignore::{name}" for name in QUIET))


def plan(name):
    """A row of the block with two repeats where it takes them, and attention inside or behind where it takes that."""
    repeats = 2 if BLOCKS[name].kind == "repeated" else 1
    options = {"attention": "SE"} if name in ("AttentionC3", "AttentionConv") else {}
    args = tuple(tuple(a) if isinstance(a, list) else a for a in ARGS.get(name, [24]))
    inputs = (C1,) * (2 if name in JOINS else 1)
    return plan_row(Row(name, repeats, args, options, inputs, 1.0, 8, -1))


def read(name, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(2, C1, *size, generator=generator) for _ in range(2)]
    return maps if name in JOINS else maps[0]


def lively(module):
    for norm in (m for m in randomise(module).modules() if isinstance(m, nn.BatchNorm2d)):
        norm.weight.data.uniform_(0.5, 1.5)
    return module


@every_block
def test_channels_and_stride_are_as_declared(name):
    planned = plan(name)
    output = planned.make()(read(name, (12, 20)))
    assert output.shape[:2] == (2, planned.channels)
    if name not in PADS:
        assert [Fraction(a, b) for a, b in zip((12, 20), output.shape[2:], strict=True)] == [planned.stride] * 2


@every_block
def test_odd_sizes_and_one_cell(name):
    module = plan(name).make().eval()
    for size in [(7, 5), (2, 2)] + [(1, 1)] * (name != "nn.MaxPool2d"):
        if name in WHOLE_CELLS and any(side % 2 for side in size):
            continue
        output = module(read(name, size))
        assert output.isfinite().all()
        assert min(output.shape[2:]) >= 1


@every_block
def test_every_parameter_learns(name):
    module = lively(plan(name).make()).train()
    maps = read(name, (8, 8))
    for x in maps if name in JOINS else [maps]:
        x.requires_grad_()
    module(maps).square().mean().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any() or "conv_offset_mask" in key, key
    assert all(x.grad.isfinite().all() for x in (maps if name in JOINS else [maps]))


@every_block
def test_state_dict_round_trip_and_images_of_their_own(name):
    module, other = lively(plan(name).make()).eval(), plan(name).make().eval()
    other.load_state_dict(module.state_dict(), strict=True)
    maps = read(name, (8, 8))
    with torch.no_grad():
        output = module(maps)
        torch.testing.assert_close(other(maps), output, rtol=0, atol=0)
        first = [x[:1] for x in maps] if name in JOINS else maps[:1]
        torch.testing.assert_close(module(first), output[:1], rtol=1e-5, atol=1e-5)


@every_block
def test_bfloat16_and_channels_last(name):
    module = lively(plan(name).make()).train()
    maps = read(name, (8, 8))
    last = torch.channels_last
    maps = [x.contiguous(memory_format=last) for x in maps] if name in JOINS else maps.contiguous(memory_format=last)
    module = module.to(memory_format=last)
    wanted = module(maps)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(maps)
        output.float().square().mean().backward() if output.requires_grad else None
    scale = wanted.abs().max()
    assert (output.float() - wanted).abs().max() / scale < 0.1


@every_block
@quiet
def test_traced_it_gives_the_same_on_another_size(name):
    module = lively(plan(name).make()).eval()
    with torch.no_grad():
        traced = torch.jit.trace(module, (read(name, (8, 8)),), check_trace=False)
        maps = read(name, (6, 10), seed=1)
        torch.testing.assert_close(traced(maps), module(maps), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_block
@quiet
def test_onnx_gives_the_same_on_another_size(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    module = lively(plan(name).make()).eval()
    many = name in JOINS
    names, axes = ["a", "b"][: 1 + many], {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        module, (read(name, (8, 8)),), str(tmp_path / "block.onnx"), dynamo=False, opset_version=17,
        input_names=names, output_names=["y"], dynamic_axes={key: axes for key in names},
    )  # fmt: skip
    session = runtime.InferenceSession(str(tmp_path / "block.onnx"), providers=["CPUExecutionProvider"])
    maps = read(name, (6, 10), seed=1)
    given = dict(zip(names, maps if many else [maps], strict=True))
    (output,) = session.run(None, {key: x.numpy() for key, x in given.items()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(output), module(maps), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("alias", sorted(BLOCK_ALIASES))
def test_aliases_stand_for_blocks_and_hide_no_own_name(alias):
    assert BLOCKS[alias] is BLOCKS[BLOCK_ALIASES[alias]]
    assert BLOCK_ALIASES[alias] in OWN


def test_models_common_has_every_block():
    """A row's name is an import from models.common too."""
    for name in OWN:
        assert name.startswith("nn.") or getattr(common, name) is BLOCKS[name].cls


def model_of_all():
    """YOLOv5n with every block that the original's own lists do not have."""
    data = layout("yolov5", 2)
    backbone, head = data["backbone"], data["head"]
    for row, block in zip((2, 4, 6, 8), ("C2f", "C3DCN", "VoVGSCSP", "CBAMC3"), strict=True):
        backbone[row][1:3] = [1, block]
    for row, block in zip((1, 3, 5, 7), ("GSConv", "RepVGGBlock", "Conv_CBAM", "RepConv"), strict=True):
        backbone[row][2] = block
    backbone[9][2] = "SPPCSPC"
    backbone[9][3] = [1024]
    head[1][2:] = ["CARAFE", [512, 3]]
    head[2][2] = "BiFPN_Concat2"
    head[6][2:] = ["BiFPN_Add2", [256, 256]]
    spec = checked_spec(data, "all.yaml")
    verdict = judge(spec)
    assert verdict.graph is not None
    assert (verdict.wrong, verdict.doubtful) == ((), ())
    return build_model(spec)


def test_a_model_of_all_fuses_to_the_same_outputs():
    model = model_of_all()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.weight.data.uniform_(0.5, 1.5)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = model.eval().raw(images)
        fused = model.fuse().raw(images)
    assert model.is_fused
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules() if isinstance(m, (Conv, RepVGGBlock)))
    for got, want in zip(fused, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
