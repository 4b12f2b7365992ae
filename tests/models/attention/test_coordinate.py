import pytest
import torch

from models.attention import CoordAtt
from tests.support.reference import SHAPES, batch_norm, check, sigmoid


def reference(x, p, training):
    height, width = x.shape[2:]
    means = torch.cat([x.sum(3) / width, x.sum(2) / height], 2)  # (B, C, H + W)
    hidden = torch.einsum("mc,bcl->bml", p["conv1.weight"][:, :, 0, 0], means) + p["conv1.bias"][:, None]
    hidden = batch_norm(hidden, p, "bn1", training)
    hidden = hidden * (hidden + 3).clamp(0, 6) / 6
    gates = []
    for name, part in (("conv_h", hidden[:, :, :height]), ("conv_w", hidden[:, :, height:])):
        z = torch.einsum("cm,bml->bcl", p[f"{name}.weight"][:, :, 0, 0], part) + p[f"{name}.bias"][:, None]
        gates.append(sigmoid(z))
    return torch.einsum("bchw,bch,bcw->bchw", x, *gates)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape, training):
    check(CoordAtt(shape[1]), reference, shape, training=training, tolerances=(2e-6, 3e-5))


def test_names_and_shapes_of_the_release():
    shapes = {name: tuple(value.shape) for name, value in CoordAtt(512).state_dict().items()}
    norm = {f"bn1.{name}": (16,) for name in ("weight", "bias", "running_mean", "running_var")}
    assert shapes == {
        "conv1.weight": (16, 512, 1, 1),
        "conv1.bias": (16,),
        **norm,
        "bn1.num_batches_tracked": (),
        "conv_h.weight": (512, 16, 1, 1),
        "conv_h.bias": (512,),
        "conv_w.weight": (512, 16, 1, 1),
        "conv_w.bias": (512,),
    }


def test_parameter_count_and_least_width():
    assert sum(value.numel() for value in CoordAtt(512).parameters()) == 25648
    assert CoordAtt(64).conv1.out_channels == 8
    assert CoordAtt(64, reduction=4).conv1.out_channels == 16
