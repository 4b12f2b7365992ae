import pytest
import torch

from models.attention import CrissCrossAttention, attention_maps
from tests.support.reference import check, softmax

SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 255, 5, 3), (1, 24, 13, 21), (2, 6, 1, 7), (2, 6, 7, 1))
ENERGIES = (1e-5, 1e-4)


def project(p, name, x):
    return torch.einsum("oc,bchw->bohw", p[f"{name}.weight"][:, :, 0, 0], x) + p[f"{name}.bias"].view(1, -1, 1, 1)


def once(x, p):
    height, width = x.shape[2:]
    query, key, value = (project(p, f"{name}_conv", x) for name in ("query", "key", "value"))
    rows = []
    for i in range(height):
        row = []
        for j in range(width):
            cross = [(k, j) for k in range(height) if k != i] + [(i, k) for k in range(width)]
            keys = torch.stack([key[:, :, a, b] for a, b in cross], 2)
            values = torch.stack([value[:, :, a, b] for a, b in cross], 2)
            weights = softmax(torch.einsum("bc,bcp->bp", query[:, :, i, j], keys), 1)
            row.append(torch.einsum("bp,bcp->bc", weights, values))
        rows.append(torch.stack(row, 2))
    return p["gamma"] * torch.stack(rows, 2) + x


def reference(x, p, training):
    return once(x, p)


def reference_twice(x, p, training):
    return once(once(x, p), p)


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(CrissCrossAttention(shape[1]), reference, shape, tolerances=ENERGIES)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 24, 20, 20), (1, 8, 80, 80)])
def test_reference_on_large_maps(shape):
    check(CrissCrossAttention(shape[1]), reference, shape, tolerances=ENERGIES)


def test_recurrence_shares_the_weights():
    check(CrissCrossAttention(16, recurrence=2), reference_twice, (2, 16, 4, 5), tolerances=ENERGIES)


def test_two_passes_reach_every_position():
    module = CrissCrossAttention(8, recurrence=2)
    torch.nn.init.ones_(module.gamma)
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    module(x)[0, :, 0, 0].sum().backward()
    assert bool((x.grad.abs().sum(1) > 0).all())


def test_affinity_covers_the_cross_and_sums_to_one():
    affinity = attention_maps(CrissCrossAttention(8).eval(), torch.randn(2, 8, 5, 7))[""]["affinity"]
    cross = torch.zeros(5, 7, dtype=torch.bool)
    cross[2, :], cross[:, 3] = True, True
    assert bool((affinity[:, 0, ~cross] == 0).all())
    assert bool((affinity[:, 0, cross] > 0).all())
    torch.testing.assert_close(affinity.sum((1, 2, 3)), torch.ones(2))


def test_names_and_shapes_of_the_release():
    assert {name: tuple(value.shape) for name, value in CrissCrossAttention(64).state_dict().items()} == {
        "query_conv.weight": (8, 64, 1, 1),
        "query_conv.bias": (8,),
        "key_conv.weight": (8, 64, 1, 1),
        "key_conv.bias": (8,),
        "value_conv.weight": (64, 64, 1, 1),
        "value_conv.bias": (64,),
        "gamma": (1,),
    }
