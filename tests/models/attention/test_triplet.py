import pytest
import torch

from models.attention import TripletAttention
from tests.support.pieces import count
from tests.support.reference import SHAPES, batch_norm, check, convolution, sigmoid


def gate(x, p, name, training):
    """x rotated so that the pooled axis is axis 1, as the paper draws it."""
    pooled = torch.stack([x.max(1).values, x.sum(1) / x.shape[1]], 1)
    z = batch_norm(convolution(pooled, p[f"{name}.conv.conv.weight"], None), p, f"{name}.conv.bn", training)
    return x * sigmoid(z)


def reference(x, p, training):
    parts = [
        gate(x.permute(0, 2, 1, 3), p, "cw", training).permute(0, 2, 1, 3),
        gate(x.permute(0, 3, 2, 1), p, "hc", training).permute(0, 3, 2, 1),
    ]
    if "hw.conv.conv.weight" in p:
        parts.append(gate(x, p, "hw", training))
    return sum(parts) / len(parts)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES[:2], (1, 33, 13, 21), *SHAPES[3:4], *SHAPES[5:]])
def test_reference(shape, training):
    check(TripletAttention(shape[1]), reference, shape, training=training, tolerances=(2e-6, 5e-5))


def test_reference_without_spatial_gate():
    check(TripletAttention(9, no_spatial=True), reference, (2, 9, 5, 6), training=True, tolerances=(2e-6, 5e-5))


def test_counts_and_names_of_the_release():
    module = TripletAttention(512)
    assert count(module) == 300
    assert count(TripletAttention(512, no_spatial=True)) == 200
    assert {"cw.conv.conv.weight", "hc.conv.bn.running_mean", "hw.conv.bn.bias"} <= set(module.state_dict())
    assert module.cw.conv.bn.momentum == 0.01


def test_one_channel_and_position_trains():
    module = TripletAttention(1).train()
    assert module(torch.randn(1, 1, 1, 1)).isfinite().all()
